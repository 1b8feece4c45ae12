"""Recorders of ONVIF Profile G: what they have by Recording Search, played by their Replay service."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from camera_registry.clock import Clock
from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, Locked, Malformed, NoSuchRecording, NotSupported, RegistryError
from camera_registry.onvif_port import RecorderPort, StateChange
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.net.coalescing import Coalescing
from halfgateway.protocol.sdp import SessionDescription
from halfgateway.replay.access import RecorderAccess
from halfgateway.replay.coverage import clipped, intervals
from halfgateway.replay.footage import Interval
from halfgateway.replay.rtsp_replay import RtspReplay
from halfgateway.replay.shared_answers import SharedAnswers
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import Target
from halfgateway.upstream.presentation import probe

log = logging.getLogger(__name__)

FOUND_FOR_S: Final = 10.0
"""Seconds for which what was found is not asked again: a search takes a recorder a second, and who scrubs looks often.
What is recorded meanwhile is played all the same."""

URL_FOR_S: Final = 60.0
"""Seconds for which a recording's URL is not asked again: most recorders give the same for months, some for a while."""

REVERSES_FOR_S: Final = 300.0
"""The same for whether it plays in reverse, also where it did not say: none is to wait for that at every opening."""

NOT_A_GAP: Final = timedelta(seconds=1)
"""Footage that begins so soon after an instant holds it: recorders tell when it began and ended to the second."""

PERIOD_STEP: Final = timedelta(minutes=1)
"""Periods are searched to the whole minute, so that who asks for the last ten days again asks for the same."""


class OnvifRecorder:
    """One recorder, for all of its cameras. :meth:`aclose` it, and then the device."""

    def __init__(
        self,
        device: RecorderPort,
        credentials: Credentials,
        access: RecorderAccess,
        *,
        clock: Clock,
        coalescing: Coalescing,
    ) -> None:
        self.access = access
        self.clock = clock
        self.coalescing = coalescing
        self.reverses = False
        self._device = device
        self._credentials = credentials
        now = clock.monotonic
        self._found = SharedAnswers(self._search, FOUND_FOR_S, now=now)
        self._urls = SharedAnswers(device.replay_url, URL_FOR_S, now=now)
        self._capabilities = SharedAnswers(self._ask_reverses, REVERSES_FOR_S, now=now)

    def footage(self, token: str) -> OnvifFootage:
        """The footage of the camera whose recording has this token."""
        return OnvifFootage(self, token)

    async def find(self, token: str, start: datetime, end: datetime) -> Sequence[Interval]:
        """What there is of a recording in a period; several that ask for the same at once ask the recorder once."""
        with _told_as_refusals(self.access.recorder):
            return await self._found.get((token, _floor(start), _floor(end) + PERIOD_STEP))

    async def target(self, token: str) -> Target:
        """Where a recording is played from."""
        with _told_as_refusals(self.access.recorder):
            url = await self._urls.get(token)
        await self._learn()
        return Target(url, self._credentials.username, self._credentials.password)

    def forget_url(self, token: str) -> None:
        """What is played from a recording's URL has failed: ask for it anew the next time."""
        self._urls.forget(token)

    async def aclose(self) -> None:
        """Ask nothing more."""
        await self._found.aclose()
        await self._urls.aclose()
        await self._capabilities.aclose()

    async def _search(self, wanted: tuple[str, datetime, datetime]) -> Sequence[Interval]:
        token, start, end = wanted
        await self._learn()
        now = self.clock.now()
        span = await self._device.recording(token)
        changes: Sequence[StateChange] = ()
        try:
            changes = await self._device.state_changes(token, start, min(end, now))
        except NoSuchRecording:
            raise
        except (NotSupported, Malformed) as failure:
            log.info("recorder.no_events recorder=%s cause=%s", self.access.recorder, failure.cause)
        return intervals(changes, span, start, end, now)

    async def _learn(self) -> None:
        """Learn whether it plays in reverse."""
        self.reverses = await self._capabilities.get(None)

    async def _ask_reverses(self, _: None) -> bool:
        """Where that cannot be known, it does not."""
        with suppress(RegistryError):
            return await self._device.reverses()
        return False


class OnvifFootage:
    """A :class:`~halfgateway.replay.footage.Footage` of one recording; :attr:`reverses` is known once it was asked."""

    def __init__(self, recorder: OnvifRecorder, token: str) -> None:
        self._recorder = recorder
        self._token = token

    @property
    def reverses(self) -> bool:
        """See :class:`~halfgateway.replay.footage.Footage`."""
        return self._recorder.reverses

    async def find(self, start: datetime, end: datetime) -> Sequence[Interval]:
        """See :class:`~halfgateway.replay.footage.Footage`."""
        return clipped(await self._recorder.find(self._token, start, end), start, end)

    async def describe(self, at: datetime) -> SessionDescription:
        """See :class:`~halfgateway.replay.footage.Footage`. A recording has one description, whatever the instant."""
        target = await self._recorder.target(self._token)
        access = self._recorder.access
        async with access.taken_to_describe():
            try:
                return (await probe(target)).description
            except CameraFailure as failure:
                self._recorder.forget_url(self._token)
                raise access.failed(failure) from failure

    async def open(self, at: datetime) -> RtspReplay:
        """See :class:`~halfgateway.replay.footage.Footage`."""
        target = await self._recorder.target(self._token)
        recorder = self._recorder
        try:
            return await RtspReplay.open(
                target,
                recorder.access,
                clock=recorder.clock,
                coalescing=recorder.coalescing,
                next_footage=self._next_footage,
            )
        except (RecorderUnreachable, NoRecording):
            recorder.forget_url(self._token)
            raise

    async def _next_footage(self, at: datetime) -> datetime | None:
        """When footage begins again after the gap at an instant; None where there is none, or nobody knows."""
        with suppress(RecorderUnreachable, NoRecording):
            found = await self.find(at, self._recorder.clock.now())
            return next((each.start for each in found if each.start > at + NOT_A_GAP), None)
        return None


@contextmanager
def _told_as_refusals(recorder: str) -> Iterator[None]:
    try:
        yield
    except RegistryError as error:
        log.warning("recorder.failed recorder=%s cause=%s", recorder, error.cause)
        raise _told(error) from error


def _floor(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(second=0, microsecond=0)


def _told(error: RegistryError) -> RecorderUnreachable | NoRecording:
    """What went wrong, in words that may be told (C16)."""
    if isinstance(error, NoSuchRecording):
        return NoRecording("L'enregistreur n'a pas d'images de cette caméra.")
    if isinstance(error, AuthRejected | Locked):
        return RecorderUnreachable("L'enregistreur refuse nos identifiants.")
    return RecorderUnreachable("L'enregistreur ne répond pas comme il le doit.")
