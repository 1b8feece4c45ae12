"""What orders and holds say of the footage, as last heard: also where the records cannot be read, and after a restart.

Of a camera whose order was never heard of, footage is kept for the convention's ten days and no longer than the law
allows. While no hold was ever heard of, nothing goes that the law does not force to: it might be held.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from camera_registry.clock import rfc3339
from camera_registry.errors import StoreUnavailable
from halfgateway.recorder.retention import Hold, Rule
from ops.appended import place_durably

log = logging.getLogger(__name__)

ReadRules = Callable[[], Awaitable[Mapping[str, Rule]]]
"""The rules of the orders by camera. Raises StoreUnavailable."""

ReadHolds = Callable[[], Awaitable[Sequence[Hold]]]
"""The judicial holds in force. Raises StoreUnavailable."""


class Law:
    """Rules by camera and holds in force; kept in ``file`` for the time in which they cannot be read."""

    def __init__(self, file: Path, read_rules: ReadRules, read_holds: ReadHolds) -> None:
        self._file = file
        self._read_rules = read_rules
        self._read_holds = read_holds
        self._rules: dict[str, Rule] = {}
        self.holds: tuple[Hold, ...] | None = None
        self.is_current = False

    def rule_of(self, camera: str) -> Rule:
        """What is known to apply to a camera's footage."""
        return self._rules.get(camera, Rule())

    def restore(self) -> None:
        """Take up what was heard before this start. A file that cannot be read counts as none. Blocking."""
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
            self._rules = {camera: Rule(**days) for camera, days in known["rules"].items()}
            self.holds = tuple(_hold(each) for each in known["holds"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.critical("recorder.law_unreadable error=%r: what orders and holds say is not known", error)

    async def refresh(self) -> None:
        """Ask again; what cannot be read stays as it was."""
        try:
            rules, holds = await self._read_rules(), tuple(await self._read_holds())
        except StoreUnavailable as error:
            self._not_read(error)
            return
        self.is_current = True
        await self._know({**self._rules, **rules}, holds)

    async def refresh_holds(self) -> None:
        """Ask again which holds are in force: one may have been placed meanwhile. What cannot be read stays."""
        try:
            holds = tuple(await self._read_holds())
        except StoreUnavailable as error:
            self._not_read(error)
            return
        await self._know(self._rules, holds)

    def _not_read(self, error: StoreUnavailable) -> None:
        self.is_current = False
        log.error("recorder.law_not_read error=%s", error)

    async def _know(self, rules: dict[str, Rule], holds: tuple[Hold, ...]) -> None:
        if (rules, holds) != (self._rules, self.holds):
            self._rules, self.holds = rules, holds
            await asyncio.to_thread(self._keep)

    def _keep(self) -> None:
        known = {
            "rules": {camera: asdict(rule) for camera, rule in sorted(self._rules.items())},
            "holds": [
                {"camera": hold.camera, "start": rfc3339(hold.start), "end": rfc3339(hold.end)}
                for hold in self.holds or ()
            ],
        }
        try:
            place_durably(self._file, json.dumps(known, indent=1).encode(), os.fsync)
        except OSError as error:
            log.critical("recorder.law_not_kept error=%s", error.strerror)


def _hold(told: Mapping[str, Any]) -> Hold:
    return Hold(told["camera"], datetime.fromisoformat(told["start"]), datetime.fromisoformat(told["end"]))
