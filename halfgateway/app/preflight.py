"""The pre-flight of a restoration, made from what the node knows and asks now (:mod:`ops.preflight`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from auth.errors import AuthError
from camera_registry.cameras import CameraState
from camera_registry.clock import Clock
from camera_registry.errors import RegistryError
from camera_registry.paris import PARIS
from camera_registry.store import CameraStore
from halfgateway.attending import NOTIFIER, WATCHDOG, last_sign_of
from halfgateway.config import CameraSection, Configuration
from halfgateway.config_ops import contact_faults
from halfgateway.control.clock_reference import ClockReading
from halfgateway.errors import HalfGatewayError
from halfgateway.folder import DataFolder
from ops.notices.watchdog import SILENT_AFTER
from ops.preflight import Finding, Outcome, Preflight

ANSWER_LIMIT_S = 5.0
"""How long a part may take to answer. A person waits for it; one that takes longer would refuse streams anyhow."""

KNOCK_LIMIT_S = 3.0
"""How long the cameras may take to accept a connection, all asked at once: on one network they do in milliseconds."""

MAX_KNOCKED = 500
"""Cameras that are asked: a descriptor each. Of those beyond, the inventory's last look counts."""

MAX_NAMED = 20
"""Cameras that are named as unreachable; of more, the number is told."""

_MICROSECONDS = 1_000_000

Knock = Callable[[str], Awaitable[None]]
"""Sees whether anything takes a connection where an ONVIF address says. Raises RegistryError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePreflight:
    """Looks at one node.

    ``probes`` are what must answer, by check; ``store_clock`` gives the state store's offset where that is on another
    machine, None where it is on this one.
    """

    probes: Mapping[str, Callable[[], Awaitable[object]]]
    cameras: CameraStore
    knock: Knock
    kernel_clock: Callable[[], ClockReading | None]
    store_clock: Callable[[], Awaitable[dict[str, Any]]] | None
    current: Callable[[], Configuration]
    folder: DataFolder
    clock: Clock

    async def look(self) -> Preflight:
        """Look at everything at once, in seconds."""
        *answers, cameras, clock = await asyncio.gather(
            *(self._answers(check) for check in ("trace", "state-store", "records")),
            self._of_cameras(),
            self._of_clock(),
        )
        attendants = self._of_notifier(), self._of_attendant(WATCHDOG)
        return Preflight(self.clock.now(), (*answers, cameras, self._of_contacts(), clock, *attendants))

    async def _answers(self, check: str) -> Finding:
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self.probes[check]()
        except (TimeoutError, AuthError, HalfGatewayError):
            return Finding(check, Outcome.FAILED, "ne répond pas")
        return Finding(check, Outcome.PASSED, "répond")

    async def _of_cameras(self) -> Finding:
        """What the inventory holds for available, and takes a connection now."""
        states = {camera.id: camera.state for camera in self.cameras.list()}
        wanted = [one for one in self.current().cameras if states.get(one.id) is not CameraState.PLANNED]
        if not wanted:
            return Finding("cameras", Outcome.UNKNOWN, "aucune caméra n'est déclarée")
        known = [one for one in wanted if states.get(one.id) not in {None, CameraState.UNAVAILABLE}]
        silent = await self._silent(known[:MAX_KNOCKED])
        lost = sorted({one.id for one in wanted} - {one.id for one in known} | silent)
        enough = len(wanted) - len(lost) >= self.current().restoration.cameras_share * len(wanted)
        named = ", ".join(lost[:MAX_NAMED]) + (f" et {len(lost) - MAX_NAMED} autres" if len(lost) > MAX_NAMED else "")
        text = f"{len(wanted) - len(lost)} sur {len(wanted)}" + (f" ; sans réponse : {named}" if lost else "")
        return Finding("cameras", Outcome.PASSED if enough else Outcome.FAILED, text)

    async def _silent(self, cameras: list[CameraSection]) -> set[str]:
        if not cameras:
            return set()
        knocks = {asyncio.create_task(self._answers_the_door(one)): one.id for one in cameras}
        try:
            done, _ = await asyncio.wait(knocks, timeout=KNOCK_LIMIT_S)
        finally:
            for knocking in knocks:
                knocking.cancel()
            await asyncio.gather(*knocks, return_exceptions=True)
        heard = {name for knocking, name in knocks.items() if knocking in done and knocking.result()}
        return set(knocks.values()) - heard

    async def _answers_the_door(self, camera: CameraSection) -> bool:
        try:
            await self.knock(camera.onvif_url)
        except RegistryError:
            return False
        return True

    def _of_contacts(self) -> Finding:
        contacts, now = self.current().contacts, self.clock.now()
        faults = [fault.removeprefix("contacts: ") for fault in contact_faults(contacts, now)]
        valid = sum(contact.record().valid_on(now.astimezone(PARIS).date()) for contact in contacts)
        if faults:
            return Finding("contacts", Outcome.FAILED, " ; ".join(faults))
        return Finding("contacts", Outcome.PASSED, f"{valid} contacts en vigueur sur {len(contacts)}")

    async def _of_clock(self) -> Finding:
        reading = self.kernel_clock()
        offset_us = reading.offset_us if reading is not None and reading.synchronised else None
        if offset_us is None and self.store_clock is not None:
            try:
                offset_us = (await self.store_clock()).get("store_offset_us")
            except HalfGatewayError:
                offset_us = None
        if offset_us is None:
            return Finding("clock", Outcome.UNKNOWN, "aucune référence : l'horloge n'est pas synchronisée")
        offset_s = offset_us / _MICROSECONDS
        well = abs(offset_s) <= self.current().restoration.max_clock_offset_s
        text = f"écart de {offset_s:.3f} s".replace(".", ",")
        return Finding("clock", Outcome.PASSED if well else Outcome.FAILED, text)

    def _of_notifier(self) -> Finding:
        if self.current().mail is None:
            return Finding(NOTIFIER, Outcome.UNKNOWN, "aucun serveur de messagerie n'est configuré")
        return self._of_attendant(NOTIFIER)

    def _of_attendant(self, name: str) -> Finding:
        last, now = last_sign_of(self.folder, name), self.clock.now()
        if last is None:
            return Finding(name, Outcome.UNKNOWN, "aucun signe de vie sur cette machine")
        text = f"dernier signe de vie le {last.astimezone(PARIS):%d/%m/%Y à %H:%M:%S}"
        return Finding(name, Outcome.PASSED if now - last <= SILENT_AFTER else Outcome.FAILED, text)
