"""A mailbox read by IMAP over TLS, from a server that knows the few commands that are wanted (N06)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ops.errors import ReturnsUnavailable
from ops.notices.mailboxes import ImapMailbox
from ops.notices.smtp import Login
from tests.sending.stage import server_context

MAILS = {"7": b"From: a@pp.example\r\n\r\nun\r\n", "9": b"From: b@pp.example\r\n\r\ndeux\r\n"}


@dataclass
class ImapServer:
    seen: set[str] = field(default_factory=set)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        while line := await reader.readline():
            tag, _, command = line.decode().strip().partition(" ")
            untagged, status = self._answer(command)
            writer.write(untagged + f"{tag} {status} done\r\n".encode())
            if command == "LOGOUT":
                break
        writer.close()

    def _answer(self, command: str) -> tuple[bytes, str]:
        words = command.split()
        match words[:2]:
            case ["CAPABILITY"]:
                return b"* CAPABILITY IMAP4rev1\r\n", "OK"
            case ["LOGIN", _]:
                good = words[2] == '"mot de passe"' or command.endswith('"mot de passe"')
                return b"", "OK" if good else "NO wrong mot de passe"
            case ["SELECT", '"INBOX"']:
                return b"* 2 EXISTS\r\n", "OK"
            case ["UID", "SEARCH"]:
                return f"* SEARCH {' '.join(sorted(MAILS.keys() - self.seen))}\r\n".encode(), "OK"
            case ["UID", "FETCH"]:
                mail = MAILS[words[2]]
                return f"* 1 FETCH (UID {words[2]} BODY[]<0> {{{len(mail)}}}\r\n".encode() + mail + b")\r\n", "OK"
            case ["UID", "STORE"]:
                self.seen.add(words[2])
                return b"", "OK"
            case ["LOGOUT"]:
                return b"* BYE\r\n", "OK"
        return b"", "BAD"


@asynccontextmanager
async def imap_server(tls: ssl.SSLContext) -> AsyncIterator[ImapServer]:
    said = ImapServer()
    server = await asyncio.start_server(said.serve, "127.0.0.1", 0, ssl=tls)
    said.port = server.sockets[0].getsockname()[1]
    async with server:
        yield said


async def test_mails_are_read_unseen_and_put_away_as_seen(tmp_path: Path) -> None:
    server_tls, client_tls = server_context(tmp_path)
    async with imap_server(server_tls) as server:
        mailbox = ImapMailbox("127.0.0.1", server.port, Login("dpp", "mot de passe"), client_tls)
        assert await asyncio.to_thread(mailbox.waiting) == [("7", MAILS["7"]), ("9", MAILS["9"])]
        assert server.seen == set()
        await asyncio.to_thread(mailbox.put_away, "7")
        assert await asyncio.to_thread(mailbox.waiting) == [("9", MAILS["9"])]


async def test_what_goes_wrong_is_said_without_the_password(tmp_path: Path) -> None:
    server_tls, client_tls = server_context(tmp_path)
    _, stranger = server_context(tmp_path / "other")
    async with imap_server(server_tls) as server:
        for login, tls in ((Login("dpp", "faux"), client_tls), (Login("dpp", "mot de passe"), stranger)):
            mailbox = ImapMailbox("127.0.0.1", server.port, login, tls)
            with pytest.raises(ReturnsUnavailable) as refused:
                await asyncio.to_thread(mailbox.waiting)
            assert login.password not in str(refused.value)
