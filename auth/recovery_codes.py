"""Recovery codes: what stands in for a lost one-time-code device, once each (S04)."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable

from sqlalchemy import delete, func, select, update

from auth.credential_tables import RecoveryCodeRow
from auth.records import SessionMaker, transaction
from auth.sealing import RandomBytes, Sealing
from camera_registry.clock import Clock

CODES = 10
"""Codes of one set; a new set replaces all that is left of the one before."""

_CODE_BYTES = 10
"""80 bits in base32, 16 characters: no throttle is needed to keep them from being guessed."""

_CODE = re.compile(r"[A-Z2-7]{16}", re.ASCII)


class RecoveryCodes:
    """Issues and takes codes; kept as keyed hashes, shown once."""

    def __init__(self, sessions: SessionMaker, sealing: Sealing, clock: Clock, *, random_bytes: RandomBytes) -> None:
        self._sessions = sessions
        self._sealing = sealing
        self._clock = clock
        self._random_bytes = random_bytes

    async def issue(self, account_id: str, traced: Callable[[], Awaitable[object]]) -> list[str]:
        """Draw a new set and return it; those before count no more. ``traced`` writes its entry, within the change.

        Raises:
            RecordsUnavailableError: the records cannot be written; also where there is no such account.
        """
        codes = [base64.b32encode(self._random_bytes(_CODE_BYTES)).decode() for _ in range(CODES)]
        now = self._clock.now()
        async with transaction(self._sessions) as session:
            await session.execute(delete(RecoveryCodeRow).where(RecoveryCodeRow.account_id == account_id))
            session.add_all(
                RecoveryCodeRow(
                    account_id=account_id, code_hmac=self._sealing.code_hmac(code, owner=account_id), issued_at=now
                )
                for code in codes
            )
            await session.flush()
            await traced()
        return codes

    async def use(self, account_id: str, code: str) -> bool:
        """Take a code, for good; of two who bring the same one, one wins."""
        unused = (
            RecoveryCodeRow.account_id == account_id,
            RecoveryCodeRow.code_hmac == self._sealing.code_hmac(code, owner=account_id),
            RecoveryCodeRow.used_at.is_(None),
        )
        take = update(RecoveryCodeRow).where(*unused).values(used_at=self._clock.now())
        async with transaction(self._sessions) as session:
            return await session.scalar(take.returning(RecoveryCodeRow.code_hmac)) is not None

    async def left(self, account_id: str) -> int:
        """How many codes the account has left."""
        left = select(func.count()).where(RecoveryCodeRow.account_id == account_id, RecoveryCodeRow.used_at.is_(None))
        async with transaction(self._sessions) as session:
            return await session.scalar(left) or 0


def is_recovery_code(text: str) -> bool:
    """Whether this has the form of a recovery code, and so is no one-time code of six digits."""
    return _CODE.fullmatch(text) is not None
