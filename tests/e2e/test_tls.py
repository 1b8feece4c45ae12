"""TLS at both ports: what is bad is refused and traced with its own reason, and what is renewed drops nobody."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

import halfgateway.app.tls
from auth.trace import Entry, Kind
from tests.e2e.conftest import STEADY, Gateway, credentials_of, open_gateway, until
from tests.e2e.forging import Forged, careless_context, issue, read, revocation_list
from tests.raw_player import Credentials, RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = ("rtsps", "https")
PROMPT_S = 5.0
"""Within which a revocation ends what runs (S12)."""

SMALL_BYTES = 16 * 1024
LOOPBACK = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


@dataclass
class Pki:
    """A gateway with its authority, whose files a test may write."""

    gateway: Gateway
    folder: Path
    root: Forged
    machine: Forged
    operator: Forged
    supervisor: Forged
    stranger: Forged = field(default_factory=lambda: issue(None, "another authority", is_authority=True))

    @property
    def trusted(self) -> Path:
        return Path(self.gateway.ready["ca"])

    @property
    def crl(self) -> Path:
        return self.trusted.parent / "crl.pem"

    def context(self, shown: Forged | None) -> ssl.SSLContext:
        return careless_context(self.trusted) if shown is None else shown.client_context(self.trusted, self.folder)

    def address(self, port: str) -> tuple[str, int]:
        host, _, number = self.gateway.ready[port].partition("://")[2].partition(":")
        return host, int(number)

    def player(self, credentials: Credentials, tls: ssl.SSLContext) -> RawPlayer:
        return RawPlayer(*self.address("rtsps"), credentials, tls=tls)

    async def come(self, port: str, tls: ssl.SSLContext) -> int | None:
        """Ask to watch, or to log in, as those who hold such certificates do; the status, None for no answer."""
        with contextlib.suppress(OSError, EOFError, aiohttp.ClientError):
            return await (self._watch(tls) if port == "rtsps" else self._log_in(tls))
        return None

    async def renew(self, path: Path, content: bytes) -> None:
        """Replace a file, and wait until the gateway has read it."""
        seen = len(await self.entries(Kind.CONFIG_CHANGED))
        new = path.with_suffix(".new")
        new.write_bytes(content)
        os.replace(new, path)

        async def is_read() -> bool:
            return len(await self.entries(Kind.CONFIG_CHANGED)) > seen

        await until(is_read)

    async def entries(self, kind: Kind) -> list[Entry]:
        return [entry for entry in await self.gateway.trace() if entry.kind is kind]

    async def _watch(self, tls: ssl.SSLContext) -> int:
        async with self.player(self.gateway.machine, tls) as player:
            return (await player.set_up(f"/live/{self.gateway.cameras[0]}")).status

    async def _log_in(self, tls: ssl.SSLContext) -> int:
        account = self.gateway.ready["accounts"]["operator"]
        body = {"id": account["id"], "password": account["password"]}
        url = f"{self.gateway.ready['https']}/api/v1/login"
        async with aiohttp.ClientSession() as http, http.post(url, json=body, ssl=tls) as answer:
            return answer.status


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pki(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pki]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halfgateway.app.tls, "CHECK_FILES_S", 0.05)
        async with open_gateway(tmp_path_factory.mktemp("tls") / "demo", STEADY) as gateway:
            accounts = gateway.ready["accounts"]
            machine, operator, supervisor = (
                read(Path(accounts[name]["certificate"]), Path(accounts[name]["key"]))
                for name in ("machine", "operator", "supervisor")
            )
            folder = Path(gateway.ready["ca"]).parent
            root = read(folder / "ca.pem", folder / "ca.key")
            yield Pki(gateway, tmp_path_factory.mktemp("forged"), root, machine, operator, supervisor)


@pytest_asyncio.fixture(loop_scope="module")
async def good_lists(pki: Pki) -> AsyncIterator[None]:
    """The revocation list is afterwards as it was before."""
    before = pki.crl.read_bytes()
    yield
    await pki.renew(pki.crl, before)


def through_an_intermediate(pki: Pki) -> Forged:
    between = issue(pki.root, "intermediate", is_authority=True)
    return issue(between).with_chain(between.certificate)


def without_the_intermediate(pki: Pki) -> Forged:
    return issue(issue(pki.root, "intermediate", is_authority=True))


def signed_by_a_machine(pki: Pki) -> Forged:
    return issue(pki.machine).with_chain(pki.machine.certificate)


def critical(_: Pki) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


NO_HANDSHAKE: dict[str, tuple[Callable[[Pki], Forged], str]] = {
    "unknown authority": (lambda pki: issue(pki.stranger), "issuer-unknown"),
    "unknown authority in its chain": (
        lambda pki: issue(pki.stranger).with_chain(pki.stranger.certificate),
        "chain-self-signed",
    ),
    "self-signed": (lambda pki: issue(None), "certificate-self-signed"),
    "server's certificate": (
        lambda pki: issue(pki.root, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        "certificate-wrong-usage",
    ),
    "the authority's own": (lambda pki: pki.root, "certificate-wrong-usage"),
    "intermediate that the root does not allow": (through_an_intermediate, "chain-too-long"),
    "intermediate missing": (without_the_intermediate, "issuer-unknown"),
    "signed by a machine": (signed_by_a_machine, "issuer-not-an-authority"),
    "signed with another key": (
        lambda pki: issue(pki.root, signed_with=pki.stranger.key),
        "certificate-signature-wrong",
    ),
    "key of 1024 bits": (
        lambda pki: issue(pki.root, key=rsa.generate_private_key(65537, 1024)),
        "certificate-key-too-small",
    ),
    "unknown critical extension": (
        lambda pki: issue(pki.root, extension=critical(pki)),
        "certificate-critical-extension",
    ),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("case", NO_HANDSHAKE)
async def test_a_handshake_that_is_refused_is_traced(pki: Pki, case: str, port: str) -> None:
    # C08, S02
    make, reason = NO_HANDSHAKE[case]
    async with one_more(pki, Kind.AUTH_FAILED, reason):
        assert await pki.come(port, pki.context(make(pki))) is None


def speak(version: ssl.TLSVersion, ciphers: str = "ALL:@SECLEVEL=0") -> Callable[[Pki], ssl.SSLContext]:
    def context(pki: Pki) -> ssl.SSLContext:
        made = pki.context(pki.machine)
        made.set_ciphers(ciphers)
        with (
            pytest.warns(DeprecationWarning, match="deprecated")
            if version < ssl.TLSVersion.TLSv1_2
            else contextlib.nullcontext()
        ):
            made.minimum_version = version
            made.maximum_version = version
        return made

    return context


NOT_SPOKEN = [
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1), "tls-version", id="rtsps 1.0"),
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1_1), "tls-version", id="rtsps 1.1"),
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1_2, "AES256-SHA"), "tls-cipher", id="rtsps no forward secrecy"),
    pytest.param("rtsps", speak(ssl.TLSVersion.TLSv1_2, "ECDHE+AES+SHA384"), "tls-cipher", id="rtsps CBC"),
    pytest.param("https", speak(ssl.TLSVersion.TLSv1), "tls-version", id="https 1.0"),
    pytest.param("https", speak(ssl.TLSVersion.TLSv1_1), "tls-version", id="https 1.1"),
    pytest.param("https", speak(ssl.TLSVersion.TLSv1_2), "tls-version", id="https 1.2"),
]


@pytest.mark.parametrize(("port", "context", "reason"), NOT_SPOKEN)
async def test_an_old_version_or_cipher_is_refused_and_traced(
    pki: Pki, port: str, context: Callable[[Pki], ssl.SSLContext], reason: str
) -> None:
    # S02, C17
    async with one_more(pki, Kind.AUTH_FAILED, reason):
        assert await pki.come(port, context(pki)) is None


@pytest.mark.parametrize("port", PORTS)
async def test_what_is_not_tls_is_refused_and_traced(pki: Pki, port: str) -> None:
    # S01
    async with one_more(pki, Kind.AUTH_FAILED, "not-tls"):
        reader, writer = await asyncio.open_connection(*pki.address(port))
        writer.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"RTSP/1.0" not in await reader.read()
        writer.transport.abort()


ANSWERED: dict[str, tuple[Callable[[Pki], Forged | None], str]] = {
    "none": (lambda pki: None, "certificate-missing"),
    "expired": (
        lambda pki: issue(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1)),
        "certificate-expired",
    ),
    "not yet valid": (lambda pki: issue(pki.root, begins=timedelta(days=1)), "certificate-not-yet-valid"),
    "another account's": (lambda pki: pki.supervisor, "certificate-not-bound"),
    "nobody's": (lambda pki: issue(pki.root), "certificate-not-bound"),
    "an authority below": (
        lambda pki: issue(pki.root, is_authority=True),
        "certificate-wrong-usage",
    ),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("case", ANSWERED)
async def test_a_certificate_that_does_not_count_is_answered_and_traced(pki: Pki, case: str, port: str) -> None:
    # C08, S02: no certificate is a card that is missing, at the login of an operator
    make, reason = ANSWERED[case]
    if (case, port) == ("none", "https"):
        reason = "card-missing"
    async with one_more(pki, refusal_kind(port), reason):
        assert await pki.come(port, pki.context(make(pki))) == refusal_status(port)


LISTS: dict[str, tuple[Callable[[Pki], bytes], str]] = {
    "revoked": (
        lambda pki: revocation_list(pki.root, [pki.machine.certificate, pki.operator.certificate]),
        "certificate-revoked",
    ),
    "stale": (
        lambda pki: revocation_list(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1)),
        "revocation-list-stale",
    ),
    "of tomorrow": (lambda pki: revocation_list(pki.root, begins=timedelta(days=1)), "revocation-list-stale"),
    "none": (lambda pki: b"", "revocation-unknown"),
    "another authority's": (lambda pki: revocation_list(pki.stranger), "revocation-list-untrusted"),
    "its name, another's key": (
        lambda pki: revocation_list(Forged(pki.root.certificate, pki.stranger.key)),
        "revocation-list-untrusted",
    ),
}


@pytest.mark.usefixtures("good_lists")
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("case", LISTS)
async def test_a_revocation_list_counts_from_the_next_request_on(pki: Pki, case: str, port: str) -> None:
    # S02: revoked, or not known to be good, is refused
    make, reason = LISTS[case]
    holder = pki.machine if port == "rtsps" else pki.operator
    await pki.renew(pki.crl, make(pki))
    async with one_more(pki, refusal_kind(port), reason):
        assert await pki.come(port, pki.context(holder)) == refusal_status(port)


@pytest.mark.usefixtures("good_lists")
@pytest.mark.parametrize("used_percent", [60, 90])
async def test_a_revocation_list_that_ages_raises_an_alarm(
    pki: Pki, used_percent: int, caplog: pytest.LogCaptureFixture
) -> None:
    # S02: at half its life, and at four fifths
    begins = timedelta(hours=-used_percent)
    await pki.renew(pki.crl, revocation_list(pki.root, begins=begins, lasts=timedelta(hours=100)))
    await until(lambda: f"crl.ageing used_percent={used_percent}" in caplog.text)
    assert await pki.come("rtsps", pki.context(pki.machine)) == 200


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_holds_the_right_certificate_comes_in(pki: Pki, port: str, version: ssl.TLSVersion) -> None:
    # S02: TLS 1.2 with ECDHE and AEAD is for machines, on the RTSPS port
    tls = pki.context(pki.machine if port == "rtsps" else pki.operator)
    tls.maximum_version = version
    spoken = port == "rtsps" or version is ssl.TLSVersion.TLSv1_3
    assert await pki.come(port, tls) == (200 if spoken else None)


async def test_tls_1_2_is_not_for_an_operators_ticket(pki: Pki) -> None:
    # C17, S02
    camera = pki.gateway.cameras[0]
    ticket = credentials_of(await pki.gateway.ticket(camera))
    old = pki.context(None)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with one_more(pki, Kind.STREAM_REFUSED, "tls-1.3-missing"), pki.player(ticket, old) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 403
    async with pki.player(ticket, pki.context(None)) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200


async def test_a_ticket_needs_no_certificate_and_a_bad_one_is_refused(pki: Pki) -> None:
    # S02
    camera = pki.gateway.cameras[0]
    ticket = credentials_of(await pki.gateway.ticket(camera))
    expired = issue(pki.root, begins=timedelta(days=-2), lasts=timedelta(days=1))
    refused = one_more(pki, Kind.STREAM_REFUSED, "certificate-expired")
    async with refused, pki.player(ticket, pki.context(expired)) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 403
    async with pki.player(ticket, pki.context(None)) as player:
        assert (await player.set_up(f"/live/{camera}")).status == 200
        assert (await player.tear_down(f"/live/{camera}")).status == 200


def refusal_kind(port: str) -> Kind:
    return Kind.STREAM_REFUSED if port == "rtsps" else Kind.AUTH_FAILED


def refusal_status(port: str) -> int:
    return 403 if port == "rtsps" else 401


@contextlib.asynccontextmanager
async def one_more(pki: Pki, kind: Kind, reason: str) -> AsyncIterator[None]:
    """What is done meanwhile is refused, and told by an entry of this reason and no other."""
    refusals = (Kind.AUTH_FAILED, Kind.STREAM_REFUSED)

    async def told() -> list[Entry]:
        return [entry for entry in await pki.gateway.trace() if entry.kind in refusals]

    before = len(await told())
    yield

    async def is_told() -> bool:
        return len(await told()) > before

    await until(is_told)
    assert {(entry.kind, entry.detail["reason"]) for entry in (await told())[before:]} == {(kind, reason)}
    assert all("CN=" not in repr(entry) for entry in (await told())[before:])


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
    # C10: no close_notify, no alert: the connection is gone, and nothing is handed over after
    async with contextlib.AsyncExitStack() as players:
        tls = pki.context(pki.machine)
        all_players = [await playing(pki, players, tls, number) for number in range(6)]
        reading = [asyncio.create_task(player.read_to_end()) for player in all_players]
        async with cut(pki):
            assert len(pki.gateway.node.control.table) == 0
            assert await asyncio.gather(*reading) == ["reset"] * 6


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
    # C10, rtsp.md section 2: what the kernel and TLS still hold is discarded, not delivered
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
    # S12: its streams end, over TLS and by ticket; another's go on; its next request is refused
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


async def test_files_that_cannot_be_used_change_nothing(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    # S02: a half-written file is no reason to stand without TLS
    before = pki.crl.read_bytes()
    pki.crl.write_bytes(before[:-40].replace(b"MII", b"???") + b"-----END X509 CRL-----\n")
    await until(lambda: "tls.not_renewed" in caplog.text)
    assert await pki.come("rtsps", pki.context(pki.machine)) == 200
    await pki.renew(pki.crl, before)
    assert await pki.come("rtsps", pki.context(pki.machine)) == 200
