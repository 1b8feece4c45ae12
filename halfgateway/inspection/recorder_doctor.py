"""What works between here and one recorder, step by step: ONVIF, clock, search, footage, and one second of a replay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from camera_registry.clock import Clock, rfc3339
from camera_registry.errors import NoSuchRecording, RegistryError
from camera_registry.inventory import CLOCK_ANOMALY_S, CLOCK_CAUSE
from camera_registry.onvif_port import OnvifPort, RecorderPort
from halfgateway.errors import NoRecording, RecorderUnreachable
from halfgateway.inspection.doctor import Step, reach
from halfgateway.relay.reports import CLOCK_WARNING_S
from halfgateway.replay.footage import Footage, Interval, Passage, Picture

LOOK_BACK: Final = timedelta(days=31)
"""How far back footage is looked for: no order allows more than a month (CSI L252-5)."""

BEFORE_THE_END: Final = timedelta(minutes=1)
"""How long before the newest footage's end the replay begins: what is being written may not be played yet."""

PLAYED: Final = timedelta(seconds=1)
"""How much is replayed."""

ONVIF_STEPS: Final = ("onvif-connect", "onvif-clock", "recorder-recordings")
REPLAY_STEPS: Final = ("recorder-footage", "replay-open", "replay-play")


@dataclass(frozen=True, slots=True)
class OnvifSide:
    """How a recorder of ONVIF Profile G is asked, and its recordings' tokens by our cameras."""

    url: str
    device: OnvifPort
    recordings: RecorderPort
    tokens: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecorderReport:
    """All steps, in order."""

    recorder: str
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether every step went well."""
        return all(step.ok for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """The report as ``doctor --json`` prints it."""
        return {"recorder": self.recorder, "ok": self.ok, "steps": [asdict(step) for step in self.steps]}


class RecorderDoctor:
    """Examines one recorder, by the footage of its cameras; it decodes nothing and shows nobody a picture."""

    def __init__(self, recorder: str, footage: Mapping[str, Footage], onvif: OnvifSide | None, *, clock: Clock) -> None:
        self._recorder = recorder
        self._footage = footage
        self._onvif = onvif
        self._clock = clock
        self._steps: list[Step] = []

    async def examine(self) -> RecorderReport:
        """Try everything; what cannot be tried because an earlier step failed is told as such."""
        if self._onvif is not None:
            await self._ask(self._onvif)
        if all(step.ok for step in self._steps if step.name == "onvif-connect"):
            await self._replay()
        names = (*(ONVIF_STEPS if self._onvif is not None else ()), *REPLAY_STEPS)
        tried = {step.name: step for step in self._steps}
        return RecorderReport(self._recorder, tuple(tried.get(name, Step(name)) for name in names))

    async def _ask(self, onvif: OnvifSide) -> None:
        async with self._step("onvif-connect") as step:
            await reach(onvif.url)
        if not step.ok:
            return
        async with self._step("onvif-clock") as step:
            reading = await onvif.device.clock()
            step.detail = {"offset_s": round(reading.offset_s, 1), "source": reading.source}
            if abs(reading.offset_s) > CLOCK_ANOMALY_S:
                step.fault = CLOCK_CAUSE
            elif abs(reading.offset_s) > CLOCK_WARNING_S:
                step.warnings.append("clock-drift")
        async with self._step("recorder-recordings") as step:
            found = {span.token for span in await onvif.recordings.recordings()}
            missing = sorted(camera for camera, token in onvif.tokens.items() if token not in found)
            step.detail = {"recordings": len(found), "missing": missing}
            if missing:
                step.fault = NoSuchRecording.cause

    async def _replay(self) -> None:
        newest: dict[str, Interval] = {}
        async with self._step("recorder-footage") as step:
            now = self._clock.now()
            told = []
            for camera, footage in self._footage.items():
                found = await footage.find(now - LOOK_BACK, now)
                told.append({"camera": camera, **_told(found)})
                if found:
                    newest[camera] = found[-1]
            step.detail = {"cameras": told}
            step.warnings = ["unverified-footage"] if any(not each.verified for each in newest.values()) else []
            if len(newest) < len(self._footage):
                step.fault = "no-footage"
        if newest:
            camera, interval = next(iter(newest.items()))
            await self._play(self._footage[camera], max(interval.start, interval.end - BEFORE_THE_END))

    async def _play(self, footage: Footage, at: datetime) -> None:
        async with self._step("replay-open") as step:
            replay = await footage.open(at)
            step.detail = {"codec": replay.video.codec.value, "reverses": footage.reverses}
        if not step.ok:
            return
        try:
            async with self._step("replay-play") as step:
                asked_s = self._clock.monotonic()
                first: Picture | None = None
                pictures = 0
                async for picture in replay.play(Passage(at, at + PLAYED)):
                    if first is None:
                        first, first_s = picture, self._clock.monotonic()
                        step.detail["first_picture_ms"] = round((first_s - asked_s) * 1000, 1)
                    pictures += 1
                step.detail |= {"pictures": pictures, "asked": rfc3339(at)}
                if first is None:
                    step.fault = "no-media"
                else:
                    step.detail["began"] = rfc3339(first.at)
        finally:
            await replay.close()

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[Step]:
        step = Step(name)
        self._steps.append(step)
        began_s = self._clock.monotonic()
        try:
            yield step
        except RegistryError as error:
            step.fault = error.cause
        except (RecorderUnreachable, NoRecording) as refusal:
            step.fault = refusal.code
            step.detail["said"] = refusal.detail
        step.ms = round((self._clock.monotonic() - began_s) * 1000, 1)
        step.ok = step.fault is None


def _told(found: Sequence[Interval]) -> dict[str, Any]:
    if not found:
        return {"oldest": None, "newest": None, "intervals": 0}
    return {"oldest": rfc3339(found[0].start), "newest": rfc3339(found[-1].end), "intervals": len(found)}
