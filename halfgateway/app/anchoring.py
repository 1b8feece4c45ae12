"""What anchors the trace as the configuration in force has it, and what a person at the machine does to its key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from auth.errors import NoteError
from auth.trace import Draft, Journal
from auth.trace import TraceUnavailable as JournalUnavailable
from auth.trace.anchors import AnchorStore
from auth.trace.timestamp import read_authorities, read_revocations
from auth.trace.witness import Cosigner
from camera_registry.clock import Clock
from halfgateway.api.trace_shapes import KeyRotation
from halfgateway.app.tls import Stamp, stamp_of
from halfgateway.control.anchoring import Anchoring, AnchorTerms
from halfgateway.control.heads import SharedHeads
from halfgateway.control.tracing import Tracer
from halfgateway.errors import InvalidRequest, TraceUnavailable
from halfgateway.folder import DataFolder
from halfgateway.keys import NodeKeys
from halfgateway.net.timestamping import ask_authority
from halfgateway.sections import TraceSection

log = logging.getLogger(__name__)


class AnchorTermsInForce:
    """Reads ``[trace]`` whenever it, or the file of revocation lists, has changed.

    With authorities or lists that cannot be read, no token is believed.
    """

    def __init__(self, current: Callable[[], TraceSection]) -> None:
        self._current = current
        self._read: tuple[TraceSection, Stamp | None] | None = None
        self._terms = AnchorTerms()

    def read(self) -> AnchorTerms:
        """Return the terms in force. Blocking for as long as a file of certificates or of lists takes to be read."""
        section = self._current()
        lists = section.timestamp_revoked
        read = section, stamp_of(lists) if lists is not None else None
        if read != self._read:
            self._terms, self._read = anchor_terms(section), read
        return self._terms


def anchor_terms(section: TraceSection) -> AnchorTerms:
    """Return the terms of a section of the configuration."""
    certificates, lists = section.timestamp_ca, section.timestamp_revoked
    try:
        authorities = read_authorities(certificates.read_bytes()) if certificates is not None else []
        revocations = read_revocations(lists.read_bytes(), authorities) if lists is not None else []
    except (OSError, NoteError) as error:
        log.error("trace.authorities_unread files=%s,%s error=%s", certificates, lists, error)
        authorities, revocations = [], []
    return AnchorTerms(
        timestamp_urls=section.timestamp_urls,
        authorities=tuple(authorities),
        revocations=tuple(revocations),
        timestamp_every_s=section.timestamp_every_s,
        cosigners=tuple(Cosigner.parse(vkey) for vkey in section.cosigners),
    )


@dataclass(frozen=True, slots=True)
class TraceCustody:
    """Fills :class:`~halfgateway.api.ports.TraceCustody` for this node's journal."""

    journal: Journal
    keys: NodeKeys

    async def rotate_key(self, draft: Draft) -> KeyRotation:
        """See the port."""
        if self.keys.token is not None:
            raise InvalidRequest(
                "La clé du journal est dans un jeton PKCS#11 : arrêtez le nœud, nommez la nouvelle clé dans"
                " [trace.pkcs11] et lancez « halfgateway trace rotate-key --from-label ANCIENNE »."
            )
        try:
            return await rotate_to_new_file(self.journal, self.keys, draft)
        except (JournalUnavailable, OSError) as error:
            raise TraceUnavailable("La clé du journal n'a pas pu être changée.") from error

    async def disclose(self, draft: Draft) -> int:
        """See the port."""
        try:
            await self.journal.record(draft)
            head = await self.journal.write_checkpoint()
        except JournalUnavailable as error:
            raise TraceUnavailable("La lecture ne peut être tracée ; elle n'a donc pas lieu.") from error
        return head.size if head is not None else 0


@dataclass(frozen=True, slots=True)
class Outside:
    """What ties a running node's journal to the world outside it."""

    anchoring: Anchoring
    custody: TraceCustody


async def open_anchoring(
    journal: Journal,
    keys: NodeKeys,
    folder: DataFolder,
    heads: SharedHeads,
    current: Callable[[], TraceSection],
    tracer: Tracer,
    clock: Clock,
) -> Outside:
    """Put it together, and remember the journal's head before anything is served.

    Raises TraceBehind where the nodes know a head that the journal does not extend (T12).
    """
    anchoring = Anchoring(
        journal=journal,
        store=AnchorStore(folder.trace),
        heads=heads,
        head_file=folder.head,
        terms=AnchorTermsInForce(current).read,
        record=tracer.durable,
        ask=ask_authority,
        clock=clock,
    )
    await anchoring.remember_now()
    return Outside(anchoring, TraceCustody(journal, keys))


async def rotate_to_new_file(journal: Journal, keys: NodeKeys, draft: Draft) -> KeyRotation:
    """Hand the log over to a new key in a file, which then takes the place of the old one.

    Raises TraceUnavailable of the journal, OSError: then the next start finds out which of the two signs.
    """
    key = await asyncio.to_thread(keys.next_trace_file)
    entry = await journal.hand_over_to(key, draft)
    await asyncio.to_thread(keys.adopt_next)
    return KeyRotation(node=journal.node, n=entry.n, old=entry.detail["old"], new=entry.detail["new"])
