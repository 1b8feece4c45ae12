"""The node's side of its ONVIF process: started when a device is to be asked, and ended when nobody asks any more.

The ONVIF library takes tens of megabytes, and most of a second in which its process does nothing else: neither is the
node's any more (ADR 0005). What must outlive the process stays here: which passwords were refused, which hosts may be
asked, how far each device's clock is off.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from camera_registry.connections import Credentials, DeviceInformation
from camera_registry.errors import ClientLost
from camera_registry.guard import Guard
from camera_registry.hosts import AllowedHosts, reachable_url
from camera_registry.onvif_life import Life, Party, Patience
from camera_registry.onvif_port import ClockReading, RecordingQuery, RecordingSpan, StateChange, VideoProfile
from camera_registry.onvif_wire import Begin, Method

log = logging.getLogger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "camera_registry.onvif_worker")
"""What is started: our own module, whatever the working directory holds."""

ANSWER_LIMIT_S: Final = 10.0
"""How long a device may take for one answer, in seconds."""

_RTSP: Final = ("rtsp", "rtsps")

Value = TypeVar("Value")


class OnvifProcess:
    """Asks devices in one process of its own; :meth:`aclose` ends it.

    Whoever asks while it is not running waits for it to start, and after a death for its rest to be over.
    """

    def __init__(
        self,
        *,
        allowed: AllowedHosts,
        guard: Guard,
        now: Callable[[], float],
        patience: Patience | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """``guard`` is that of all who ask devices; ``now`` is monotonic seconds."""
        self.allowed = allowed
        self._guard = guard
        self._now = now
        self._patience = patience or Patience()
        self._command = command
        self._begin = Begin(hosts=allowed.entries, timeout_s=ANSWER_LIMIT_S)
        self._sessions = itertools.count()
        self._devices: dict[int, Party] = {}
        self._life: Life | None = None
        self._starting = asyncio.Lock()
        self._deaths = 0
        self._rest_until_s = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return None if self._life is None or self._life.over else self._life.pid

    def open(self, url: str, credentials: Credentials | None) -> RemoteDevice:
        """Open the device at ``url``, for instance ``http://10.78.1.20/onvif/device_service``; nothing is sent yet."""
        device = RemoteDevice(self, next(self._sessions), url, credentials)
        self._devices[device.session] = device
        return device

    def allow(self, allowed: AllowedHosts) -> None:
        """Have these hosts asked from now on, and no others: a process that was told of others is ended."""
        if allowed.entries == self.allowed.entries:
            return
        self.allowed = allowed
        self._begin = replace(self._begin, hosts=allowed.entries)
        if self._life is not None:
            self._life.retire()

    async def call(
        self, device: Party, method: Method, profile: VideoProfile | None, recording: RecordingQuery | None = None
    ) -> Any:
        """Ask a device that is open. Raises RegistryError."""
        return await (await self._running()).call(device, method, profile, recording)

    def forget(self, device: Party) -> None:
        """Close a device."""
        if self._devices.pop(device.session, None) is not None and self._life is not None:
            self._life.forget(device.session)

    async def aclose(self) -> None:
        """End the process; whoever still asks fails with ClientLost."""
        self._closed = True
        if self._life is not None:
            self._life.retire()
            await asyncio.wait({self._life.ended})

    async def _running(self) -> Life:
        async with self._starting:
            if self._life is None or self._life.over:
                if self._life is not None:
                    await asyncio.wait({self._life.ended})
                await asyncio.sleep(self._rest_until_s - self._now())
                if self._closed:
                    raise ClientLost("no device is asked any more")
                self._life = await self._started()
            return self._life

    async def _started(self) -> Life:
        began_s = self._now()
        try:
            life = await Life.start(
                self._command,
                self._begin,
                guard=self._guard,
                party=self._devices.get,
                patience=self._patience,
                now=self._now,
            )
        except ClientLost:
            self._died(began_s)
            raise
        log.info("onvif.process_started pid=%d", life.pid)
        life.ended.add_done_callback(lambda _: None if life.unwanted else self._died(life.began_s))
        return life

    def _died(self, began_s: float) -> None:
        now_s = self._now()
        self._deaths = 1 if now_s - began_s >= self._patience.steady_s else self._deaths + 1
        rest_s = min(self._patience.longest_rest_s, self._patience.rest_s * 2.0 ** min(self._deaths - 1, 16))
        self._rest_until_s = now_s + rest_s


class RemoteDevice:
    """An :class:`~camera_registry.onvif_port.OpenedDevice` that is asked by the ONVIF process; a recorder too.

    It outlives the process: the next one is told of it anew.
    """

    def __init__(
        self,
        process: OnvifProcess,
        session: int,
        url: str,
        credentials: Credentials | None,
    ) -> None:
        self.session = session
        self.url = url
        self.name = urlsplit(url).netloc
        self.credentials = credentials
        self.clock_offset_s = 0.0
        self._process = process

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let the process close its connections to the device."""
        self._process.forget(self)

    async def clock(self) -> ClockReading:
        """See :class:`~camera_registry.onvif_port.OnvifPort`."""
        reading = await self._ask(Method.CLOCK, _CLOCK)
        self.clock_offset_s = reading.offset_s
        return reading

    async def device_information(self) -> DeviceInformation:
        """See :class:`~camera_registry.onvif_port.OnvifPort`."""
        return await self._ask(Method.DEVICE_INFORMATION, _DEVICE_INFORMATION)

    async def profiles(self) -> tuple[VideoProfile, ...]:
        """See :class:`~camera_registry.onvif_port.OnvifPort`."""
        return await self._ask(Method.PROFILES, _PROFILES)

    async def stream_url(self, profile: VideoProfile) -> str:
        """See :class:`~camera_registry.onvif_port.OnvifPort`; held against the allow-list on this side too."""
        announced = await self._ask(Method.STREAM_URL, _URL, profile)
        return reachable_url(announced, endpoint=self.url, allowed=self._process.allowed, schemes=_RTSP)

    async def request_keyframe(self, profile: VideoProfile) -> None:
        """See :class:`~camera_registry.onvif_port.OnvifPort`."""
        await self._ask(Method.REQUEST_KEYFRAME, _NOTHING, profile)

    async def recordings(self) -> tuple[RecordingSpan, ...]:
        """See :class:`~camera_registry.onvif_port.RecorderPort`."""
        return await self._ask(Method.RECORDINGS, _SPANS)

    async def recording(self, token: str) -> RecordingSpan:
        """See :class:`~camera_registry.onvif_port.RecorderPort`."""
        return await self._ask(Method.RECORDING, _SPAN, recording=RecordingQuery(token=token))

    async def state_changes(self, token: str, start: datetime, end: datetime) -> tuple[StateChange, ...]:
        """See :class:`~camera_registry.onvif_port.RecorderPort`."""
        query = RecordingQuery(token=token, start=start, end=end)
        return await self._ask(Method.STATE_CHANGES, _CHANGES, recording=query)

    async def replay_url(self, token: str) -> str:
        """See :class:`~camera_registry.onvif_port.RecorderPort`; held against the allow-list on this side too."""
        announced = await self._ask(Method.REPLAY_URL, _URL, recording=RecordingQuery(token=token))
        return reachable_url(announced, endpoint=self.url, allowed=self._process.allowed, schemes=_RTSP)

    async def reverses(self) -> bool:
        """See :class:`~camera_registry.onvif_port.RecorderPort`."""
        return await self._ask(Method.REVERSES, _YES_OR_NO)

    async def _ask(
        self,
        method: Method,
        kind: TypeAdapter[Value],
        profile: VideoProfile | None = None,
        recording: RecordingQuery | None = None,
    ) -> Value:
        self._process.allowed.require(self.url)
        value = await self._process.call(self, method, profile, recording)
        try:
            return kind.validate_python(value)
        except ValidationError as error:
            raise ClientLost("the ONVIF process answered something else") from error


_CLOCK: Final = TypeAdapter(ClockReading)
_DEVICE_INFORMATION: Final = TypeAdapter(DeviceInformation)
_PROFILES: Final = TypeAdapter(tuple[VideoProfile, ...])
_URL: Final = TypeAdapter(str)
_SPAN: Final = TypeAdapter(RecordingSpan)
_SPANS: Final = TypeAdapter(tuple[RecordingSpan, ...])
_CHANGES: Final = TypeAdapter(tuple[StateChange, ...])
_YES_OR_NO: Final = TypeAdapter(bool)
_NOTHING: Final[TypeAdapter[None]] = TypeAdapter(None)
