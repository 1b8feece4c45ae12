"""Film as files: fragmented MP4 below each camera's folder, as recorders mount or export it.

The picture is what replay sends, to the byte; nothing is encoded again. Files of the same film are one file under
several names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import av

from halfgateway.simulator.clips import Codec
from halfgateway.simulator.film import GROUP_FRAMES, GROUP_S, clean_at, frame_at, instant_of
from halfgateway.simulator.film_coder import film_coder, packet_of
from halfgateway.simulator.recordings import Recording

PATTERN: Final = "%Y-%m-%d/%Y%m%dT%H%M%S.%fZ.mp4"
"""Where a segment lies below its camera's folder, by the instant of its first picture in UTC."""

SEGMENT_S: Final = 60
"""How long a segment is, in seconds: it ends at each whole minute."""

_OPTIONS: Final = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


class SegmentWriter:
    """Writes the film of recordings below a folder, each camera's in a folder named by its id."""

    def __init__(self, folder: Path, *, segment_s: int = SEGMENT_S) -> None:
        """``segment_s`` is a whole number of groups of pictures. Raises ValueError."""
        if segment_s < GROUP_S or segment_s % GROUP_S:
            raise ValueError(f"a segment lasts a multiple of {GROUP_S} s, not {segment_s} s")
        self._folder = folder
        self._frames = segment_s // GROUP_S * GROUP_FRAMES
        self._written: dict[tuple[Codec, int, int], Path] = {}

    def write(self, recording: Recording, start: datetime, end: datetime) -> list[Path]:
        """Write what there is between two instants, from the key picture at or before ``start`` to before ``end``.

        What is there already is left alone; ``end`` must not be yet to come. Blocks for some milliseconds a group of
        pictures. Raises ClipError, OSError.
        """
        paths = []
        for codec, first, stop in self._segments(recording, clean_at(frame_at(start)), frame_at(end)):
            path = self._folder / recording.camera / f"{instant_of(first):{PATTERN}}"
            if not path.exists():
                self._lay(path, codec, first, stop)
            paths.append(path)
        return paths

    def _segments(self, recording: Recording, first: int, stop: int) -> Iterator[tuple[Codec, int, int]]:
        """Each segment between two pictures: its codec, its first picture and that after its last."""
        for stretch in recording.stretches:
            at = max(first, stretch.first)
            until = stop if stretch.stop is None else min(stop, stretch.stop)
            while at < until:
                ends = min(until, at - at % self._frames + self._frames)
                yield stretch.codec, at, ends
                at = ends

    def _lay(self, path: Path, codec: Codec, first: int, stop: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._link(self._written.get((codec, first, stop)), path):
            return
        draft = path.with_suffix(".part")
        try:
            _write(draft, codec, first, stop)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self._written[codec, first, stop] = path

    def _link(self, same: Path | None, path: Path) -> bool:
        """Give the same film another name; False where there is none, or a file can have but one name."""
        if same is None:
            return False
        try:
            os.link(same, path)
        except OSError:
            return False
        return True


def passages(
    start: datetime, end: datetime, *, every: timedelta, lasts: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """The whole passages between two instants, each with its start and its end."""
    while start + lasts <= end:
        yield start, start + lasts
        start += every


def _write(path: Path, codec: Codec, first: int, stop: int) -> None:
    coder = film_coder(codec)
    with av.open(str(path), "w", format="mp4", options=_OPTIONS) as container:
        stream = container.add_stream_from_template(coder.template)
        for frame in range(first, stop):
            key = frame % GROUP_FRAMES == 0
            packet = packet_of(coder.access_unit(frame), pts=frame - first, key=key)
            packet.stream = stream
            container.mux(packet)
