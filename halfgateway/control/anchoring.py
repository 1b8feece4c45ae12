"""The trace anchored outside: time-stamp tokens, cosignatures, texts for notices (T04); and its head remembered (T12).

Nothing here holds a stream up. An authority that is dead or lies is an alarm in the metrics and the log, and the trace
is the less anchored for it; the entries are written as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, Protocol

from cryptography.x509 import Certificate, CertificateRevocationList

from auth.errors import NoteError
from auth.trace import Draft, Entry, Journal, Kind, SignedCheckpoint
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.anchors import AnchorStore, remember_head
from auth.trace.checkpoint import KeyChain, SignedNote, parse_note
from auth.trace.continuity import TraceBehind, find_gap
from auth.trace.dossier import Cosigned
from auth.trace.layout import origin
from auth.trace.notes import key_name, read_keys
from auth.trace.statement import daily_statement, described, incident_statement
from auth.trace.timestamp import Timestamp
from auth.trace.witness import Cosigner
from camera_registry.clock import Clock
from halfgateway.control.heads import SharedHeads
from halfgateway.errors import InvalidRequest, StateStoreUnavailable, TraceUnavailable
from halfgateway.net.timestamping import TimestampError

log = logging.getLogger(__name__)

REMEMBER_S = 5.0
"""Between two looks at whether the head has moved: what a restored copy may lack without anybody else knowing it."""

RETRY_S = 60.0
"""Before an authority that failed is asked again, where the period is longer: it may be alarmed about meanwhile."""

CLOCK_TOLERANCE_S = 300
"""How far ahead of ours a cosigner's clock may be; further, the date that it signed proves nothing."""


class Occasion(StrEnum):
    """Why a token is asked for; it is in the entry."""

    PERIOD = "period"
    NOTICE = "notice"


class AskAuthority(Protocol):
    """Has bytes stamped by an authority (:func:`halfgateway.net.timestamping.ask_authority`)."""

    async def __call__(
        self,
        url: str,
        content: bytes,
        authorities: Sequence[Certificate],
        revocations: Sequence[CertificateRevocationList],
    ) -> tuple[bytes, Timestamp]: ...


@dataclass(frozen=True, slots=True)
class AnchorTerms:
    """Who anchors: authorities' addresses, certificates and lists, seconds between tokens, cosigners' keys."""

    timestamp_urls: tuple[str, ...] = ()
    authorities: tuple[Certificate, ...] = ()
    revocations: tuple[CertificateRevocationList, ...] = ()
    timestamp_every_s: float = 3600.0
    cosigners: tuple[Cosigner, ...] = ()


class Anchoring:
    """Anchors one node's journal. ``head_file`` lies outside the journal's folder; ``record`` makes an entry durable.

    ``failing`` is how many authorities gave no good token when they were last asked, ``anchored`` the size of the
    largest tree that somebody else has vouched for since the start.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        store: AnchorStore,
        heads: SharedHeads,
        head_file: Path,
        terms: Callable[[], AnchorTerms],
        record: Callable[[Draft], Awaitable[Entry]],
        ask: AskAuthority,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._store = store
        self._heads = heads
        self._head_file = head_file
        self._terms = terms
        self._record = record
        self._ask = ask
        self._clock = clock
        self._remembered: str | None = None
        self._shared: str | None = None
        self.failing = 0
        self.anchored = 0

    async def head(self) -> SignedCheckpoint:
        """Sign the tree as it stands; return its head. Raises TraceUnavailable."""
        try:
            await self._journal.write_checkpoint()
            page = await self._journal.reader().checkpoints(limit=1)
        except JournalUnavailable as error:
            raise TraceUnavailable("Le point de contrôle du journal ne peut être signé.") from error
        return page.items[0]

    async def stamp(self, occasion: Occasion) -> SignedCheckpoint:
        """Have every authority stamp the head, and return it: stamped by those that answered as they should.

        Raises TraceUnavailable.
        """
        head = await self.head()
        terms, failing = self._terms(), 0
        for url in terms.timestamp_urls:
            try:
                token, stamp = await self._ask(url, head.note.encode(), terms.authorities, terms.revocations)
                await self._keep(parse_note(head.note.encode()), url, token)
            except (TimestampError, OSError) as error:
                failing += 1
                log.error("trace.not_stamped authority=%s error=%s", url, error)
                continue
            await self._tell(head, {"by": "timestamp", "authority": stamp.authority, "at": stamp.at}, occasion)
        self.failing = failing
        return head

    async def accept(self, note: str, draft: Draft) -> Cosigned:
        """Take a cosignature over one of this log's heads; ``draft`` names who brought it (:class:`Kind` is set here).

        Raises InvalidRequest, TraceUnavailable.
        """
        try:
            parsed = parse_note(note.encode())
            keys = await asyncio.to_thread(read_keys, self._journal.folder / key_name(self._journal.node))
            head = KeyChain(origin(self._journal.node), keys).open_any(parsed)
            if head.root != await self._journal.reader().root(head.size):
                raise InvalidRequest("note : ce journal n'a pas cet arbre")
            cosigner, at = self._cosigner_of(parsed)
        except NoteError as error:
            raise InvalidRequest(f"note : {error}") from error
        except ValueError as error:
            raise InvalidRequest("note : ce journal n'a pas autant d'entrées") from error
        except JournalUnavailable as error:
            raise TraceUnavailable("Le journal ne peut être lu.") from error
        kept = [line for line in parsed.signatures if line.name in {head.origin, cosigner.name}]
        try:
            await self._keep(SignedNote(parsed.text, tuple(kept)), cosigner.name, None)
        except OSError as error:
            raise TraceUnavailable("La cosignature ne peut être conservée.") from error
        told = {"by": "cosignature", "cosigner": cosigner.name, "at": at, "size": head.size}
        await self._record(_anchored(draft, told))
        self.anchored = max(self.anchored, head.size)
        return Cosigned(cosigner.name, head.size, at)

    async def incident_text(self, incident: str) -> str:
        """Stamp the head, and return the text for a notice of an incident. Raises TraceUnavailable."""
        heads, missing = await self._every_head(await self.stamp(Occasion.NOTICE))
        return incident_statement(incident, heads, self._clock.now(), missing=missing)

    async def daily_text(self) -> str:
        """Return the text of the daily mail. Raises TraceUnavailable."""
        heads, missing = await self._every_head(await self.head())
        return daily_statement(heads, self._clock.now(), missing=missing)

    async def left(self, heads: Sequence[SignedCheckpoint], *, message_id: str, recipients: int) -> None:
        """Trace that heads have left the house, in a mail that was handed over. Raises TraceUnavailable."""
        told = {"by": "mail", "message_id": message_id, "recipients": recipients, "heads": described(heads)}
        await self._record(Draft(kind=Kind.TRACE_ANCHORED, detail=told))

    async def run(self) -> NoReturn:
        """Ask for tokens, period after period, until cancelled."""
        while True:
            terms = self._terms()
            if terms.timestamp_urls:
                try:
                    await self.stamp(Occasion.PERIOD)
                except TraceUnavailable as error:
                    log.warning("trace.not_anchored error=%s", error)
            wait_s = terms.timestamp_every_s
            await asyncio.sleep(min(wait_s, RETRY_S) if self.failing else wait_s)

    async def remember(self) -> NoReturn:
        """Keep the head outside the journal as it moves, until cancelled.

        Raises TraceBehind where the other nodes know a head of this node that its journal does not extend.
        """
        while True:
            await self.remember_now()
            await asyncio.sleep(REMEMBER_S)

    async def remember_now(self) -> None:
        """Keep the head as it is. Raises TraceBehind."""
        try:
            page = await self._journal.reader().checkpoints(limit=1)
        except JournalUnavailable as error:
            log.warning("trace.head_unread error=%s", error)
            return
        head = page.items[0]
        try:
            if head.note != self._remembered:
                await asyncio.to_thread(remember_head, self._head_file, head.note)
                self._remembered = head.note
            if head.note != self._shared:
                await self._share(head)
        except (OSError, StateStoreUnavailable) as error:
            log.warning("trace.head_not_kept error=%s", error)

    async def _share(self, head: SignedCheckpoint) -> None:
        if self._shared is None:
            known = await self._heads.of(head.node)
            if known is not None:
                gap = await asyncio.to_thread(find_gap, self._journal.folder, head.node, [known])
                if gap is not None:
                    raise TraceBehind(gap)
        await self._heads.publish(head)
        self._shared = head.note

    def _cosigner_of(self, note: SignedNote) -> tuple[Cosigner, int]:
        for cosigner in self._terms().cosigners:
            at = cosigner.cosigned_at(note)
            if at is None:
                continue
            if at > self._clock.now().timestamp() + CLOCK_TOLERANCE_S:
                raise InvalidRequest("note : la cosignature est datée de l'avenir")
            return cosigner, at
        raise InvalidRequest("note : aucun cosignataire déclaré ([trace] cosigners) ne l'a signée")

    async def _every_head(self, own: SignedCheckpoint) -> tuple[list[SignedCheckpoint], list[str]]:
        """Return this node's head and the others' as they share them; or that they cannot be had."""
        try:
            others = await self._heads.all()
        except StateStoreUnavailable:
            return [own], ["(les autres)"]
        return [own, *(head for node, head in sorted(others.items()) if node != own.node)], []

    async def _keep(self, note: SignedNote, witness: str, token: bytes | None) -> None:
        await asyncio.to_thread(self._store.keep, note, witness, token)

    async def _tell(self, head: SignedCheckpoint, told: dict[str, object], occasion: Occasion) -> None:
        size = head.checkpoint.size
        detail = {**told, "size": size, "occasion": occasion.value}
        await self._record(Draft(kind=Kind.TRACE_ANCHORED, detail=detail))
        self.anchored = max(self.anchored, size)


def _anchored(draft: Draft, told: dict[str, object]) -> Draft:
    return Draft(kind=Kind.TRACE_ANCHORED, account=draft.account, agent=draft.agent, source=draft.source, detail=told)
