"""What each camera said of itself, remembered: a VMS that describes every camera every 30 s dials none (S13)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from halfgateway.protocol.sdp import SessionDescription
from halfgateway.relay.source import SourceKey


class Descriptions:
    """Descriptions by camera profile. ``probe`` dials a camera that has not been described yet."""

    def __init__(self, probe: Callable[[SourceKey], Awaitable[SessionDescription]]) -> None:
        self._probe = probe
        self._known: dict[SourceKey, SessionDescription] = {}
        self._asking: dict[SourceKey, asyncio.Task[SessionDescription]] = {}

    def remember(self, key: SourceKey, description: SessionDescription) -> None:
        """Keep what a camera said; the newest counts."""
        self._known[key] = description

    def forget(self, camera: str) -> None:
        """Ask this camera again, when it is next wanted: it is another one, or may show other profiles."""
        for key in [key for key in (*self._known, *self._asking) if key.camera == camera]:
            self._known.pop(key, None)
            self._asking.pop(key, None)

    async def of(self, key: SourceKey) -> SessionDescription:
        """The description, from memory where there is one; several callers cause one probe. Raises a Refusal."""
        known = self._known.get(key)
        if known is not None:
            return known
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._ask(key), name=f"describe {key.camera}/{key.profile}")
            self._asking[key] = asking
        return await asyncio.shield(asking)

    async def _ask(self, key: SourceKey) -> SessionDescription:
        try:
            description = await self._probe(key)
            if self._is_asking(key):
                self.remember(key, description)
            return description
        finally:
            if self._is_asking(key):
                del self._asking[key]

    def _is_asking(self, key: SourceKey) -> bool:
        """Whether this task is the one that asks; a camera may have been forgotten meanwhile."""
        return self._asking.get(key) is asyncio.current_task()
