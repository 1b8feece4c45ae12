"""TLS and what runs over it: cut below it, ended with a revoked certificate, kept through a renewal (C10, S02, S12)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from auth.trace import Kind
from halfgateway.protocol.rtp import RtpView, sequence_distance
from tests.e2e.conftest import credentials_of, until
from tests.e2e.forging import issue, revocation_list
from tests.e2e.pki import Pki, lists_kept, one_more, open_pki
from tests.raw_player import RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPT_S = 5.0
"""Within which a revocation ends what runs (S12)."""

SMALL_BYTES = 16 * 1024
LOOPBACK = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pki(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pki]:
    async with open_pki(tmp_path_factory.mktemp("tls")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def good_lists(pki: Pki) -> AsyncIterator[None]:
    async with lists_kept(pki):
        yield


async def playing(pki: Pki, stack: contextlib.AsyncExitStack, tls: ssl.SSLContext, number: int = 0) -> RawPlayer:
    """The machine, with a picture on its way to it over TLS."""
    camera = pki.gateway.cameras[number % len(pki.gateway.cameras)]
    player = await stack.enter_async_context(pki.player(pki.gateway.machine, tls))
    assert (await player.set_up(f"/live/{camera}")).status == 200
    assert (await player.play(f"/live/{camera}")).status == 200
    await player.packets_until(3)
    return player


async def no_slot_taken(pki: Pki) -> None:
    async def is_free() -> bool:
        return await pki.gateway.slots_used() == 0

    await until(is_free)


@contextlib.asynccontextmanager
async def cut(pki: Pki) -> AsyncIterator[None]:
    """The interconnection is cut when this begins, and open again when it ends."""
    order = {"ground": "critical-incident", "reason": "essai"}
    status, answer = await pki.gateway.call("ops", "POST", "/interconnection/cut", order)
    assert status == 200, answer
    try:
        yield
    finally:
        restoration = {"incident": answer["incident"], "reason": "fin de l'essai"}
        assert (await pki.gateway.call("ops", "POST", "/interconnection/restore", restoration))[0] == 200


async def test_a_cut_is_a_reset_below_tls(pki: Pki) -> None:
    # section 1.7, row 53; C10, T3: BYE on every source, then no close_notify: the connection is gone
    async with contextlib.AsyncExitStack() as players:
        tls = pki.context(pki.machine)
        all_players = [await playing(pki, players, tls, number) for number in range(6)]
        reading = [asyncio.create_task(player.read_to_end()) for player in all_players]
        async with cut(pki):
            assert len(pki.gateway.node.control.table) == 0
            assert await asyncio.gather(*reading) == ["reset"] * 6
        for player in all_players:
            assert player.goodbyes() == player.sources() != set()


class Tap:
    """Between a player and the gateway, below TLS: sees every byte, and can stop reading the gateway's."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.received = 0
        self.ended = ""
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._address = address

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[str, int]]:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as gateway:
            listener.setblocking(False)
            gateway.setblocking(False)
            gateway.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
            await loop.sock_connect(gateway, self._address)
            carrying = asyncio.create_task(self._carry(listener, gateway))
            yield listener.getsockname()
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)

    async def _carry(self, listener: socket.socket, gateway: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        player, _ = await loop.sock_accept(listener)
        with player:
            player.setblocking(False)
            asking = asyncio.create_task(self._ask(player, gateway))
            try:
                while data := await loop.sock_recv(gateway, 4096):
                    self.received += len(data)
                    await loop.sock_sendall(player, data)
                    await self.may_read.wait()
                self.ended = "fin"
            except ConnectionResetError:
                self.ended = "reset"
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    async def _ask(self, player: socket.socket, gateway: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(player, 4096):
            await loop.sock_sendall(gateway, data)


async def test_a_reader_that_does_not_read_gets_nothing_more_over_tls(pki: Pki) -> None:
    # C10: what the kernel and TLS still hold is discarded, not delivered
    tap, camera = Tap(pki.address("rtsps")), pki.gateway.cameras[0]
    async with (
        tap.open() as (host, port),
        RawPlayer(host, port, pki.gateway.machine, tls=pki.context(pki.machine)) as player,
    ):
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.play(f"/live/{camera}")).status == 200
        await player.packets_until(1)
        tap.may_read.clear()
        await until(lambda: any(not each.writable for each in pki.gateway.node.rtsp.connections))
        async with cut(pki):
            before = tap.received
            tap.may_read.set()
            await until(lambda: tap.ended)
            assert tap.ended == "reset"
            assert tap.received - before <= 2 * SMALL_BYTES


@pytest.mark.usefixtures("good_lists")
async def test_a_revoked_machine_loses_what_it_watches(pki: Pki) -> None:
    # S12, section 1.7: its streams end, over TLS and by ticket, with a BYE; its next request
    # is 403, not 401; another's go on
    async with contextlib.AsyncExitStack() as players:
        watching = await playing(pki, players, pki.context(pki.machine))
        camera = pki.gateway.cameras[1]
        by_ticket = await players.enter_async_context(
            pki.gateway.player(credentials_of(await pki.gateway.ticket(camera, "machine")))
        )
        another = await players.enter_async_context(
            pki.gateway.player(credentials_of(await pki.gateway.ticket(camera)))
        )
        for player in (by_ticket, another):
            assert (await player.set_up(f"/live/{camera}")).status == 200
            assert (await player.play(f"/live/{camera}")).status == 200
            await player.packets_until(3)
        ends = [asyncio.create_task(player.read_to_end()) for player in (watching, by_ticket)]
        await pki.renew(pki.crl, revocation_list(pki.root, [pki.machine.certificate]))
        async with asyncio.timeout(PROMPT_S):
            assert await asyncio.gather(*ends) == ["reset", "reset"]
        assert watching.goodbyes() == watching.sources() != set()
        assert by_ticket.goodbyes() == by_ticket.sources() != set()
        async with pki.gateway.player(by_ticket.credentials) as again:
            for method in ("DESCRIBE", "SETUP"):
                answer = await again.ask(method, again.url(f"/live/{camera}/trackID=0"), {"Transport": "RTP/AVP/TCP"})
                assert (answer.status, answer.header("x-refusal")) == (403, "not-habilitated")
        await another.packets_until(len(another.packets) + 10)
        assert await pki.come("rtsps", pki.context(pki.machine)) == 403
        status, _ = await pki.gateway.call("machine", "GET", "/cameras")
        assert status == 401
        assert (await another.tear_down(f"/live/{camera}")).status == 200
    pki.gateway.tokens.pop("machine")
    stopped = await pki.entries(Kind.STREAM_STOPPED)
    assert [entry.detail["cause"] for entry in stopped].count("certificate-fallen") == 2
    (closed,) = [entry for entry in await pki.entries(Kind.SESSION_CLOSED) if "reason" in entry.detail]
    assert (closed.account, closed.detail["reason"]) == ("pvpp-vms", "certificate-revoked")
    (setup,) = await pki.gateway.traced(lambda e: "repeated" in e.detail and e.detail.get("reason") == "withdrawn")
    assert (setup.kind, setup.refusal) == (Kind.STREAM_REFUSED, "not-habilitated")


async def test_a_new_certificate_and_authority_drop_no_stream(pki: Pki) -> None:
    # S02: a roll-over; who came before goes on, who comes after meets the new ones
    section = pki.gateway.node.configuration.tls
    assert section is not None
    before = {path: path.read_bytes() for path in (section.certificate, section.key, section.client_ca, pki.crl)}
    again = issue(pki.root, "server", purpose=ExtendedKeyUsageOID.SERVER_AUTH, extension=LOOPBACK)
    newcomer = issue(pki.stranger)
    async with contextlib.AsyncExitStack() as players:
        first = await playing(pki, players, pki.context(pki.machine))
        section.key.write_bytes(again.key_pem())
        await pki.renew(section.certificate, again.certificate.public_bytes(Encoding.PEM))
        both = before[section.client_ca] + pki.stranger.certificate.public_bytes(Encoding.PEM)
        await pki.renew(section.client_ca, both)
        await pki.renew(pki.crl, before[pki.crl] + revocation_list(pki.stranger))
        second = await playing(pki, players, pki.context(pki.machine))
        assert second.peer_certificate() == again.certificate.public_bytes(Encoding.DER)
        assert first.peer_certificate() != second.peer_certificate()
        await first.packets_until(len(first.packets) + 10)
        async with one_more(pki, Kind.STREAM_REFUSED, "certificate-not-bound"):
            assert await pki.come("rtsps", pki.context(newcomer)) == 403
        section.key.write_bytes(before[section.key])
        for path in (section.certificate, section.client_ca, pki.crl):
            await pki.renew(path, before[path])
        await first.packets_until(len(first.packets) + 10)
        async with one_more(pki, Kind.AUTH_FAILED, "issuer-unknown"):
            assert await pki.come("rtsps", pki.context(newcomer)) is None
    await no_slot_taken(pki)


async def test_ten_streams_lose_no_packet_while_certificate_and_authority_change(pki: Pki) -> None:
    # T15 (certificates), S02: seen in the players' own packets, and told in the trace
    section = pki.gateway.node.configuration.tls
    assert section is not None
    before = {path: path.read_bytes() for path in (section.certificate, section.key, section.client_ca, pki.crl)}
    again = issue(pki.root, "server", purpose=ExtendedKeyUsageOID.SERVER_AUTH, extension=LOOPBACK)
    async with contextlib.AsyncExitStack() as life:
        players = [await playing(pki, life, pki.context(pki.machine), number) for number in range(10)]
        section.key.write_bytes(again.key_pem())
        await pki.renew(section.certificate, again.certificate.public_bytes(Encoding.PEM))
        await pki.renew(
            section.client_ca, before[section.client_ca] + pki.stranger.certificate.public_bytes(Encoding.PEM)
        )
        await pki.renew(pki.crl, before[pki.crl] + revocation_list(pki.stranger))
        section.key.write_bytes(before[section.key])
        for path in (section.certificate, section.client_ca, pki.crl):
            await pki.renew(path, before[path])
        for player in players:
            await player.packets_until(len(player.packets) + 20)
            assert (await player.ask("GET_PARAMETER", player.url(f"/live/{pki.gateway.cameras[0]}"))).status == 200
        ours = {stream.id for stream in pki.gateway.node.control.table}
        for number, player in enumerate(players):
            video = [RtpView(packet) for channel, packet, _ in player.packets if channel == 0]
            assert {sequence_distance(a.sequence, b.sequence) for a, b in pairwise(video)} == {1}
            path = f"/live/{pki.gateway.cameras[number % len(pki.gateway.cameras)]}"
            assert (await player.tear_down(path)).status == 200
    await no_slot_taken(pki)

    async def losses() -> list[int]:
        return [each.detail["lost"] for each in await pki.entries(Kind.STREAM_STOPPED) if each.stream in ours]

    async def all_told() -> bool:
        return len(await losses()) == 10

    await until(all_told)
    assert await losses() == [0] * 10


async def test_files_that_cannot_be_used_change_nothing(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    # S02: a half-written file is no reason to stand without TLS
    before = pki.crl.read_bytes()
    pki.crl.write_bytes(before[:-40].replace(b"MII", b"???") + b"-----END X509 CRL-----\n")
    await until(lambda: "tls.not_renewed" in caplog.text)
    assert await pki.come("rtsps", pki.context(pki.machine)) == 200
    await pki.renew(pki.crl, before)
    assert await pki.come("rtsps", pki.context(pki.machine)) == 200
