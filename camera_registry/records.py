"""The edge towards SQL, and the count of changes to who may see what.

Several nodes share the records, and each holds a view of them in memory: :func:`revision` is the one cheap question
that tells it whether to read them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from camera_registry.errors import StoreUnavailable
from camera_registry.sql import TRANSACTION_LIMIT_S
from camera_registry.tables import RevisionRow

SessionMaker = async_sessionmaker[AsyncSession]

Witness: TypeAlias = Callable[[], Awaitable[object]]
"""Makes the trace's entry of a change durable; awaited last within its transaction, so that nothing takes effect that
is not traced, and nothing is traced that the records have refused."""


@asynccontextmanager
async def transaction(sessions: SessionMaker) -> AsyncIterator[AsyncSession]:
    """Open one transaction; commit at the end, roll back on any error. Raises StoreUnavailable."""
    try:
        async with asyncio.timeout(TRANSACTION_LIMIT_S), sessions.begin() as session:
            yield session
    except (SQLAlchemyError, OSError) as error:
        raise StoreUnavailable("the records cannot be reached") from error


async def revision(session: AsyncSession) -> int:
    """How often who may see what has changed, as of this transaction."""
    number = await session.scalar(select(RevisionRow.number))
    return number or 0


async def count_change(session: AsyncSession) -> None:
    """Note that this transaction changes who may see what; begin it with this: changes then wait for one another."""
    await session.execute(update(RevisionRow).values(number=RevisionRow.number + 1))


async def settle(session: AsyncSession, witness: Witness) -> None:
    """Have the database take every statement of a change, then the trace its entry; what is left is the commit."""
    await session.flush()
    await witness()
