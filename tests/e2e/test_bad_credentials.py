"""Bad credentials and assertions over HTTP, RTSP and RTSPS: each refused, each traced with its own reason, and none
told more than ``unauthenticated``, nor a machine more than ``assertion-invalid`` (C08; must show 1)."""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyotp
import pytest
import pytest_asyncio

from auth.trace import Kind
from halfgateway.api.dispatch import LOG_IN_AGAIN
from halfgateway.protocol.digest import Algorithm, ha1
from tests.asserting import Signer
from tests.bad_assertions import BAD_ASSERTIONS
from tests.e2e.attempts import Told, calling, new_source, post, refusals, told_of
from tests.e2e.conftest import credentials_of
from tests.e2e.forging import issue
from tests.e2e.pki import Pki, open_pki
from tests.raw_player import Answer, Credentials, RawPlayer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pki(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pki]:
    async with open_pki(tmp_path_factory.mktemp("bad")) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unauthenticated(pki: Pki) -> Told:
    """What is told to who has no account at all, over TLS."""
    body = {"id": "nobody", "password": "nothing"}
    return await post(pki, "/login", body, source=new_source(), tls=pki.context(None))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unopened(pki: Pki, unauthenticated: Told) -> Told:
    """What is told to who has a token that opens nothing: to log in again, and not whether it ever opened anything."""
    told = await post(pki, "/streams", {}, source=new_source(), tls=pki.context(None), token="1" * 43)
    assert (told.status, told != unauthenticated) == (unauthenticated.status, True)
    assert LOG_IN_AGAIN.encode() in told.body
    return told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def machine_token(pki: Pki) -> str:
    return await pki.gateway.token("machine")


# Logins over HTTP and HTTPS

Attempt = tuple[dict[str, Any], ssl.SSLContext | None]


def account(pki: Pki, role: str, **changes: Any) -> dict[str, Any]:
    found = pki.gateway.ready["accounts"][role]
    return {"id": found["id"], "password": found["password"], **changes}


def code(pki: Pki, role: str, steps: int = 0) -> str:
    secret = pyotp.TOTP(pki.gateway.ready["accounts"][role]["totp_secret"])
    return secret.at(datetime.now(UTC) + timedelta(seconds=30 * steps))


def forged(**how: Any) -> Callable[[Pki], Attempt]:
    return lambda pki: (account(pki, "operator"), pki.context(issue(pki.root, **how)))


async def log_in(pki: Pki, attempt: Attempt, source: str) -> Told:
    return await post(pki, "/login", attempt[0], source=source, tls=attempt[1])


LOGINS: dict[str, tuple[Callable[[Pki], Attempt], str]] = {
    "no such account": (lambda pki: ({"id": "x", "password": "x"}, pki.context(None)), "unknown-account"),
    "a name that is SQL": (
        lambda pki: ({"id": "' OR 1=1 --", "password": "x"}, pki.context(None)),
        "unknown-account",
    ),
    "wrong password with the card": (
        lambda pki: (account(pki, "operator", password="x"), pki.context(pki.operator)),
        "wrong-password",
    ),
    "wrong password of a machine": (
        lambda pki: (account(pki, "machine", password="x"), pki.context(pki.machine)),
        "wrong-password",
    ),
    "wrong password with a right code": (
        lambda pki: (account(pki, "auditor", password="x", totp=code(pki, "auditor")), pki.context(None)),
        "wrong-password",
    ),
    "another account's password": (
        lambda pki: (account(pki, "officer", password=account(pki, "ops")["password"]), pki.context(None)),
        "wrong-password",
    ),
    "password and no card": (lambda pki: (account(pki, "operator"), pki.context(None)), "card-missing"),
    "password and no card, supervisor": (lambda pki: (account(pki, "supervisor"), pki.context(None)), "card-missing"),
    "a code for a card": (
        lambda pki: (account(pki, "operator", totp=code(pki, "ops")), pki.context(None)),
        "card-missing",
    ),
    "a machine without its certificate": (
        lambda pki: (account(pki, "machine"), pki.context(None)),
        "certificate-missing",
    ),
    "another's card": (lambda pki: (account(pki, "operator"), pki.context(pki.supervisor)), "certificate-not-bound"),
    "a machine's certificate for a card": (
        lambda pki: (account(pki, "operator"), pki.context(pki.machine)),
        "certificate-not-bound",
    ),
    "a card for a machine's certificate": (
        lambda pki: (account(pki, "machine"), pki.context(pki.operator)),
        "certificate-not-bound",
    ),
    "a card that nobody has": (forged(name="nobody"), "certificate-not-bound"),
    "an expired card": (forged(begins=timedelta(days=-2), lasts=timedelta(days=1)), "certificate-expired"),
    "a card of tomorrow": (forged(begins=timedelta(days=1)), "certificate-not-yet-valid"),
    "an authority's certificate": (forged(is_authority=True), "certificate-wrong-usage"),
    "password and no code": (lambda pki: (account(pki, "ops"), pki.context(None)), "second-factor-missing"),
    "a wrong code": (lambda pki: (account(pki, "ops", totp="000000"), pki.context(None)), "wrong-code"),
    "a code of long ago": (
        lambda pki: (account(pki, "ops", totp=code(pki, "ops", -100)), pki.context(None)),
        "wrong-code",
    ),
    "a code of other digits": (lambda pki: (account(pki, "ops", totp="١٢٣٤٥٦"), pki.context(None)), "wrong-code"),
    "a recovery code that was never drawn": (
        lambda pki: (account(pki, "ops", totp="A" * 16), pki.context(None)),
        "wrong-recovery-code",
    ),
    "a sealed credential that was never made": (
        lambda pki: ({"id": "break-glass-1", "password": "A" * 32}, pki.context(None)),
        "unknown-account",
    ),
}


@pytest.mark.parametrize("case", LOGINS)
async def test_a_bad_login_is_told_one_thing_and_traced_with_its_reason(
    pki: Pki, unauthenticated: Told, case: str
) -> None:
    make, reason = LOGINS[case]
    source = new_source()
    assert await log_in(pki, make(pki), source) == unauthenticated
    (entry,) = await refusals(pki, source)
    assert (entry.kind, entry.refusal, entry.detail["reason"]) == (Kind.AUTH_FAILED, "unauthenticated", reason)
    assert "CN=" not in repr(entry)


async def test_what_is_told_is_no_more_than_unauthenticated(unauthenticated: Told) -> None:
    assert unauthenticated.status == 401
    assert b"urn:halfgateway:problem:unauthenticated" in unauthenticated.body
    assert ("www-authenticate", 'Bearer realm="halfgateway"') in unauthenticated.headers


async def test_a_replayed_code_is_told_nothing_else(pki: Pki, unauthenticated: Told) -> None:  # S04
    attempt = (account(pki, "auditor", totp=code(pki, "auditor")), pki.context(None))
    assert (await log_in(pki, attempt, new_source())).status == 200
    source = new_source()
    assert await log_in(pki, attempt, source) == unauthenticated
    (entry,) = await refusals(pki, source)
    assert entry.detail["reason"] == "code-replayed"


@pytest.mark.parametrize("role", ["operator", "machine"])
async def test_plain_http_opens_nothing_that_takes_a_certificate(pki: Pki, role: str) -> None:  # S05
    source = new_source()
    assert (await log_in(pki, (account(pki, role), None), source)).status == 401
    (entry,) = await refusals(pki, source)
    assert entry.detail["reason"] in {"card-missing", "certificate-missing"}


BEARERS = {
    "a guess": "0" * 43,
    "another alphabet": "é" * 10,
    "an assertion": "eyJhbGciOiJub25lIn0.e30.AA",
    "longer than any": "x" * 4000,
}


@pytest.mark.parametrize("case", BEARERS)
@pytest.mark.parametrize("path", ["/streams", "/logout"])
async def test_a_token_that_opens_nothing(pki: Pki, unopened: Told, case: str, path: str) -> None:
    source = new_source()
    told = await post(pki, path, {}, source=source, tls=pki.context(None), token=BEARERS[case])
    assert told == unopened
    (entry,) = await refusals(pki, source)
    assert (entry.kind, entry.detail["reason"]) == (Kind.AUTH_FAILED, "session-unknown")


async def test_a_session_that_was_ended(pki: Pki, unopened: Told) -> None:
    attempt = (account(pki, "supervisor"), pki.context(pki.supervisor))
    async with calling(new_source()) as http:
        url = pki.gateway.ready["https"] + "/api/v1"
        async with http.post(url + "/login", json=attempt[0], ssl=attempt[1]) as answer:
            token = (await answer.json())["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        async with http.post(url + "/logout", headers=bearer, ssl=attempt[1]) as answer:
            assert answer.status == 204
    source = new_source()
    async with (
        calling(source) as http,
        http.get(f"{pki.gateway.ready['https']}/api/v1/streams", headers=bearer, ssl=attempt[1]) as answer,
    ):
        assert await told_of(answer) == unopened
    (entry,) = await refusals(pki, source)
    assert entry.detail["reason"] == "session-unknown"


# Assertions over mutual TLS


def wish(pki: Pki, assertion: str, **changes: Any) -> dict[str, Any]:
    camera = pki.gateway.cameras[0]
    return {"camera": camera, "mode": "live", "reason": "L251-2-5", "assertion": assertion, **changes}


async def asserted(pki: Pki, assertion: str, source: str, token: str, **changes: Any) -> Told:
    tls = changes.pop("tls", None) or pki.context(pki.machine)
    return await post(pki, "/streams", wish(pki, assertion, **changes), source=source, tls=tls, token=token)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assertion_invalid(pki: Pki, machine_token: str) -> Told:
    """What is told of an assertion that is nonsense."""
    return await asserted(pki, "nonsense", new_source(), machine_token)


async def test_a_machine_is_told_no_more_than_assertion_invalid(assertion_invalid: Told) -> None:
    assert assertion_invalid.status == 403
    assert b"urn:halfgateway:problem:assertion-invalid" in assertion_invalid.body
    assert b"detail" not in assertion_invalid.body


@pytest.mark.parametrize("case", BAD_ASSERTIONS)
async def test_a_bad_assertion_is_told_one_thing_and_traced_with_its_reason(
    pki: Pki, assertion_invalid: Told, machine_token: str, case: str
) -> None:
    make, reason = BAD_ASSERTIONS[case]
    source = new_source()
    assert await asserted(pki, make(Signer.of_demo(pki.gateway.ready)), source, machine_token) == assertion_invalid
    (entry,) = await refusals(pki, source)
    assert (entry.kind, entry.refusal, entry.detail["reason"]) == (Kind.ASSERTION_REFUSED, "assertion-invalid", reason)
    assert (entry.agent, entry.account) == (None, "pvpp-vms")
    assert await pki.gateway.slots_used() == 0


async def with_another_purpose(pki: Pki, token: str, source: str) -> Told:
    return await asserted(pki, Signer.of_demo(pki.gateway.ready).assertion(), source, token, reason="L251-2-6")


async def with_another_reference(pki: Pki, token: str, source: str) -> Told:
    return await asserted(pki, Signer.of_demo(pki.gateway.ready).assertion(), source, token, reference="PP-2026-18")


async def without_a_certificate(pki: Pki, token: str, source: str) -> Told:
    assertion = Signer.of_demo(pki.gateway.ready).assertion()
    return await asserted(pki, assertion, source, token, tls=pki.context(None))


async def with_anothers_certificate(pki: Pki, token: str, source: str) -> Told:
    assertion = Signer.of_demo(pki.gateway.ready).assertion()
    return await asserted(pki, assertion, source, token, tls=pki.context(pki.operator))


async def by_an_operator(pki: Pki, _: str, source: str) -> Told:
    assertion, token = Signer.of_demo(pki.gateway.ready).assertion(), await pki.gateway.token("operator")
    return await asserted(pki, assertion, source, token, tls=pki.context(pki.operator))


async def twice(pki: Pki, token: str, source: str) -> Told:
    assertion = Signer.of_demo(pki.gateway.ready).assertion()
    first = await asserted(pki, assertion, new_source(), token)
    assert first.status == 201, first
    return await asserted(pki, assertion, source, token)


ASKED_WRONGLY: dict[str, tuple[Callable[[Pki, str, str], Awaitable[Told]], str]] = {
    "for another purpose": (with_another_purpose, "purpose-differs"),
    "for another reference": (with_another_reference, "reference-differs"),
    "without the machine's certificate": (without_a_certificate, "certificate-missing"),
    "with another's certificate": (with_anothers_certificate, "certificate-not-bound"),
    "by an operator": (by_an_operator, "not-a-machine"),
    "twice": (twice, "replayed"),
}


@pytest.mark.parametrize("case", ASKED_WRONGLY)
async def test_a_good_assertion_that_is_used_wrongly(
    pki: Pki, assertion_invalid: Told, machine_token: str, case: str
) -> None:
    ask, reason = ASKED_WRONGLY[case]
    source = new_source()
    assert await ask(pki, machine_token, source) == assertion_invalid
    (entry,) = await refusals(pki, source)
    assert (entry.kind, entry.detail["reason"]) == (Kind.ASSERTION_REFUSED, reason)
    for stream in pki.gateway.node.control.table:
        await pki.gateway.call("supervisor", "DELETE", f"/streams/{stream.id}")


# Digest over RTSP and RTSPS

Proof = Callable[[str, str, Credentials], str]


def digest(
    nonce: str,
    url: str,
    who: Credentials,
    *,
    method: str = "DESCRIBE",
    sha256: bool = False,
    realm: str = "halfgateway",
) -> str:
    algorithm = Algorithm.SHA256 if sha256 else Algorithm.MD5
    secret = ha1(who.username, realm, who.password, algorithm)
    response = algorithm.hex(f"{secret}:{nonce}:{algorithm.hex(f'{method}:{url}')}")
    suffix = ", algorithm=SHA-256" if sha256 else ""
    named = f'username="{who.username}", realm="{realm}", nonce="{nonce}"'
    return f'Digest {named}, uri="{url}", response="{response}"{suffix}'


def basic(_nonce: str, _url: str, who: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{who.username}:{who.password}".encode()).decode()


def as_(username: str | None = None, password: str = "wrong", **how: Any) -> Proof:
    return lambda nonce, url, who: digest(nonce, url, Credentials(username or who.username, password), **how)


DIGESTS: dict[str, tuple[Proof, str]] = {
    "wrong password, MD5": (as_(), "wrong-digest"),
    "wrong password, SHA-256": (as_(sha256=True), "wrong-digest"),
    "no password": (as_(password=""), "wrong-digest"),
    "made for another method": (
        lambda nonce, url, who: digest(nonce, url, who, method="OPTIONS"),
        "wrong-digest",
    ),
    "made for another realm": (lambda nonce, url, who: digest(nonce, url, who, realm="elsewhere"), "wrong-digest"),
    "made for another camera": (lambda nonce, url, who: digest(nonce, url + "9", who), "digest-of-another-resource"),
    "unknown name": (as_("nobody"), "unknown-name"),
    "an operator's name": (as_("pp-operator-01"), "unknown-name"),
    "a ticket that was never given": (as_("t-" + "A" * 22), "wrong-ticket-digest"),
    "Basic, with the right password": (basic, "digest-unreadable"),
    "a bearer's token": (lambda *_: "Bearer 00000000", "digest-unreadable"),
    "rubbish": (lambda *_: 'Digest username="', "digest-unreadable"),
    "qop that was not offered": (
        lambda nonce, url, who: digest(nonce, url, who) + ", qop=auth, nc=00000001, cnonce=x",
        "digest-unreadable",
    ),
    "an algorithm that was not offered": (
        lambda nonce, url, who: digest(nonce, url, who) + ", algorithm=MD5-sess",
        "digest-unreadable",
    ),
}


def player(pki: Pki, port: str, source: str) -> RawPlayer:
    tls = pki.context(pki.machine) if port == "rtsps" else None
    return RawPlayer(*pki.address(port), None, tls=tls, source=source)


def without_nonce(answer: Answer) -> tuple[int, bytes, dict[str, list[str]]]:
    headers = {
        name: [re.sub(r'nonce="[^"]*"', "nonce", value) for value in values] for name, values in answer.headers.items()
    }
    headers.pop("cseq")
    return answer.status, answer.body, headers


@pytest.mark.parametrize("port", ["rtsp", "rtsps"])
@pytest.mark.parametrize("case", DIGESTS)
async def test_a_bad_digest_is_told_one_thing_and_traced_with_its_reason(pki: Pki, case: str, port: str) -> None:
    prove, reason = DIGESTS[case]
    source = new_source()
    async with player(pki, port, source) as stranger:
        url = stranger.url(f"/live/{pki.gateway.cameras[0]}")
        asked = await stranger.ask("DESCRIBE", url)
        nonce = re.search(r'nonce="([^"]*)"', asked.headers["www-authenticate"][0])
        assert nonce is not None
        proof = prove(nonce[1], url, pki.gateway.machine)
        told = await stranger.ask("DESCRIBE", url, {"Authorization": proof})
    assert told.status == 401
    assert without_nonce(told) == without_nonce(asked), "as who has shown nothing at all"
    (entry,) = await refusals(pki, source)
    assert (entry.kind, entry.refusal, entry.detail["reason"]) == (Kind.AUTH_FAILED, "unauthenticated", reason)
    known = reason in {"wrong-digest", "digest-of-another-resource"}
    assert entry.account == (pki.gateway.machine.username if known else None)


@pytest.mark.parametrize("port", ["rtsp", "rtsps"])
async def test_a_ticket_that_has_ended(pki: Pki, port: str) -> None:
    ticket = await pki.gateway.ticket(pki.gateway.cameras[0])
    await pki.gateway.call("operator", "DELETE", f"/streams/{ticket['id']}")
    await pki.gateway.node.control.closer.settle()
    source = new_source()
    async with player(pki, port, source) as late:
        late.credentials = credentials_of(ticket)
        answer = await late.set_up(f"/live/{pki.gateway.cameras[0]}")
    assert (answer.status, answer.header("x-refusal")) == (401, "unauthenticated")
    (entry,) = await refusals(pki, source)
    assert entry.detail["reason"] == "ticket-ended"


async def test_a_source_that_guesses_digests_is_slowed_and_its_right_one_still_counts(pki: Pki) -> None:  # S03
    source = new_source()
    async with player(pki, "rtsp", source) as guesser:
        guesser.credentials = Credentials(pki.gateway.machine.username, "wrong")
        path = f"/live/{pki.gateway.cameras[0]}"
        statuses = [(await guesser.ask("DESCRIBE", guesser.url(path))).status for _ in range(15)]
        assert statuses[0] == 401
        assert statuses[-1] == 503
        guesser.credentials = pki.gateway.machine
        assert (await guesser.ask("DESCRIBE", guesser.url(path))).status in {200, 503}
    async with player(pki, "rtsp", source) as guesser:
        guesser.credentials = pki.gateway.machine
        assert (await guesser.ask("DESCRIBE", guesser.url(path))).status == 200
    told = await refusals(pki, source, lambda entry: entry.kind is Kind.AUTH_LOCKED)
    assert len(told) == 1
