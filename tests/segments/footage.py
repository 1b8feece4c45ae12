"""Segments as a recorder leaves them: small pictures that bear their instant, encoded once and cut into files."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np

from halfgateway.protocol.codec import Codec
from halfgateway.segments.layout import Layout
from halfgateway.simulator.blockcode import draw_counter

FPS = 25
PICTURE = timedelta(milliseconds=40)
AAC_DELAY = 1024
"""Samples by which AAC begins early: sound is put so much later, or the muxer would move the pictures."""

GROUP = 25
"""Pictures from one clean one to the next: a second."""

DAY = datetime(2026, 11, 20, tzinfo=UTC)
DEFAULT = "%Y-%m-%d/%Y%m%dT%H%M%S.%fZ.mp4"

Kind = Literal["mp4", "fmp4", "ts"]
WIDTH, HEIGHT = 320, 64

_ENCODERS: dict[Codec, Literal["libx264", "libx265"]] = {Codec.H264: "libx264", Codec.H265: "libx265"}
_FORMATS: dict[Kind, tuple[str, dict[str, str]]] = {
    "mp4": ("mp4", {}),
    "fmp4": ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "ts": ("mpegts", {}),
}


def write(
    folder: Path,
    start: datetime,
    seconds: float = 4,
    *,
    kind: Kind = "fmp4",
    codec: Codec = Codec.H264,
    layout: Layout | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: bool = False,
    reordered: bool = False,
) -> Path:
    """Write the segment that begins at ``start``; its pictures bear the number of :func:`number_at`.

    ``reordered``: two of three lie in the file behind one that is shown after them.
    """
    path = folder / (layout or Layout(DEFAULT)).path_of(start)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_file(kind, codec, number_at(start), round(seconds * FPS), size, sound, reordered))
    return path


def cut(path: Path, second: Path, pictures: int) -> None:
    """Move all but the first pictures of a transport stream to a second one, wherever a group ends."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for target, part in ((path, packets[:pictures]), (second, packets[pictures:])):
            with av.open(str(target.with_suffix(".part")), "w", format="mpegts") as output:
                stream = output.add_stream_from_template(container.streams.video[0])
                for packet in part:
                    packet.stream = stream
                    output.mux(packet)
    for target in (path, second):
        target.with_suffix(".part").replace(target)


def number_at(instant: datetime) -> int:
    """The number that the picture of an instant bears: pictures since midnight, as far as 16 bits go."""
    midnight = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    return ((instant - midnight) // PICTURE) & 0xFFFF


@functools.cache
def _file(
    kind: Kind, codec: Codec, first: int, count: int, size: tuple[int, int], sound: bool, reordered: bool
) -> bytes:
    import io

    file = io.BytesIO()
    name, options = _FORMATS[kind]
    with av.open(file, "w", format=name, options=options) as container:
        groups = f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:bframes={2 * reordered}:b-adapt=0:open-gop=0"
        quiet = ":log-level=none:pools=none:frame-threads=1" if codec is Codec.H265 else ""
        parameters = "x265-params" if codec is Codec.H265 else "x264-params"
        video = container.add_stream(
            _ENCODERS[codec], rate=FPS, options={"preset": "ultrafast", parameters: groups + quiet}
        )
        video.width, video.height, video.pix_fmt = *size, "gray" if codec is Codec.H264 else "yuv420p"
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for index in range(count):
            luma = np.full((size[1], size[0]), 90, np.uint8)
            draw_counter(luma, first + index)
            frame = av.VideoFrame.from_ndarray(luma, format="gray")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
            if audio is not None:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts, silence.time_base = 8000, AAC_DELAY + index * 320, Fraction(1, 8000)
                container.mux(audio.encode(silence))
        container.mux(video.encode(None))
        if audio is not None:
            container.mux(audio.encode(None))
    return file.getvalue()
