"""Pages of a short list that is held in memory, newest first."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from camera_registry.clock import rfc3339
from halfgateway.api.ports import Page
from halfgateway.errors import InvalidRequest

Item = TypeVar("Item")
Key = tuple[datetime, str]


def page_of(items: Iterable[Item], *, key: Callable[[Item], Key], limit: int, cursor: str | None) -> Page[Item]:
    """Return the page after ``cursor``; ``key`` gives each item's instant and its id, which together are unique.

    A cursor is the key of the last item shown, so that items which come and go shift no page.

    Raises:
        InvalidRequest: the cursor is not one of ours.
    """
    older_than = None if cursor is None else _decode(cursor)
    newest_first = sorted(items, key=lambda item: _sortable(key(item)), reverse=True)
    rest = [item for item in newest_first if older_than is None or _sortable(key(item)) < older_than]
    shown = rest[:limit]
    return Page(shown, _encode(_sortable(key(shown[-1]))) if len(rest) > limit else None)


def _sortable(key: Key) -> tuple[str, str]:
    instant, identifier = key
    return rfc3339(instant), identifier


def _encode(position: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(" ".join(position).encode()).rstrip(b"=").decode()


def _decode(cursor: str) -> tuple[str, str]:
    padding = "=" * (-len(cursor) % 4)
    try:
        instant, separator, identifier = base64.urlsafe_b64decode(cursor + padding).decode().partition(" ")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidRequest("cursor : inconnu") from error
    if not separator:
        raise InvalidRequest("cursor : inconnu")
    return instant, identifier
