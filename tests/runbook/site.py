"""SYN's site as the runbook finds it: a node, attendants, a mail server, a recorder that is away, who is on call."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from auth.accounts import AccountRepository
from auth.enrolment import Enrolment
from auth.passwords import Passwords
from auth.principals import Role
from auth.rights import Administration
from auth.sealing import Sealing
from auth.totp import code_at
from camera_registry.clock import SystemClock
from halfgateway.database import Database
from halfgateway.demo_mail import CONTACTS
from halfgateway.keys import NodeKeys
from tests.databases import databases
from tests.e2e.nodes import START_LIMIT_S, TIMINGS, Estate, Process, ServedNode, cheap_hasher, estate, toml_lines
from tests.rights import BY, designation, habilitation, register_of
from tests.runbook.warm import CLIENT, UNITS

UNPLAYED = TIMINGS | {"play_before_s": 30.0}
"""Swift, but that a ticket waits for its player: the runbook's streams are asked for and not watched."""

OPS, OFFICER = "syn-exploitation-01", "syn-rssi-01"
PEOPLE = {OPS: Role.OPS, OFFICER: Role.OFFICER}


class Postbox:
    """A mail server that takes everything."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        assert isinstance(envelope.original_content, bytes)
        self.taken.append(envelope.original_content)
        return f"250 2.0.0 Ok: queued as 4F{len(self.taken):04X}"


@dataclass
class Site:
    """What the runbook's test holds in its hands; ``folder`` is where the person stands."""

    folder: Path
    estate: Estate
    node: ServedNode
    postbox: Postbox
    environment: dict[str, str]
    passwords: dict[str, str]
    totp_secrets: dict[str, str]


def code_of(place: Site, who: str) -> str:
    """The one-time code that somebody's telephone shows now."""
    return code_at(place.totp_secrets[who], SystemClock().now())


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    """A site with nothing running but the servers that the product does not bring."""
    postbox = Postbox()
    mail = Controller(postbox, hostname="127.0.0.1", port=free_port())
    mail.start()
    try:
        with estate(folder / "estate", UNPLAYED) as house, warm(folder) as programs:
            node = house.node("noeud-1")
            document = configuration(house, node, mail.port)
            node.config.write_text("\n".join([*toml_lines(document), ""]))
            at_hand = folder / "ici"
            at_hand.mkdir()
            environment = environment_of(house, node, document, programs, folder / "tls")
            (at_hand / "liste-pp.pem").write_bytes(house.authority.revocation_list_path.read_bytes())
            place = Site(at_hand, house, node, postbox, environment, {}, {})
            asyncio.run(enrol(place))
            try:
                yield place
            finally:
                stop = [programs / "systemctl", "stop", *UNITS]
                subprocess.run(stop, env=environment, timeout=START_LIMIT_S, check=True)
    finally:
        mail.stop()


def environment_of(
    house: Estate, node: ServedNode, document: dict[str, Any], programs: Path, tls: Path
) -> dict[str, str]:
    """What the runbook's first page has a person's profile say."""
    tls.mkdir()
    authority = house.authority
    server = authority.server(datetime.now(UTC)).certificate_path
    named = (
        (server, "server.pem"),
        (authority.certificate_path, "ca.pem"),
        (authority.revocation_list_path, "revoked.pem"),
    )
    for path, name in named:
        (tls / name).symlink_to(path)
    return {
        "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin",
        "HALFGATEWAY_CONFIG": str(node.config),
        "DONNEES": str(node.folder.root),
        "TLS": str(tls),
        "AUTORITE": str(tls / "ca.pem"),
        "SANTE": f"http://127.0.0.1:{document['listen']['http_port']}",
        "API": f"https://localhost:{document['listen']['https_port']}/api/v1",
        "SERVICES": " ".join(UNITS),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
    }


async def enrol(place: Site) -> None:
    """Give SYN's people their accounts: password and one-time codes."""
    keys, clock = NodeKeys.open(place.estate.folder / "secrets"), SystemClock()
    database = Database(databases.url(place.estate.records))
    passwords = Passwords(random_bytes=secrets.token_bytes, hasher=cheap_hasher())
    try:
        sealing = Sealing(keys.master, random_bytes=secrets.token_bytes)
        accounts = AccountRepository(database.sessions, sealing, clock)
        enrolment = Enrolment(accounts, passwords, random_bytes=secrets.token_bytes)
        for who, role in PEOPLE.items():
            place.passwords[who] = secrets.token_urlsafe(12)
            await enrolment.create(who, role, place.passwords[who], agent=who, service="SYN")
            place.totp_secrets[who] = await enrolment.enrol_totp(who)
        await register_of(database, clock).designate(
            [designation(who, administration=Administration.SYN, service="SYN") for who in PEOPLE],
            [habilitation(who, role) for who, role in PEOPLE.items()],
            by=BY,
        )
    finally:
        passwords.close()
        await database.close()


def configuration(house: Estate, node: ServedNode, smtp_port: int) -> dict[str, Any]:
    """As the estate's nodes are configured, with what operations need besides."""
    document = house.configuration(node)
    document["listen"] |= {"http_port": free_port(), "https_port": free_port(), "full_api_on_http": False}
    contacts = ("party", "role", "function", "email", "phone", "level")
    password = house.folder / "recorder.password"
    password.write_text("x\n")
    return document | {
        "recorders": [
            {
                "kind": "url",
                "id": "enregistreur-nord",
                "url": "rtsp://127.0.0.1:9/{channel}/{start}",
                "username": "halfgateway",
                "password_file": str(password),
                "cameras": {house.camera_ids[0]: "1"},
            }
        ],
        "contacts": [
            {name: value for name, value in zip(contacts, each, strict=True) if value is not None}
            | {"valid_from": "2025-10-21"}
            for each in CONTACTS
        ],
        "mail": {
            "sender": "dpp@syn.example",
            "domain": "syn.example",
            "primary": {"host": "127.0.0.1", "port": smtp_port, "tls": "none-loopback-only"},
        },
        "degraded_modes": [{"name": "temps-reel-seul", "agreement": "PP-DSI-12", "live_only": True}],
        "retention": {"decision": "décision n° 2026-12"},
    }


@contextlib.contextmanager
def warm(folder: Path) -> Iterator[Path]:
    """A folder with ``halfgateway`` and ``systemctl``, served by a warm process."""
    bin_folder, where, log = folder / "bin", folder / "warm.sock", folder / "journal.log"
    bin_folder.mkdir()
    log.touch()
    server = Process(
        [sys.executable, "-m", "tests.runbook.warm", str(where), str(log)], folder / "warm.log", piped=True
    )
    server.spawn()
    for name in ("halfgateway", "systemctl"):
        (bin_folder / name).write_text(CLIENT.format(python=sys.executable, socket=str(where)))
        (bin_folder / name).chmod(0o755)
    (bin_folder / "journalctl").write_text(f'#!/bin/sh\nfor pattern; do :; done\ngrep -P -e "$pattern" {log}\n')
    (bin_folder / "journalctl").chmod(0o755)
    try:
        server.first_line()
        yield bin_folder
    finally:
        server.kill()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
