"""First accounts: made by hand before a node's first start, each act in its trace, and good at its door afterwards."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pyotp
import pytest
from typer.testing import CliRunner

from auth.demo_authority import DemoAuthority
from auth.trace import Kind
from auth.trace.reader import TraceReader
from halfgateway.cli import build
from tests.contacts import CONTACTS
from tests.e2e.nodes import Process, toml_lines

OFFICER, OPERATOR, MACHINE = "syn-rssi-01", "pp-0001", "pvpp-vms"
DECIDED = ("--authority", "préfet de police", "--reference", "PP-17")


class Site:
    """A configured node that has never run, its authority, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.config = folder / "gateway.toml"
        self.authority = DemoAuthority.open(folder / "ca", datetime.now(UTC))
        self.authority.write_revocation_list([], datetime.now(UTC))
        server = self.authority.server(datetime.now(UTC))
        document = {
            "node": {"id": "first", "data": str(self.data)},
            "convention": {"in_force_from": datetime(2025, 10, 21, tzinfo=UTC)},
            "listen": {"http_port": 0, "https_port": 0, "rtsps_port": 0},
            "sites": [{"id": "PP-CITE", "label": "Salle de commandement"}],
            "contacts": CONTACTS,
            "tls": {
                "certificate": str(server.certificate_path),
                "key": str(server.key_path),
                "client_ca": str(self.authority.certificate_path),
                "revoked": str(self.authority.revocation_list_path),
            },
        }
        self.config.write_text("\n".join(toml_lines(document)))
        serve = [
            sys.executable,
            "-m",
            "halfgateway",
            "serve",
            "--config",
            str(self.config),
            "--no-attendants",
            "--json",
        ]
        self.node = Process(serve, folder / "node.log", piped=True)

    def card(self, name: str) -> str:
        return str(self.authority.client(name, datetime.now(UTC)).certificate_path)

    async def agent(self, *arguments: str, code: int = 0) -> Any:
        """What one ``halfgateway agent`` says; where it fails, on stderr."""
        command = ["agent", *arguments, "--config", str(self.config), "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, build(command), command)
        assert done.exit_code == code, done
        return done.stderr if code else json.loads(done.stdout)

    async def logs_in(self, https: str, body: dict[str, str], card: str | None = None) -> int:
        tls = ssl.create_default_context(cafile=str(self.authority.certificate_path))
        if card is not None:
            tls.load_cert_chain(card, card.replace(".pem", ".key"))
        async with aiohttp.ClientSession() as http, http.post(f"{https}/api/v1/login", json=body, ssl=tls) as answer:
            return answer.status

    async def trace(self) -> list[tuple[Kind, str | None, Any]]:
        """What it tells of accounts, oldest first."""
        page = await TraceReader.of(self.data / "trace", "first").entries(limit=100)
        about = [entry for entry in page.items[::-1] if entry.kind.value.startswith("agent.")]
        return [(entry.kind, entry.agent, entry.detail.get("factor")) for entry in about]

    def verified(self) -> int:
        command = [sys.executable, "-m", "halfgateway", "trace", "verify", str(self.data / "trace")]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.node.kill()


async def test_first_accounts_are_traced_and_good_at_the_door(site: Site) -> None:
    # C09, C21, T10: docs/install.md, as far as the login
    officer = await site.agent("bootstrap", OFFICER)
    assert "déjà enregistré" in await site.agent("bootstrap", "syn-rssi-02", code=1)
    card, machine_card = site.card(OPERATOR), site.card(MACHINE)
    for name in (OPERATOR, MACHINE):
        await site.agent("add", name, "--administration", "PP", "--service", "DOPC", *DECIDED)
    await site.agent("habilitate", OPERATOR, "--role", "operator", *DECIDED)
    await site.agent("habilitate", MACHINE, "--role", "machine", *DECIDED)
    enrolled = ("--role", "operator", "--site", "PP-CITE", "--certificate", card)
    operator = await site.agent("enrol-card", OPERATOR, *enrolled)
    machine = await site.agent("enrol-machine", MACHINE, "--site", "PP-CITE", "--certificate", machine_card)
    assert len(machine["machine_secret"]) == 40
    assert await site.trace() == [
        (Kind.AGENT_ADDED, OFFICER, None),
        (Kind.AGENT_ENROLLED, OFFICER, "totp"),
        (Kind.AGENT_ADDED, OPERATOR, None),
        (Kind.AGENT_ADDED, MACHINE, None),
        (Kind.AGENT_ENROLLED, OPERATOR, "card"),
        (Kind.AGENT_ENROLLED, MACHINE, "certificate"),
    ]

    site.node.spawn()
    https = site.node.first_line()["https"]
    again = await site.agent("enrol-totp", OFFICER, "--role", "officer")  # beside the node, by its own socket
    code = pyotp.TOTP(again["totp_secret"]).now()
    assert again["totp_secret"] != officer["totp_secret"]
    assert await site.logs_in(https, {"id": OFFICER, "password": officer["password"], "totp": code}) == 200
    by_card = {"id": OPERATOR, "password": operator["password"]}
    assert await site.logs_in(https, by_card) == 401
    assert await site.logs_in(https, by_card, card) == 200
    lost, by_card = (
        by_card,
        by_card | {"password": (await site.agent("enrol-card", OPERATOR, *enrolled, "--new-password"))["password"]},
    )
    assert await site.logs_in(https, lost, card) == 401
    assert await site.logs_in(https, by_card, card) == 200
    assert await site.logs_in(https, {"id": MACHINE, "password": machine["machine_secret"]}, machine_card) == 200
    assert site.node.end() == 0

    await site.agent("end", OPERATOR, "--reason", "départ", "--reference", "PP-18")
    assert (await site.trace())[-1] == (Kind.AGENT_ENDED, OPERATOR, None)
    site.node.spawn()
    assert await site.logs_in(site.node.first_line()["https"], by_card, card) == 403  # who it is, but not who may
    assert site.node.end() == 0
    assert site.verified() in {0, 6}


async def test_what_cannot_be_is_refused_and_leaves_no_account(site: Site) -> None:
    # C08: no operator without a card; C09: a card is one person's
    for name in (OPERATOR, "pp-0002"):
        await site.agent("add", name, "--administration", "PP", "--service", "DOPC", *DECIDED)
    told = len(await site.trace())
    assert "ne s'ouvre pas" in await site.agent("enrol-totp", OPERATOR, "--role", "operator", code=1)
    assert "n'a pas été désigné" in await site.agent(
        "enrol-card", "pp-0003", "--role", "operator", "--certificate", site.card("pp-0003"), code=1
    )
    assert "pp-0003" in await site.agent("end", "pp-0003", "--reason", "départ", "--reference", "PP-18", code=1)
    unreadable = ("--role", "operator", "--certificate", str(site.config))
    assert "n'est pas lisible" in await site.agent("enrol-card", OPERATOR, *unreadable, code=1)
    assert len(await site.trace()) == told
    certificate = ("--role", "operator", "--certificate", site.card(OPERATOR))
    await site.agent("enrol-card", OPERATOR, *certificate)
    told = len(await site.trace())
    for name in (OPERATOR, "pp-0002"):
        assert "déjà attribué" in await site.agent("enrol-card", name, *certificate, code=1)
    assert len(await site.trace()) == told
    another = ("--role", "operator", "--certificate", site.card("pp-0002"))
    assert (await site.agent("enrol-card", "pp-0002", *another))["password"], "the account was not made without one"
