"""Tickets: the right to watch one stream, carried by a name and a password that any node can check from memory.

The password is computed from the name and a key that the nodes share, so that a wrong one is refused before any
question to the store. What the ticket grants lies in the store, without anything secret.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from camera_registry.clock import rfc3339
from halfgateway.control.store import RETRY_AFTER_S, StateStore
from halfgateway.errors import StateStoreUnavailable

MIN_KEY_BYTES = 32
"""Bytes of the shared key: HMAC-SHA256 is as strong as its key up to its digest's length (RFC 2104 section 3)."""

ID_BYTES = 16
"""Random bytes of a ticket's name: 128 bits cannot be guessed, nor can two tickets meet."""

_USERNAME = re.compile(r"t-[A-Za-z0-9_-]{22}")
_INSTANTS = ("start", "end", "created_at", "play_before")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a player is given: the ticket's id is its RTSP user name."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One stream granted to one holder. Instants are aware; ``start`` and ``end`` bound a recorded stream.

    ``id`` is the RTSP user name, ``stream`` the id of the stream and of its slot. ``agent`` is opaque (C17).
    """

    id: str
    stream: str
    camera: str
    profile: str | None
    mode: str
    start: datetime | None
    end: datetime | None
    account: str
    role: str
    agent: str | None
    service: str | None
    site: str | None
    attribution: str
    reason: str
    reference: str | None
    created_at: datetime
    play_before: datetime
    assertion_key: str | None = None
    certificate: str | None = None

    def to_json(self) -> str:
        """Write the ticket for the store."""
        fields = {
            name: rfc3339(value) if isinstance(value, datetime) else value
            for name, value in dataclasses.asdict(self).items()
        }
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Ticket:
        """Read what :meth:`to_json` wrote. Raises ValueError or TypeError for anything else."""
        fields: dict[str, Any] = json.loads(text)
        for name in _INSTANTS:
            if fields.get(name) is not None:
                fields[name] = datetime.fromisoformat(fields[name])
        return cls(**fields)


class TicketKey:
    """The key that all nodes of a convention share, used for nothing else.

    Raises ValueError for one that is shorter than ``MIN_KEY_BYTES``.
    """

    def __init__(self, key: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        if len(key) < MIN_KEY_BYTES:
            raise ValueError(f"a ticket key has at least {MIN_KEY_BYTES} bytes")
        self._key = key
        self._random_bytes = random_bytes

    def issue(self) -> Credentials:
        """Return the credentials of a new ticket: letters, digits, ``-`` and ``_`` only."""
        username = "t-" + _letters(self._random_bytes(ID_BYTES))
        return Credentials(username, self._password(username))

    def password_for(self, username: str) -> str | None:
        """Return the password that goes with a ticket's name, None for a name that no ticket has."""
        return self._password(username) if _USERNAME.fullmatch(username) else None

    def _password(self, username: str) -> str:
        return _letters(hmac.new(self._key, username.encode("ascii"), hashlib.sha256).digest())


class TicketStore:
    """The tickets of one convention, seen by all its nodes. Each method raises StateStoreUnavailable."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def put(self, ticket: Ticket, life_s: float) -> None:
        """Make a ticket good for ``life_s`` (> 0) seconds from now; good again, if the store was emptied."""
        async with self._store.limited():
            await self._store.client.set(self._key(ticket.id), ticket.to_json(), px=_milliseconds(life_s))

    async def get(self, ticket_id: str) -> Ticket | None:
        """Return a ticket that is still good; None too for a name that no ticket has, without asking the store."""
        if not _USERNAME.fullmatch(ticket_id):
            return None
        async with self._store.limited():
            raw = await self._store.client.get(self._key(ticket_id))
        if raw is None:
            return None
        try:
            return Ticket.from_json(raw)
        except (ValueError, TypeError, AttributeError) as error:
            raise StateStoreUnavailable("Ce titre d'accès est illisible.", retry_after_s=RETRY_AFTER_S) from error

    async def keep(self, ticket_id: str, life_s: float) -> bool:
        """Let a ticket last ``life_s`` seconds from now; False if it has ended: its stream's node may ``put`` it."""
        async with self._store.limited():
            return bool(await self._store.client.pexpire(self._key(ticket_id), _milliseconds(life_s)))

    async def end(self, ticket_id: str, grace_s: float) -> None:
        """Let a ticket end in ``grace_s`` seconds, never later than it would have."""
        async with self._store.limited():
            await self._store.client.pexpire(self._key(ticket_id), _milliseconds(grace_s), lt=True)

    def _key(self, ticket_id: str) -> str:
        return self._store.key(f"ticket:{ticket_id}")


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)
