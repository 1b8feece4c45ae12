"""What a simulated camera sends and what a recorder's folder holds, picture by picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import av

from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import Depacketiser
from halfgateway.recorder.shelf import Shelf
from halfgateway.segments.layout import DEFAULT_PATTERN, Layout
from halfgateway.simulator.packets import VIDEO_TICKS, Clip
from tests.relay.packets import rtp

LAYOUT = Layout(DEFAULT_PATTERN)


def sent(clip: Clip) -> list[bytes]:
    """The pictures of a clip's loop as an MP4 file holds them: the length before each NAL unit."""
    depacketiser, numbers, pictures = Depacketiser(Codec.H264), itertools.count(), list[bytes]()
    for number, unit in enumerate([*clip.access_units, clip.access_units[0]]):
        for packet in unit.packets:
            whole = depacketiser.feed(rtp(next(numbers), number * VIDEO_TICKS, packet.payload, marker=packet.marker))
            if whole is not None:
                pictures.append(b"".join(len(nal).to_bytes(4, "big") + nal for nal in whole.nal_units))
    return pictures


def segments(folder: Path, camera: str) -> list[tuple[datetime, Path]]:
    return [(segment.start, segment.path) for segment in Shelf(folder, LAYOUT).segments(camera)]


def pictures(path: Path) -> list[tuple[bytes, float]]:
    """The pictures of one file, each with its seconds from the first; none where it has no whole fragment yet."""
    try:
        with av.open(str(path)) as container:
            (stream,) = container.streams
            assert stream.time_base is not None
            return [
                (bytes(packet), float(packet.pts * stream.time_base))
                for packet in container.demux(stream)
                if packet.size and packet.pts is not None
            ]
    except av.InvalidDataError:
        return []


def filmed(folder: Path, camera: str) -> list[tuple[datetime, bytes]]:
    """Every picture on the disk, with the instant that is told of it."""
    return [
        (start + timedelta(seconds=after), data)
        for start, path in segments(folder, camera)
        for data, after in pictures(path)
    ]


def go_round(film: Sequence[bytes], loop: Sequence[bytes]) -> bool:
    """Whether the pictures are those of a loop, in their order and none left out, but where it begins anew."""
    starts = [index for index, picture in enumerate(film) if picture == loop[0]]
    ends = [*starts[1:], len(film)]
    return starts[:1] == [0] and all(
        list(film[start:end]) == list(loop[: end - start]) and (end - start == len(loop) or end == len(film))
        for start, end in zip(starts, ends, strict=True)
    )
