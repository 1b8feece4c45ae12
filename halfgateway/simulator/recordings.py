"""What the simulated recorder has of its cameras, and in which order it shows it (ONVIF Streaming 6.5, 6.6)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from halfgateway.simulator.clips import Codec
from halfgateway.simulator.film import GROUP_FRAMES, GROUP_S, clean_at, frame_at, instant_of

KEEPS: Final = timedelta(days=12)
"""How far back a recording goes when the recorder starts."""

ADDED: Final = timedelta(days=5)
"""How long before the recorder's start the camera that came later was added."""

CHANGED_CODEC: Final = timedelta(days=1)
"""How long before the recorder's start H.264 was followed, without a gap, by H.265."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap that begins ``ago`` before the recorder's start, and ``lasts``."""

    ago: timedelta
    lasts: timedelta


GAPS: Final = (
    Gap(timedelta(days=9), timedelta(seconds=90)),
    Gap(timedelta(days=3), timedelta(hours=1)),
    Gap(timedelta(days=1), timedelta(seconds=4)),
)
"""The gaps of the recording that has some, in their order."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Footage without a gap, of one codec; ``end`` None: it is still being recorded. It begins at a key picture."""

    start: datetime
    end: datetime | None = None
    codec: Codec = "h264"

    @property
    def first(self) -> int:
        """The number of its first picture."""
        return frame_at(self.start)

    @property
    def stop(self) -> int | None:
        """The number of the picture after its last, None where it goes on."""
        return None if self.end is None else frame_at(self.end)


class Kind(StrEnum):
    """What may have become of a recording."""

    CONTINUOUS = "continuous"
    GAPS = "gaps"
    CODEC_CHANGE = "codec-change"
    ADDED_LATER = "added-later"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Recording:
    """The recording of one camera: its token in ONVIF, and its channel in makers' URLs, from 1.

    ``camera`` is the camera's id, ``name`` what people call it; ``stretches`` stand in their order.
    """

    camera: str
    name: str
    token: str
    channel: int
    stretches: tuple[Stretch, ...]

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Its codecs, one a track, in the order in which they were recorded."""
        return tuple(dict.fromkeys(stretch.codec for stretch in self.stretches))

    def of(self, codecs: Iterable[Codec]) -> tuple[Stretch, ...]:
        """What is recorded on the tracks of these codecs."""
        wanted = set(codecs)
        return tuple(stretch for stretch in self.stretches if stretch.codec in wanted)

    def codec_at(self, instant: datetime) -> Codec | None:
        """The codec of the footage at an instant, or else of the next; None where none follows."""
        number = frame_at(instant)
        return next((each.codec for each in self.stretches if each.stop is None or number < each.stop), None)


def recordings(cameras: Sequence[tuple[str, str]], begun: datetime) -> tuple[Recording, ...]:
    """The recordings of cameras (id and name) at a recorder that starts at ``begun``.

    One is of each kind, in their order; those of all further cameras are continuous.
    """
    kinds = itertools.chain(Kind, itertools.repeat(Kind.CONTINUOUS))
    return tuple(
        Recording(
            camera=camera,
            name=name,
            token=f"RecordingToken{channel:03d}",
            channel=channel,
            stretches=stretches(kind, begun),
        )
        for channel, ((camera, name), kind) in enumerate(zip(cameras, kinds, strict=False), start=1)
    )


def stretches(kind: Kind, begun: datetime) -> tuple[Stretch, ...]:
    """The footage of a recording of this kind, at a recorder that starts at ``begun``.

    Every instant of it is a whole number of groups: ``begun`` is taken as the key picture at or before it.
    """
    now = instant_of(clean_at(frame_at(begun)))
    first = now - KEEPS
    match kind:
        case Kind.CONTINUOUS:
            return (Stretch(first),)
        case Kind.GAPS:
            starts = [first, *(now - gap.ago + gap.lasts for gap in GAPS)]
            ends = [*(now - gap.ago for gap in GAPS), None]
            return tuple(Stretch(start, end) for start, end in zip(starts, ends, strict=True))
        case Kind.CODEC_CHANGE:
            changed = now - CHANGED_CODEC
            return (Stretch(first, changed), Stretch(changed, codec="h265"))
        case Kind.ADDED_LATER:
            return (Stretch(now - ADDED),)
        case Kind.NONE:
            return ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on its turn. ``elapsed`` counts pictures of the recording since the first that was shown.

    The flags are those of ONVIF Streaming 6.3.
    """

    frame: int
    codec: Codec
    elapsed: int
    clean: bool
    last: bool = False
    discontinuous: bool = False
    terminal: bool = False


def forward(of: Sequence[Stretch], start: int, stop: int | None, *, step: int = 1) -> Iterator[Shown]:
    """Show from the key picture at or before ``start``, or the next in a gap, to before ``stop`` or for ever.

    ``step`` is 1 for all pictures, else a whole number of groups: key pictures alone, so far apart.
    """
    left = [each for each in of if (each.stop is None or start < each.stop) and (stop is None or each.first < stop)]
    begun: int | None = None
    for number, stretch in enumerate(left):
        first = max(stretch.first, clean_at(start))
        ends = [each for each in (stretch.stop, stop) if each is not None]
        final = range(first, max(first + 1, min(ends)), step)[-1] if ends else None
        ends_here = stretch.stop is not None and (stop is None or stretch.stop <= stop)
        begun = first if begun is None else begun
        joins = number > 0 and left[number - 1].stop == first
        for frame in itertools.count(first, step):
            yield Shown(
                frame,
                stretch.codec,
                elapsed=frame - begun,
                clean=frame % GROUP_FRAMES == 0,
                last=frame == final and ends_here and not _goes_on(left, number),
                discontinuous=frame == first and not joins,
                terminal=frame == final and number == len(left) - 1,
            )
            if frame == final:
                break


def backward(of: Sequence[Stretch], start: int, stop: int | None, *, step: int = 1) -> Iterator[Shown]:
    """Show groups from that of ``start`` back to that of ``stop`` or to the beginning, each of them forwards (6.6)."""
    groups: list[tuple[Stretch, int, int]] = []
    for stretch in reversed(of):
        if stretch.first > start:
            continue
        top = start if stretch.stop is None else min(start, stretch.stop - 1)
        bottom = stretch.first if stop is None else max(stretch.first, clean_at(stop))
        groups += [(stretch, key, top) for key in range(clean_at(top), bottom - 1, -max(step, GROUP_FRAMES))]
    for number, (stretch, key, top) in enumerate(groups):
        final = key if step > 1 else min(key + GROUP_FRAMES - 1, top)
        for frame in range(key, final + 1):
            yield Shown(
                frame,
                stretch.codec,
                elapsed=groups[0][1] - key + frame - key,
                clean=frame == key,
                discontinuous=frame == key,
                terminal=frame == final and number == len(groups) - 1,
            )


def step_of(interval_ms: int) -> int:
    """The pictures from one key picture to the next that is at least so many milliseconds later."""
    return GROUP_FRAMES * max(1, -(-interval_ms // (GROUP_S * 1000)))


def _goes_on(of: Sequence[Stretch], number: int) -> bool:
    return number + 1 < len(of) and of[number + 1].first == of[number].stop
