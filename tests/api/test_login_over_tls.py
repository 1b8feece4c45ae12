"""Logins over real TLS, with real certificates, accounts and sessions behind them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from auth.demo_authority import DemoAuthority
from auth.totp import code_at
from halfgateway.api.application import build_application
from halfgateway.net.tls import server_context
from tests.api.fakes import FakeHouse
from tests.house import PASSWORD, House

_NO_CHECK_TIME = 0x200000  # the server's certificate is dated by the held clock


class Door:
    """The two ports of a demo node, and a client that may hold a card."""

    def __init__(self, house: House, fakes: FakeHouse, https: int, http: int) -> None:
        self.house = house
        self.fakes = fakes
        self.https = f"https://127.0.0.1:{https}/api/v1"
        self.http = f"http://127.0.0.1:{http}/api/v1"

    async def log_in(self, url: str, body: dict[str, str], card: str | None = None) -> tuple[int, dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/login", json=body, ssl=self.client_context(card)) as answer,
        ):
            return answer.status, await answer.json()

    def client_context(self, card: str | None = None, folder: Path | None = None) -> ssl.SSLContext:
        pki = self.house.authority.certificate_path.parent
        context = ssl.create_default_context(cafile=pki / "ca.pem")
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        if card is not None:
            holder = folder or pki
            context.load_cert_chain(holder / f"{card}.pem", holder / f"{card}.key")
        return context

    def reason(self) -> object:
        """Why the last attempt failed, as the trace has it."""
        return self.fakes.trace.entries[-1].detail["reason"]


@pytest.fixture
async def door(house: House) -> AsyncIterator[Door]:
    fakes = FakeHouse()
    ports = replace(fakes.ports(), authenticator=house.login, sessions=house.sessions, clock=house.clock)
    server = house.authority.server(house.clock.now())
    context = server_context(
        certificate=server.certificate_path,
        key=server.key_path,
        client_authorities=house.authority.certificate_path,
    )
    runner = web.AppRunner(build_application(ports, full_api_on_http=True), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (_, https), (_, http) = runner.addresses
    yield Door(house, fakes, https, http)
    await runner.cleanup()


@pytest.mark.parametrize("account_id", ["operator", "supervisor"])
async def test_card_and_password_open_pp_access(door: Door, account_id: str) -> None:  # C08
    status, answer = await door.log_in(door.https, {"id": account_id, "password": PASSWORD}, card=account_id)
    assert status == 200, answer
    assert list(answer) == ["token", "expires_at", "role", "factors"]
    assert (answer["role"], answer["factors"]) == (account_id, ["card", "password"])
    entry = door.fakes.trace.entries[-1]
    assert (entry.kind.value, entry.attribution) == ("auth.succeeded", "agent-authenticated")


async def test_a_machine_needs_its_certificate_and_its_secret(door: Door) -> None:  # C08
    body = {"id": "machine", "password": door.house.passwords["machine"]}
    assert (await door.log_in(door.https, body, card="machine"))[1]["factors"] == ["certificate", "password"]
    assert (await door.log_in(door.https, body))[0] == 401
    assert door.reason() == "certificate-missing"


@pytest.mark.parametrize("port", ["https", "http"])
async def test_a_code_opens_syns_roles_on_both_ports_of_the_demo(door: Door, port: str) -> None:
    code = code_at(door.house.totp_secrets["ops"], door.house.clock.now())
    status, answer = await door.log_in(getattr(door, port), {"id": "ops", "password": PASSWORD, "totp": code})
    assert (status, answer["factors"]) == (200, ["password", "totp"])


async def test_plain_http_never_opens_pp_access(door: Door) -> None:  # S05
    secret = await door.house.enrolment.enrol_totp("operator")
    code = code_at(secret, door.house.clock.now())
    for totp in ({}, {"totp": code}):
        status, _ = await door.log_in(door.http, {"id": "operator", "password": PASSWORD, **totp})
        assert status == 401
        assert door.reason() == "card-missing"


async def test_a_token_works_on_both_ports(door: Door) -> None:
    _, answer = await door.log_in(door.https, {"id": "operator", "password": PASSWORD}, card="operator")
    bearer = {"Authorization": f"Bearer {answer['token']}"}
    async with aiohttp.ClientSession(headers=bearer) as session:
        for url in (door.https, door.http):
            async with session.get(f"{url}/cameras", ssl=door.client_context()) as listed:
                assert listed.status == 200
        async with session.post(f"{door.http}/logout") as ended:
            assert ended.status == 204
        async with session.get(f"{door.http}/cameras") as listed:
            assert listed.status == 401
    assert door.reason() == "session-unknown"


@pytest.mark.parametrize(
    ("account_id", "card", "reason"),
    [
        ("operator", None, "card-missing"),
        ("operator", "supervisor", "certificate-not-bound"),
        ("operator", "stranger", "certificate-not-bound"),
        ("operator", "expired", "certificate-expired"),
        ("operator", "future", "certificate-not-yet-valid"),
        ("revoked", "revoked", "certificate-revoked"),
    ],
)
async def test_a_bad_card_is_answered_and_traced(
    door: Door, account_id: str, card: str | None, reason: str
) -> None:  # C08, S02
    now = door.house.clock.now()
    door.house.authority.client("stranger", now)
    door.house.authority.client("expired", now - timedelta(days=2), lifetime=timedelta(days=1))
    door.house.authority.client("future", now + timedelta(days=1))
    status, problem = await door.log_in(door.https, {"id": account_id, "password": PASSWORD}, card=card)
    assert (status, problem["type"]) == (401, "urn:halfgateway:problem:unauthenticated")
    assert door.reason() == reason
    assert reason not in str(problem)


async def test_a_card_of_another_authority_never_gets_past_tls(door: Door, tmp_path: Path) -> None:  # S02
    elsewhere = tmp_path / "elsewhere"
    DemoAuthority.open(elsewhere, door.house.clock.now()).client("operator", door.house.clock.now())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(
                f"{door.https}/login",
                json={"id": "operator", "password": PASSWORD},
                ssl=door.client_context("operator", elsewhere),
            )
    assert door.fakes.trace.entries == []


async def test_tls_1_2_is_not_offered(door: Door) -> None:  # C17, S02
    old = door.client_context("operator")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{door.https}/openapi.json", ssl=old)


async def test_a_cookie_of_the_tls_port_is_secure(door: Door) -> None:
    code = code_at(door.house.totp_secrets["auditor"], door.house.clock.now())
    body = {"id": "auditor", "password": PASSWORD, "totp": code}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{door.https}/login", json=body, ssl=door.client_context()) as answer,
    ):
        assert "; Secure" in answer.headers["Set-Cookie"]


async def test_the_entries_of_a_login_name_no_subject(door: Door) -> None:  # C17
    await door.log_in(door.https, {"id": "operator", "password": PASSWORD}, card="operator")
    await door.log_in(door.https, {"id": "a password typed here", "password": "x"}, card="operator")
    for entry in door.fakes.trace.entries:
        assert "CN=" not in repr(entry)
        assert "typed" not in repr(entry)
        assert PASSWORD not in repr(entry)
    assert door.reason() == "unknown-account"
