"""The edge towards SQL: a transaction whose foreign errors come out as declared ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from auth.errors import RecordsUnavailableError
from camera_registry.sql import TRANSACTION_LIMIT_S

SessionMaker = async_sessionmaker[AsyncSession]


@asynccontextmanager
async def transaction(sessions: SessionMaker) -> AsyncIterator[AsyncSession]:
    """Open one transaction; commit at the end, roll back on any error.

    Raises:
        RecordsUnavailableError: the database cannot be reached, is locked, does not answer, or refused the statement.
    """
    try:
        async with asyncio.timeout(TRANSACTION_LIMIT_S), sessions.begin() as session:
            yield session
    except (SQLAlchemyError, OSError) as error:
        # OSError: asyncpg's refused connections reach here unwrapped; and a TimeoutError is one
        raise RecordsUnavailableError(type(error).__name__) from error
