"""Readers over UDP: what they are granted and refused, and what reaches them (T8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from halfgateway.downstream.datagram_sink import DatagramSink
from halfgateway.downstream.door import Viewer
from halfgateway.downstream.transports import UdpService
from halfgateway.errors import CapReached
from halfgateway.net.datagrams import open_pair
from halfgateway.protocol.interleaved import InterleavedBatch
from halfgateway.protocol.rtcp import Goodbye, parse_compound
from halfgateway.protocol.transport import parse_transports
from halfgateway.relay.chunk import Chunk
from halfgateway.relay.reader import Gate, Reader
from tests.downstream.stage import PATH, SSRC, VIEWER, Stage, StageSeat
from tests.downstream.udp_stage import SERVICE, TCP, eventually, open_datagram_sockets, opened, seat_of, udp_player
from tests.raw_player import RawPlayer
from tests.relay.packets import IDR, frames, rtp

ROOM_BYTES = SERVICE.mtu_bytes - 20 - 8
RTP_HEADER_BYTES = 12


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as stage:
        yield stage


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/AVP/UDP"])
async def test_a_reader_is_told_our_ports_and_gets_the_cameras_own_packets(stage: Stage, protocol: str) -> None:
    # row 35
    async with udp_player(stage) as player:
        first, second = player.pair.ports
        answer = await player.set_up(PATH, transport=f"{protocol};unicast;client_port={first}-{second}")
        (granted,) = parse_transports(answer.header("transport"))
        assert (granted.lower, granted.client_port, granted.source) == ("UDP", (first, second), "127.0.0.1")
        assert granted.ssrc == SSRC
        assert granted.server_port is not None
        assert granted.server_port[0] % 2 == 0
        assert (await player.play(PATH)).status == 200
        sent = [(0, stage.send()), (1, stage.send_report()), (0, stage.send())]
        await player.packets_until(2)
        await eventually(lambda: all(packet in [each[:2] for each in player.packets] for packet in sent))
        assert [data for channel, data, _ in player.packets if channel == 0] == [sent[0][1], sent[2][1]]


async def test_nothing_is_sent_before_play_nor_after_pause(stage: Stage) -> None:
    async with udp_player(stage) as player:
        assert (await player.set_up_udp(PATH)).status == 200
        stage.send()
        assert (await player.play(PATH)).status == 200
        first = stage.send()
        await player.packets_until(1)
        session = {"Session": player.session or ""}
        assert (await player.ask("PAUSE", player.url(PATH), session)).status == 200
        stage.send()
        assert (await player.play(PATH)).status == 200
        second = stage.send()
        await player.packets_until(2)
        assert [data for _, data, _ in player.packets] == [first, second]


@pytest.mark.parametrize(
    ("offered", "status"),
    [
        ("RTP/AVP;unicast", 461),
        ("RTP/AVP;unicast;client_port=0-1", 461),
        ("RTP/AVP;unicast;client_port=53-54", 461),  # not a player's
        ("RTP/AVP;unicast;client_port=65535", 461),
        ("RTP/AVP;unicast;client_port=5000-5000", 461),
        ("RTP/AVP;unicast;client_port=99999-99999", 461),
        ("RTP/AVP;unicast;client_port=-1", 461),
        ("RTP/AVP;multicast;client_port=5000-5001", 461),
        ("RTP/SAVP;unicast;client_port=5000-5001", 461),
        ('RTP/AVP;unicast;client_port=5000-5001;mode="RECORD"', 461),
        ("RTP/AVP;unicast;client_port=5000-5001;destination=192.0.2.7", 462),
        ("RTP/AVP;unicast;client_port=5000-5001;destination=camera.example", 462),
        ("RTP/AVP;unicast;client_port=5000-5001;destination=127.0.0.2", 462),
        ("RTP/AVP;unicast;client_port=5000-5001;destination=[::1]", 462),
    ],
)
async def test_what_is_no_way_for_packets_takes_no_seat(stage: Stage, offered: str, status: int) -> None:
    # rows 33, 35, 36; T8
    before = open_datagram_sockets()
    async with udp_player(stage) as player:
        assert (await player.set_up(PATH, transport=offered)).status == status
        assert stage.door.seats == []
        assert open_datagram_sockets() == before + 2  # the player's own
        assert (await player.set_up(PATH, transport=f"{offered},{TCP}")).status == 200
    foreign = ("refused-action", VIEWER.username, "SETUP to a foreign destination", "")
    assert stage.door.noted == ([foreign] if status == 462 else [])


async def test_packets_go_to_the_peer_alone_whatever_destination_is_named(stage: Stage) -> None:
    # row 35: the reflection attack; the peer's own address is no fault
    bystander = open_pair("127.0.0.2")
    async with udp_player(stage) as player:
        first, second = bystander.ports
        reflected = f"RTP/AVP;unicast;client_port={first}-{second};destination=127.0.0.2"
        assert (await player.set_up(PATH, transport=reflected)).status == 462
        assert (await player.set_up_udp(PATH, ";destination=127.0.0.1")).status == 200
        assert (await player.play(PATH)).status == 200
        stage.send()
        await player.packets_until(1)
    with pytest.raises(BlockingIOError):
        bystander.rtp.recv(100)
    bystander.close()


@pytest.mark.parametrize(
    ("offered", "granted"),
    [
        ("{udp},{tcp}", "UDP"),
        ("{tcp},{udp}", "TCP"),
        ("RTP/AVP;multicast,RTP/AVP;unicast,{udp}", "UDP"),
        ("{udp};destination=192.0.2.7,{tcp}", "TCP"),
    ],
)
async def test_the_first_of_a_list_that_can_be_served_is(stage: Stage, offered: str, granted: str) -> None:
    # row 32
    async with udp_player(stage) as player:
        answer = await player.set_up(PATH, transport=offered.format(udp=player.offer, tcp=TCP))
        assert answer.status == 200
        assert parse_transports(answer.header("transport"))[0].lower == granted


async def test_a_listener_without_udp_answers_461() -> None:
    # T8: UDP refused by policy
    async with opened(None) as stage, udp_player(stage) as player:
        assert (await player.set_up_udp(PATH)).status == 461
        assert stage.door.seats == []


async def test_packets_larger_than_the_path_are_refused_udp_and_go_by_tcp(stage: Stage) -> None:
    # row 33; ADR 16. The answer is RTSP's, with its reason.
    stage.send(ROOM_BYTES - RTP_HEADER_BYTES + 1)
    before = open_datagram_sockets()
    async with udp_player(stage) as player:
        refused = await player.set_up_udp(PATH)
        assert (refused.status, refused.header("x-refusal")) == (461, "transport-not-offered")
        assert stage.door.seats == []
        assert open_datagram_sockets() == before + 2
        assert (await player.set_up_udp(PATH, f",{TCP}")).header("transport") == TCP


async def test_packets_as_large_as_the_path_takes_go_by_udp(stage: Stage) -> None:
    stage.send(ROOM_BYTES - RTP_HEADER_BYTES)
    async with udp_player(stage) as player:
        await player.start(PATH)
        packet = stage.send(ROOM_BYTES - RTP_HEADER_BYTES)
        await player.packets_until(1)
        assert [data for _, data, _ in player.packets] == [packet]


async def test_a_larger_packet_while_it_plays_ends_the_session_and_is_remembered(stage: Stage) -> None:
    async with udp_player(stage) as player:
        await player.start(PATH)
        stage.send()
        await player.packets_until(1)
        stage.send(ROOM_BYTES)
        assert await player.read_to_end() == "reset"
        stage.send()
        *_, (channel, last, _) = player.packets
        assert channel == 1
        assert Goodbye((SSRC,)) in parse_compound(last)
    seat = seat_of(stage)
    assert seat.done == ["start", "flow", "transport-not-offered", "lose"]
    assert seat.reader is not None
    assert (seat.reader.sent_packets, seat.reader.lost_packets) == (1, 1)
    async with udp_player(stage) as player:
        assert (await player.set_up_udp(PATH)).status == 461
        assert (await player.set_up(PATH, transport=TCP)).status == 200


async def test_a_camera_of_which_nothing_is_known_yet_is_waited_for() -> None:
    before = open_datagram_sockets()
    async with opened(pictures=0) as stage, udp_player(stage) as player:
        asking = asyncio.create_task(player.set_up_udp(PATH))
        await eventually(lambda: open_datagram_sockets() == before + 4)
        stage.send(ROOM_BYTES)
        stage.send()
        assert (await asking).status == 461


async def test_a_setup_that_waits_and_is_left_holds_no_socket() -> None:
    before = open_datagram_sockets()
    async with opened(pictures=0) as stage:
        async with udp_player(stage) as player:
            asking = asyncio.create_task(player.set_up_udp(PATH))
            await eventually(lambda: open_datagram_sockets() == before + 4)
            player.vanish()
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await asking
        await eventually(lambda: open_datagram_sockets() == before)


async def test_a_setup_that_is_refused_after_its_sockets_are_open_closes_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(caller: object, path: object, viewer: Viewer) -> StageSeat:
        await viewer.choose_transport(stage.source)
        raise CapReached

    before = open_datagram_sockets()
    monkeypatch.setattr(stage.door, "take_seat", refuse)
    async with udp_player(stage) as player:
        assert (await player.set_up_udp(PATH)).status == 453
        assert open_datagram_sockets() == before + 2


async def test_a_range_of_ports_is_kept_to_and_when_it_is_full_readers_go_by_tcp() -> None:
    # T8
    probe = open_pair("127.0.0.1")
    first = probe.ports[0]
    probe.close()
    service = UdpService(range(first, first + 2))
    async with opened(service) as stage, udp_player(stage) as one, udp_player(stage) as two:
        assert (await one.start(PATH)).server_port == (first, first + 1)
        refused = await two.set_up_udp(PATH)
        assert (refused.status, refused.header("x-refusal")) == (461, "transport-not-offered")
        assert (await two.set_up(PATH, transport=TCP)).status == 200
        assert (await one.tear_down(PATH)).status == 200
        assert (await two.set_up_udp(PATH)).status == 200


async def test_a_session_changes_between_udp_and_tcp_before_it_plays_on(stage: Stage) -> None:
    # re-SETUP of the same session, both ways
    async with udp_player(stage) as player:
        await player.start(PATH)
        stage.send()
        await player.packets_until(1)
        session = {"Session": player.session or ""}
        url = player.url(PATH) + "/trackID=0"
        other = await player.ask("SETUP", url, {**session, "Transport": TCP})
        assert other.status == 455
        assert "SETUP" not in other.header("allow").split(", ")
        same = await player.ask("SETUP", url, {**session, "Transport": player.offer})
        assert (same.status, parse_transports(same.header("transport"))[0].lower) == (200, "UDP")
        for transport, by in ((TCP, "TCP"), (player.offer, "UDP")):
            assert (await player.ask("PAUSE", player.url(PATH), session)).status == 200
            answer = await player.ask("SETUP", url, {**session, "Transport": transport})
            assert (answer.status, parse_transports(answer.header("transport"))[0].lower) == (200, by)
            assert (await player.play(PATH)).status == 200
            player.packets.clear()
            packet = stage.send()
            await (RawPlayer.packets_until(player, 1) if by == "TCP" else player.packets_until(1))
            assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
            assert [received[:2] for received in player.packets] == [(0, packet)]


async def test_a_refused_change_leaves_the_session_as_it_was(stage: Stage) -> None:
    async with udp_player(stage) as player:
        assert (await player.set_up(PATH, transport=TCP)).status == 200
        stage.send(ROOM_BYTES)
        change = {"Session": player.session or "", "Transport": player.offer}
        assert (await player.ask("SETUP", player.url(PATH) + "/trackID=0", change)).status == 461
        assert (await player.play(PATH)).status == 200
        packet = stage.send()
        await RawPlayer.packets_until(player, 1)
        assert player.packets[-1][:2] == (0, packet)


async def test_a_reader_whose_ports_are_closed_loses_packets_and_nothing_else(stage: Stage) -> None:
    # a closed port answers by ICMP, which the next send reports: a firewall's word alone ends nothing
    async with udp_player(stage) as player, udp_player(stage) as other:
        gone = open_pair("127.0.0.1")
        ports = "{}-{}".format(*gone.ports)
        gone.close()
        assert (await player.set_up(PATH, transport=f"RTP/AVP;unicast;client_port={ports}")).status == 200
        assert (await player.play(PATH)).status == 200
        closed = seat_of(stage).reader
        await other.start(PATH)
        for _ in range(6):
            stage.send()
        await other.packets_until(6)
        assert closed is not None
        assert closed.sent_packets + closed.lost_packets == 6
        assert closed.lost_packets > 0
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200


async def test_what_the_kernel_finds_too_large_counts_as_too_large() -> None:
    # the path's MTU may shrink while a session plays; here UDP itself has a limit
    ours, peer = open_pair("127.0.0.1"), open_pair("127.0.0.1")
    ours.connect("127.0.0.1", peer.ports)
    told: list[str] = []
    sink = DatagramSink(ours, 1 << 16, on_too_large=lambda: told.append("too large"))
    reader = Reader(sink, Gate(), now=lambda: 0.0)
    sink.serve(reader)
    units = [IDR.ljust(size) for size in (100, 65_520, 100)]
    data = frames(*((0, rtp(number, 0, unit)) for number, unit in enumerate(units)))
    reader.deliver(Chunk(InterleavedBatch(data), keyframe=0))
    assert told == ["too large"]
    assert (reader.sent_packets, reader.lost_packets) == (1, 2)
    assert reader.sent_bytes == len(units[0]) + RTP_HEADER_BYTES + 4
    sink.close()
    sink.close()
    sink.write(data)
    assert not sink.hears()
    peer.close()


async def test_udp_and_tcp_over_ipv6() -> None:
    # row 41
    async with opened(host="::1") as stage, udp_player(stage) as player, udp_player(stage) as other:
        granted = await player.start(PATH)
        assert granted.source == "::1"
        (connection,) = [each for each in stage.server.connections if each.sessions]
        assert connection.source == "::1"
        packet = stage.send()
        await player.packets_until(1)
        assert player.packets[-1][1] == packet
        assert (await other.set_up_udp(PATH, ";destination=[0::1]")).status == 200
        assert (await other.set_up(PATH, transport=TCP)).status == 200
        assert (await other.play(PATH)).status == 200
        packet = stage.send()
        await RawPlayer.packets_until(other, 1)
        assert other.packets[-1][1] == packet


async def test_what_fits_a_datagram_over_ipv4_may_not_over_ipv6() -> None:
    # the header is 20 bytes longer
    async with opened(host="::1") as stage, udp_player(stage) as player:
        stage.send(ROOM_BYTES - RTP_HEADER_BYTES)
        assert (await player.set_up_udp(PATH)).status == 461
