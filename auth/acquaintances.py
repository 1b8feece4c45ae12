"""Who has come in as which account, whence, by which certificate: known to every node, and in its next life (S03)."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import delete

from auth.records import SessionMaker, transaction
from auth.tables import AcquaintanceRow
from camera_registry.clock import Clock

KEPT = timedelta(days=90)
"""Since it last came in; then it is a stranger again."""


class Acquaintances:
    """The acquaintances in SQL, each by a hash; RecordsUnavailableError while the database does not answer."""

    def __init__(self, sessions: SessionMaker, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def includes(self, acquaintance: str) -> bool:
        """Whether it has come in, not too long ago."""
        async with transaction(self._sessions) as session:
            row = await session.get(AcquaintanceRow, _hashed(acquaintance))
            return row is not None and row.seen_at > self._clock.now() - KEPT

    async def add(self, acquaintance: str) -> None:
        """Note that it has come in now; who has not for too long is forgotten."""
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await session.execute(delete(AcquaintanceRow).where(AcquaintanceRow.seen_at <= now - KEPT))
            await session.merge(AcquaintanceRow(acquaintance_sha256=_hashed(acquaintance), seen_at=now))


def _hashed(acquaintance: str) -> str:
    return hashlib.sha256(acquaintance.encode()).hexdigest()
