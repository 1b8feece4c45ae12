"""How an act on the convention's life is made: traced, refused in the API's words, seen at once by this node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from auth.register import Actor
from auth.trace import Draft
from halfgateway.api.personnel import see_change
from halfgateway.api.problems import Fault, InvalidCall, UnknownRecord
from halfgateway.control.life_entries import Told
from ops.errors import RecordRefused, UnknownItem


class Acts:
    """``record`` writes an entry that is durable when it returns; ``changed`` has this node read the records again."""

    def __init__(self, *, record: Callable[[Draft], Awaitable[object]], changed: Callable[[], Awaitable[None]]) -> None:
        self._record = record
        self._changed = changed

    async def tell(self, told: Told, by: Actor) -> None:
        """Make the entry of what ``by`` does durable."""
        kind, detail = told
        await self._record(Draft(kind=kind, agent=by.agent, account=by.account, source=by.source, detail=detail))

    @asynccontextmanager
    async def act(self) -> AsyncIterator[None]:
        """One act. Raises InvalidCall and UnknownRecord for what ``ops`` refuses."""
        with in_our_words():
            yield
        await see_change(self._changed)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn what ``ops`` refuses into InvalidCall and UnknownRecord."""
    try:
        yield
    except RecordRefused as error:
        raise InvalidCall([Fault(where="body", message=str(error))]) from error
    except UnknownItem as error:
        raise UnknownRecord(f"Aucun enregistrement n° {error}.") from error
