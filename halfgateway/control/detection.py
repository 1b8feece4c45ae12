"""Whether everything has stopped, as this node sees it (article 8, N03): looked at each second.

======================  ============================================================================================
stopped                 while
======================  ============================================================================================
the journal             it cannot be written
the door                somebody asked for a stream, and none could be granted for a cause of ours since
the cameras             every camera that is shown is unreachable, and one was not before
======================  ============================================================================================

A cut is no abnormal stop: while one stands nothing is opened, and what was found before is only ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

from auth.trace import Draft
from camera_registry.cameras import Camera, CameraState
from halfgateway.errors import Refusal, StateStoreUnavailable, TraceUnavailable
from ops.errors import OpsError
from ops.incidents.detecting import StopDetector

LOOK_S = 1.0
"""How often it is looked: the precision of T0."""

log = logging.getLogger(__name__)


OUR_CAUSES = frozenset({StateStoreUnavailable.code, TraceUnavailable.code})
"""Refusals that say nothing of whoever asked: everybody would be refused."""


class Asking:
    """Whether somebody asked in vain. ``can_grant`` raises the Refusal that would keep a stream from anybody now."""

    def __init__(self, can_grant: Callable[[], None]) -> None:
        self._can_grant = can_grant
        self._in_vain = False

    def refused(self, draft: Draft) -> None:
        """Somebody asked, and was refused."""
        self._in_vain = self._in_vain or draft.refusal in OUR_CAUSES

    def cause(self) -> Refusal | None:
        """Why nobody is granted anything, if somebody asked; None where one could be granted now."""
        try:
            self._can_grant()
        except Refusal as refusal:
            return refusal if self._in_vain else None
        self._in_vain = False
        return None


class Detection:
    """Looks, and has the detector write what it found. ``closed`` says whether the interconnection is cut."""

    def __init__(
        self,
        *,
        detector: StopDetector,
        asking: Asking,
        cameras: Callable[[], Sequence[Camera]],
        trace_writable: Callable[[], bool],
        closed: Callable[[], bool],
    ) -> None:
        self._detector = detector
        self._asking = asking
        self._cameras = cameras
        self._trace_writable = trace_writable
        self._closed = closed
        self._have_answered = detector.running

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            causes = () if self._closed() else self.causes()
            try:
                if causes or self._detector.running:
                    await asyncio.to_thread(self._detector.look, causes)
                else:
                    self._detector.look(())  # nothing is written, so no thread is woken
            except OpsError as error:
                log.critical("detection.not_recorded causes=%s error=%s: tried again", causes, error)
            await asyncio.sleep(LOOK_S)

    def causes(self) -> tuple[str, ...]:
        """Why everything has stopped, in French; empty where it has not."""
        found = []
        if not self._trace_writable():
            found.append("le journal des accès ne peut être écrit")
        asked = self._asking.cause()
        if asked is not None:
            found.append(f"aucun Flux ne peut être accordé ({asked.code})")
        if self._cameras_have_gone():
            found.append("aucune caméra ne répond")
        return tuple(found)

    def _cameras_have_gone(self) -> bool:
        shown = False
        for camera in self._cameras():
            if camera.state is CameraState.PLANNED:
                continue
            if camera.state is not CameraState.UNAVAILABLE:
                self._have_answered = True
                return False
            shown = True
        return shown and self._have_answered
