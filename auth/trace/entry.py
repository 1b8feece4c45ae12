"""What an entry holds, and its one canonical JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from auth.errors import EntryRefused, TraceDamaged
from auth.trace.canonical import MAX_BODY_BYTES, PLAIN_MEMBERS, write_body
from auth.trace.kinds import Kind
from auth.trace.layout import StampWriter, is_node_name
from camera_registry.clock import rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller wants recorded; node, number and time are stamped at the journal's one final stop.

    ``agent`` is an opaque identifier, never a name (C17); ``reason`` and ``refusal`` are codes, never free
    text (L16); ``detail`` is JSON, without personal data.
    """

    kind: Kind
    agent: str | None = None
    account: str | None = None
    attribution: str | None = None
    camera: str | None = None
    stream: str | None = None
    mode: str | None = None
    reason: str | None = None
    refusal: str | None = None
    source: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def body(self) -> bytes:
        """Encode what follows the stamp in the entry's JSON, to the closing brace.

        Raises EntryRefused when it is not JSON, or too large to be an entry.
        """
        members = {name: getattr(self, name) for name in PLAIN_MEMBERS}
        try:
            body = write_body(members, self.detail)
        except ValueError as error:
            raise EntryRefused(f"this {self.kind} entry is not JSON: {error}") from error
        if len(body) > MAX_BODY_BYTES:
            raise EntryRefused(
                f"this {self.kind} entry has {len(body)} bytes, more than the {MAX_BODY_BYTES} that one may have"
            )
        return body


_MEMBERS = ("node", "n", "at", "kind", "code", *PLAIN_MEMBERS, "detail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Draft):
    """An entry of the trace: a draft with node, number (from 0) and time (aware, UTC)."""

    node: str
    n: int
    at: datetime

    @property
    def code(self) -> int:
        """The kind's number."""
        return self.kind.code

    def to_json(self) -> dict[str, Any]:
        """Return the entry as ``docs/trace.md`` shows it."""
        return {
            "node": self.node,
            "n": self.n,
            "at": rfc3339(self.at),
            "kind": self.kind.value,
            "code": self.code,
            **{name: getattr(self, name) for name in PLAIN_MEMBERS},
            "detail": dict(self.detail),
        }

    def payload(self) -> bytes:
        """Return the canonical JSON bytes that the journal commits to.

        Members in ``docs/trace.md``'s order, all present, ``detail`` sorted by name at every depth, no
        white space, UTF-8 without needless escapes.
        """
        stamp = StampWriter(self.node).write(self.n, unix_us(self.at), self.kind.value, self.code)
        return stamp.encode() + self.body()

    @classmethod
    def from_draft(cls, draft: Draft, *, node: str, n: int, at_us: int) -> Entry:
        """Stamp a draft; ``at_us`` in Unix microseconds."""
        members = {name: getattr(draft, name) for name in PLAIN_MEMBERS}
        return cls(kind=draft.kind, detail=draft.detail, node=node, n=n, at=instant(at_us), **members)

    @classmethod
    def from_payload(cls, payload: bytes) -> Entry:
        """Read canonical JSON bytes back. Raises TraceDamaged for any other bytes: one entry, one reading."""
        try:
            members = json.loads(payload)
            if list(members) != list(_MEMBERS) or type(members["n"]) is not int or not is_node_name(members["node"]):
                raise ValueError("ses champs ne sont pas ceux d'une entrée")
            kind, code, at = Kind(members.pop("kind")), members.pop("code"), members.pop("at")
            entry = cls(kind=kind, at=datetime.fromisoformat(at), **members)
            if code != entry.code or entry.payload() != payload:
                raise ValueError("il n'est pas canonique")
        except (TypeError, ValueError, AttributeError, RecursionError, EntryRefused) as error:
            raise TraceDamaged(f"un contenu n'est pas une entrée : {error}") from error
        return entry


def unix_us(at: datetime) -> int:
    """Return an aware instant as Unix microseconds."""
    return (at - EPOCH) // _MICROSECOND


def instant(at_us: int) -> datetime:
    """Return Unix microseconds as an aware instant in UTC."""
    return EPOCH + at_us * _MICROSECOND
