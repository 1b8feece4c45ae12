"""The trace's ports, each within a test's reach: the history, the purge, the anchors, the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from auth.principals import Principal
from auth.trace import Draft, Entry, Kind
from auth.trace.retention import RetentionClass
from halfgateway.api.ports import Page, TraceFilter
from halfgateway.api.shapes import Checkpoint, Proof
from halfgateway.api.trace_shapes import Consistency, Cosignature, KeyRotation
from halfgateway.dossiers.elimination import Elimination
from halfgateway.dossiers.tables import TableFormat

NOW = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)


@dataclass
class FakeHistory:
    """One entry, one head, one proof."""

    wanted: list[TraceFilter] = field(default_factory=list)

    async def entries(self, viewer: Principal, wanted: TraceFilter, *, limit: int, cursor: str | None) -> Page[Entry]:
        self.wanted.append(wanted)
        entry = Entry(kind=Kind.STREAM_REFUSED, refusal="cap-reached", node="node-1", n=412, at=NOW)
        return Page([entry], "older")

    async def checkpoints(self, viewer: Principal) -> Sequence[Checkpoint]:
        return [Checkpoint(node="node-1", size=413, root="cm9vdA==", note="origin\n413\nroot\n\n— name sig\n")]

    async def proof(self, viewer: Principal, *, node: str, n: int, size: int | None) -> Proof | None:
        if node != "node-1" or n >= (size or 413):
            return None
        return Proof(node=node, n=n, size=size or 413, leaf="bGVhZg==", path=("aGFzaA==",))

    async def consistency(self, viewer: Principal, *, node: str, first: int, second: int) -> Consistency | None:
        if node != "node-1" or not first <= second <= 413:
            return None
        return Consistency(node=node, first=first, second=second, path=("aGFzaA==",))

    async def extract(self, viewer: Principal, wanted: TraceFilter, form: TableFormat, *, asked: str) -> bytes:
        self.wanted.append(wanted)
        return f"{form} {asked}".encode()


@dataclass
class FakePurges:
    """Nothing is old enough."""

    async def purge(
        self, draft: Draft, wanted: RetentionClass, *, older_than_days: int, visa: str
    ) -> Elimination | None:
        return None


@dataclass
class FakeAnchors:
    """Takes every cosignature; keeps what was brought."""

    brought: list[tuple[str, Draft]] = field(default_factory=list)

    async def cosign(self, note: str, draft: Draft) -> Cosignature:
        self.brought.append((note, draft))
        return Cosignature(node="node-1", size=5, cosigner="pp.example", at=1_790_000_000)

    async def statement(self) -> str:
        return "JOURNAL DES ACCÈS\n"


@dataclass
class FakeTraceCustody:
    """Keeps what was asked."""

    drafts: list[Draft] = field(default_factory=list)

    async def rotate_key(self, draft: Draft) -> KeyRotation:
        self.drafts.append(draft)
        return KeyRotation(node="node-1", n=7, old="old", new="new")

    async def disclose(self, draft: Draft) -> int:
        self.drafts.append(draft)
        return 8
