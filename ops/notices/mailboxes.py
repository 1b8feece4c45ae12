"""Where what comes back lies: a maildir on this machine, or a mailbox read by IMAP (RFC 9051) over verified TLS.

See :class:`~ops.notices.returns.Mailbox`. Both block: an event loop calls them in a thread.
"""

from __future__ import annotations

import imaplib
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ops.appended import sync_folder
from ops.errors import ReturnsUnavailable
from ops.notices.reports import MAX_MAIL_BYTES
from ops.notices.smtp import Login, Security

MAX_AT_ONCE: Final = 20
"""Mails that are read in one go; the rest waits for the next, a second later."""

IMAP_LIMIT_S: Final = 20.0
"""Seconds for a connection, and for each answer."""


@dataclass(frozen=True, slots=True)
class Maildir:
    """A maildir that the machine's own mail server delivers to; what is put away is moved from ``new`` to ``cur``."""

    folder: Path

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        """See :class:`~ops.notices.returns.Mailbox`."""
        try:
            with os.scandir(self.folder / "new") as entries:
                names = sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            return [(name, _beginning(self.folder / "new" / name)) for name in names[:MAX_AT_ONCE]]
        except OSError as error:
            raise ReturnsUnavailable(f"{self.folder}: {error.strerror}") from error

    def put_away(self, key: str) -> None:
        """See :class:`~ops.notices.returns.Mailbox`."""
        try:
            (self.folder / "cur").mkdir(mode=0o700, exist_ok=True)
            (self.folder / "new" / key).replace(self.folder / "cur" / f"{key}:2,S")
            sync_folder(self.folder / "cur", os.fsync)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ReturnsUnavailable(f"{self.folder}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class ImapMailbox:
    """A mailbox of a server; what is put away is marked as seen. ``tls`` verifies the peer; None is this machine's."""

    host: str
    port: int
    login: Login
    tls: ssl.SSLContext | None
    security: Security = "tls"
    folder: str = "INBOX"

    def waiting(self) -> Sequence[tuple[str, bytes]]:
        """See :class:`~ops.notices.returns.Mailbox`."""
        with self._opened() as server:
            _, found = server.uid("SEARCH", "UNSEEN")
            uids = found[0].split()[:MAX_AT_ONCE] if found and found[0] else []
            return [(uid.decode("ascii"), self._mail(server, uid)) for uid in uids]

    def put_away(self, key: str) -> None:
        """See :class:`~ops.notices.returns.Mailbox`."""
        with self._opened() as server:
            _taken(server.uid("STORE", key, "+FLAGS.SILENT", r"(\Seen)"))

    def _mail(self, server: imaplib.IMAP4, uid: bytes) -> bytes:
        """The mail's beginning, still unseen. One that another reader has taken away meanwhile is empty."""
        parts = _taken(server.uid("FETCH", uid.decode("ascii"), f"(BODY.PEEK[]<0.{MAX_MAIL_BYTES}>)"))
        return next((bytes(part[1]) for part in parts if isinstance(part, tuple)), b"")

    @contextmanager
    def _opened(self) -> Iterator[imaplib.IMAP4]:
        try:
            with self._connected() as server:
                if self.security == "starttls":
                    server.starttls(self.tls)
                server.login(self.login.username, self.login.password)
                _taken(server.select(f'"{self.folder}"'))
                yield server
        except (imaplib.IMAP4.error, OSError, EOFError, ValueError) as error:
            text = str(error).replace(self.login.password, "***")
            raise ReturnsUnavailable(f"{self.host}: {text or type(error).__name__}") from error

    def _connected(self) -> imaplib.IMAP4:
        if self.security == "tls":
            return imaplib.IMAP4_SSL(self.host, self.port, ssl_context=self.tls, timeout=IMAP_LIMIT_S)
        return imaplib.IMAP4(self.host, self.port, timeout=IMAP_LIMIT_S)


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MAIL_BYTES)
    except FileNotFoundError:  # another reader has put it away meanwhile
        return b""


def _taken(answer: tuple[str, Sequence[object]]) -> Sequence[object]:
    """What a server answered to a command that it has carried out. Raises IMAP4.error."""
    status, parts = answer
    if status != "OK":
        raise imaplib.IMAP4.error(f"the server answered {status}")
    return parts
