"""One conversation with a mail server: what is proven of it, and what it cannot do to us (N03 to N06)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ops.incidents.events import MAX_TEXT_CHARS
from ops.notices.conversation import Letter
from ops.notices.smtp import Login, SmtpRoute, is_final, xtext
from tests.sending.stage import DOMAIN, PP, SENDER, black_hole, mail_server, server_context

CONTENT = b"Subject: essai\r\nMessage-ID: <i1.cut-1@syn.example>\r\n\r\n.point en t\xc3\xaate\r\n"
LETTER = Letter(SENDER, PP, CONTENT, "0123456789abcdef")
LIMIT_S = 5.0


async def test_starttls_and_authentication_leave_their_evidence_and_no_secret(tmp_path: Path) -> None:
    # N05
    server_tls, client_tls = server_context(tmp_path)
    async with mail_server(tls=server_tls, login=("syn", "mot-de-passe")) as server:
        route = SmtpRoute(
            "first", "127.0.0.1", server.port, DOMAIN, "starttls", client_tls, Login("syn", "mot-de-passe")
        )
        spoken = await route.converse(LETTER, limit_s=LIMIT_S)
        assert spoken.outcome == "taken", spoken.dialogue
        assert spoken.server == "mx.test"
        assert spoken.taken == dict.fromkeys(PP, "250 2.0.0 Ok: queued as 4F0001")
        assert spoken.tls is not None
        version, _, certificate = spoken.tls.split()
        assert version == "TLSv1.3"
        assert len(certificate) == len("sha256:") + 64
        assert "mot-de-passe" not in spoken.dialogue + repr(route)
        assert "AHN5bgBtb3QtZGUtcGFzc2U=" not in spoken.dialogue
        assert server.taken == [(PP, CONTENT)]


async def test_a_wrong_password_is_a_refusal_of_ours_and_no_recipients_failure(tmp_path: Path) -> None:
    server_tls, client_tls = server_context(tmp_path)
    async with mail_server(tls=server_tls, login=("syn", "juste")) as server:
        route = SmtpRoute("first", "127.0.0.1", server.port, DOMAIN, "starttls", client_tls, Login("syn", "faux"))
        spoken = await route.converse(LETTER, limit_s=LIMIT_S)
        assert (spoken.outcome, spoken.taken, spoken.failed) == ("refused", {}, {})
        assert "535" in spoken.dialogue


async def test_a_peer_that_is_not_verified_gets_nothing(tmp_path: Path) -> None:
    # N03: TLS failure
    server_tls, _ = server_context(tmp_path / "one")
    _, other = server_context(tmp_path / "other")
    async with mail_server(tls=server_tls) as server:
        for security in ("starttls", "tls"):
            route = SmtpRoute("first", "127.0.0.1", server.port, DOMAIN, security, other)  # type: ignore[arg-type]
            spoken = await route.converse(LETTER, limit_s=0.5)
            assert spoken.outcome == "unreachable"
            assert "MAIL FROM" not in spoken.dialogue
        assert server.taken == []


async def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    _, client_tls = server_context(tmp_path)
    async with mail_server() as server:
        route = SmtpRoute("first", "127.0.0.1", server.port, DOMAIN, "starttls", client_tls)
        assert (await route.converse(LETTER, limit_s=LIMIT_S)).outcome == "unreachable"


def test_no_server_elsewhere_is_spoken_to_in_clear() -> None:
    with pytest.raises(ValueError, match="without TLS"):
        SmtpRoute("first", "relay.example", 25, DOMAIN, "none")
    with pytest.raises(ValueError, match="verified"):
        SmtpRoute("first", "relay.example", 587, DOMAIN, "starttls")


async def test_each_recipient_has_its_own_result() -> None:
    # N04
    refusals = {PP[0]: "550 5.1.1 unknown", PP[1]: "450 4.2.0 busy"}
    async with mail_server(refusals=refusals) as server:
        spoken = await server.route().converse(LETTER, limit_s=LIMIT_S)
        assert spoken.outcome == "partly-taken"
        assert spoken.failed == {PP[0]: "550 5.1.1 unknown"}
        assert list(spoken.taken) == [PP[2]]


@pytest.mark.parametrize(
    ("code", "text", "final"),
    [
        (550, "5.1.1 User unknown", True),
        (550, "5.2.1 mailbox disabled", True),
        (550, "no such user", True),
        (552, "quota", True),
        (554, "5.7.1 Relay access denied", False),
        (550, "5.7.1 blocked by policy", False),
        (554, "no", False),
        (503, "5.5.1 sequence", False),
        (450, "4.1.1 unknown for now", False),
        (250, "2.1.5 ok", False),
    ],
)
def test_only_what_is_said_of_the_mailbox_is_final(code: int, text: str, final: bool) -> None:
    assert is_final(code, text) is final


def test_an_address_is_escaped_as_a_parameter() -> None:
    assert xtext("a+b=c@pp.example") == "a+2Bb+3Dc@pp.example"


async def test_a_black_hole_ends_within_its_limit() -> None:
    # N03
    async with black_hole() as route:
        before = time.monotonic()
        spoken = await route.converse(LETTER, limit_s=0.1)
        assert spoken.outcome == "unreachable"
        assert spoken.dialogue == "*: no answer in time"
        assert time.monotonic() - before < 5


@asynccontextmanager
async def scripted(
    answer: Callable[[bytes], bytes | None], greeting: bytes = b"220 mx.test\r\n"
) -> AsyncIterator[tuple[SmtpRoute, list[bytes]]]:
    """A server that answers each line as the function says, and hangs up at None."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := await reader.readline():
            heard.append(line)
            said = answer(line)
            if said is None:
                break
            writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield SmtpRoute("scripted", "127.0.0.1", server.sockets[0].getsockname()[1], DOMAIN, "none"), heard


def _offers_reports(line: bytes) -> bytes | None:
    if line.startswith(b"EHLO"):
        return b"250-mx.test\r\n250-8BITMIME\r\n250 DSN\r\n"
    if line.startswith(b"RCPT") and PP[1].encode() in line and b"NOTIFY" in line:
        return b"555 5.5.4 not for this one\r\n"
    if line.startswith(b"DATA"):
        return b"354 go on\r\n"
    if line.startswith((b"MAIL", b"RCPT")):
        return b"250 Ok\r\n"
    return b"250 queued as 7\r\n" if line == b".\r\n" else b"221 bye\r\n" if line.startswith(b"QUIT") else b""


async def test_delivery_reports_are_asked_for_where_they_are_offered() -> None:
    # N06, RFC 3461
    async with scripted(_offers_reports) as (route, heard):
        spoken = await route.converse(LETTER, limit_s=LIMIT_S)
        assert spoken.outcome == "taken", spoken.dialogue
        lines = [line.decode().strip() for line in heard]
        assert f"MAIL FROM:<{SENDER}> BODY=8BITMIME RET=HDRS ENVID=0123456789abcdef" in lines
        assert f"RCPT TO:<{PP[0]}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{PP[0]}" in lines
        assert f"RCPT TO:<{PP[1]}>" in lines


@pytest.mark.parametrize(
    ("greeting", "answer"),
    [
        (b"554 5.3.2 go away\r\n", lambda _: b""),
        (b"\xff\xfe\r\n", lambda _: b""),
        (b"220\r\n", lambda _: b"250 \xff\xfe mx\r\n"),
        (b"220 mx\r\n", lambda _: None),
        (b"220 mx\r\n", lambda line: b"250 mx\r\n" if line.startswith(b"EHLO") else None),
        (b"220 mx\r\n", lambda _: b"250-" + b"x" * 100_000 + b"\r\n"),
        (b"220 mx\r\n", lambda _: b"999 what\r\n"),
        (b"220 " + "é\u0000\u202e".encode() * 3000 + b"\r\n", lambda _: b"421 4.3.0 closing\r\n"),
    ],
)
async def test_whatever_a_server_says_is_an_outcome(greeting: bytes, answer: Callable[[bytes], bytes | None]) -> None:
    async with scripted(answer, greeting) as (route, _):
        spoken = await route.converse(LETTER, limit_s=0.5)
        assert spoken.outcome in {"refused", "deferred", "unreachable"}
        assert not spoken.taken
        assert 1 <= len(spoken.dialogue) <= MAX_TEXT_CHARS
        said = spoken.said("cut-1", "scripted", "0" * 64)
        assert said[0].model_dump_json()
