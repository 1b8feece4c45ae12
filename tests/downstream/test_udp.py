"""Readers over UDP: what they are granted and refused, what reaches them, and how they end (T3, T7, T8)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from halfgateway.downstream.door import Viewer
from halfgateway.downstream.server import SESSION_GRACE_S
from halfgateway.downstream.session import SESSION_TIMEOUT_S
from halfgateway.downstream.transports import UdpService
from halfgateway.errors import CapReached, InterconnectionCut
from halfgateway.net.datagrams import open_pair
from halfgateway.protocol.rtcp import Goodbye, ReceiverReport, bye, parse_compound, receiver_report
from halfgateway.protocol.transport import parse_transports
from halfgateway.relay.reader import Gate
from halfgateway.relay.source import Source
from tests.downstream.stage import PATH, SSRC, VIEWER, Stage, StageSeat
from tests.raw_player import RawPlayer
from tests.udp_player import UdpPlayer

SERVICE = UdpService()
ROOM_BYTES = SERVICE.mtu_bytes - 20 - 8
RTP_HEADER_BYTES = 12
TCP = "RTP/AVP/TCP;unicast;interleaved=0-1"
REPORT = receiver_report(ReceiverReport(7), "player")


@contextlib.asynccontextmanager
async def opened(
    service: UdpService | None = SERVICE, *, host: str = "127.0.0.1", pictures: int = 2
) -> AsyncIterator[Stage]:
    """A stage whose camera has shown its first pictures."""
    stage = Stage(host=host, udp=service)
    await stage.open()
    for _ in range(pictures):
        stage.send()
    try:
        yield stage
    finally:
        await stage.server.close()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with opened() as stage:
        yield stage


def udp_player(stage: Stage) -> UdpPlayer:
    return UdpPlayer(stage.host, stage.port, VIEWER)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def open_datagram_sockets() -> int:
    """How many UDP sockets this process holds."""
    inodes = {line.split()[9] for table in ("udp", "udp6") for line in _lines(f"/proc/self/net/{table}")}
    held = (_target(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd"))
    return sum(target.removeprefix("socket:[").rstrip("]") in inodes for target in held)


def _lines(path: str) -> list[str]:
    with open(path, encoding="ascii") as table:
        return table.readlines()[1:]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def seat_of(stage: Stage) -> StageSeat:
    return stage.door.seats[-1]


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/AVP/UDP"])
async def test_a_reader_is_told_our_ports_and_gets_the_cameras_own_packets(stage: Stage, protocol: str) -> None:
    # rtsp.md row 35
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
        await player.packets_until(1, channel=1)
        assert sorted((channel, data) for channel, data, _ in player.packets) == sorted(sent)


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
    # rtsp.md rows 33, 35, 36; T8
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
    # interface.md, statuses: 461; design decision 1. The answer is RTSP's, with its reason.
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


LEAVE: dict[str, Callable[[UdpPlayer, Stage], object]] = {
    "teardown": lambda player, stage: player.tear_down(PATH),
    "vanish": lambda player, stage: player.vanish(),
    "cut": lambda player, stage: seat_of(stage).end(InterconnectionCut()),
    "by-tcp": lambda player, stage: player.ask(
        "SETUP", player.url(PATH) + "/trackID=0", {"Session": player.session or "", "Transport": TCP}
    ),
}


@pytest.mark.parametrize("way", LEAVE)
async def test_every_way_out_closes_the_sockets(stage: Stage, way: str) -> None:
    before = open_datagram_sockets()
    async with udp_player(stage) as player:
        await player.start(PATH)
        assert open_datagram_sockets() == before + 4
        if way == "by-tcp":
            await player.ask("PAUSE", player.url(PATH), {"Session": player.session or ""})
        leaving = LEAVE[way](player, stage)
        if asyncio.iscoroutine(leaving):
            assert (await leaving).status == 200
        await eventually(lambda: open_datagram_sockets() == before + 2)
        stage.send()


async def test_a_cut_says_goodbye_and_sends_no_datagram_more(stage: Stage) -> None:
    # T3, C10, row 53
    async with udp_player(stage) as player:
        await player.start(PATH)
        packet = stage.send()
        seat = seat_of(stage)
        seat.end(InterconnectionCut())
        stage.send()
        assert await player.read_to_end() == "reset"
        await player.packets_until(1, channel=1)
        assert [data for channel, data, _ in player.packets if channel == 0] == [packet]
        (goodbye,) = [data for channel, data, _ in player.packets if channel == 1]
        assert Goodbye((SSRC,)) in parse_compound(goodbye)
        assert seat.reader is not None
        assert seat.reader.sent_bytes == len(packet) + 4


async def test_a_reader_that_was_sent_nothing_is_sent_no_goodbye(stage: Stage) -> None:
    async with udp_player(stage) as player:
        assert (await player.set_up_udp(PATH)).status == 200
        seat_of(stage).end(InterconnectionCut())
        assert await player.read_to_end() == "reset"
        assert player.packets == []


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


TIMEOUT_S = SESSION_TIMEOUT_S + SESSION_GRACE_S


async def test_a_silent_reader_is_lost_at_the_timeout(stage: Stage) -> None:
    # T7, row 27
    async with udp_player(stage) as player:
        await player.start(PATH)
        stage.send()
        stage.clocks.monotonic_s += TIMEOUT_S
        stage.server.sweep()
        assert "lose" not in seat_of(stage).done
        stage.clocks.monotonic_s += 0.1
        stage.server.sweep()
        assert seat_of(stage).done == ["start", "flow", "lose"]
        stage.send()
        assert await player.read_to_end() == "reset"
        await player.packets_until(1, channel=1)
        assert [channel for channel, _, _ in player.packets] in ([0, 1], [1, 0])


@pytest.mark.parametrize(
    ("datagram", "lives"),
    [
        (REPORT, True),
        (b"", False),
        (b"\x80", False),
        (b"\xce\xfa\xed\xfe", False),  # what ffmpeg opens firewalls with
        (REPORT[:-1], False),
        (REPORT + b"\x00" * 2000, False),
        (bye(7)[8:], False),
        (b"\xff" * 100, False),
    ],
    ids=["report", "empty", "short", "punch", "cut", "long", "bye", "rubbish"],
)
async def test_a_report_is_a_sign_of_life_and_rubbish_is_not(stage: Stage, datagram: bytes, lives: bool) -> None:
    # T7: only RTCP RR; hostile bytes are passed over
    async with udp_player(stage) as player:
        await player.start(PATH)
        for _ in range(3):
            stage.clocks.monotonic_s += TIMEOUT_S * 0.6
            player.report(datagram)
            stage.server.sweep()
        assert ("lose" not in seat_of(stage).done) == lives


async def test_requests_keep_a_reader_over_udp_alive(stage: Stage) -> None:
    # T7: only GET_PARAMETER
    async with udp_player(stage) as player:
        await player.start(PATH)
        for _ in range(3):
            stage.clocks.monotonic_s += TIMEOUT_S * 0.6
            assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
            stage.server.sweep()
        assert "lose" not in seat_of(stage).done


async def test_reports_of_a_stranger_are_not_heard(stage: Stage) -> None:
    async with udp_player(stage) as player:
        granted = await player.start(PATH)
        assert granted.server_port is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(2):
                stage.clocks.monotonic_s += TIMEOUT_S * 0.6
                stranger.sendto(REPORT, ("127.0.0.1", granted.server_port[1]))
                stage.server.sweep()
        assert "lose" in seat_of(stage).done


async def test_a_flood_of_reports_is_heard_in_small_helpings(stage: Stage) -> None:
    async with udp_player(stage) as player:
        await player.start(PATH)
        for _ in range(2_000):
            player.report(REPORT)
        stage.server.sweep()
        packet = stage.send()
        await player.packets_until(1)
        assert player.packets[-1][1] == packet


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


async def test_nothing_is_sent_once_the_gate_is_closed(stage: Stage) -> None:
    # C10: also of a lease that has lapsed and nobody has noticed
    async with udp_player(stage) as player:
        await player.start(PATH)
        packet = stage.send()
        seat_of(stage).gate.until = stage.clocks.monotonic_s
        stage.send()
        await player.packets_until(1)
        assert (await player.ask("GET_PARAMETER", player.url(PATH))).status == 200
        assert [data for _, data, _ in player.packets] == [packet]
        assert isinstance(seat_of(stage).gate, Gate)


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


async def test_the_size_is_that_of_the_last_windows() -> None:
    # a camera that was given smaller packets is served over UDP again
    stage = Stage(udp=SERVICE)
    source: Source = stage.source
    stage.send(5000)
    assert source.largest_packet.size_bytes == 5000 + RTP_HEADER_BYTES
    for _ in range(2):
        stage.clocks.monotonic_s += 600.0
        stage.send(1000)
        stage.send(900)
    assert source.largest_packet.size_bytes == 1000 + RTP_HEADER_BYTES
