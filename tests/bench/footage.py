"""The bench's recorders, in a process of their own: ``python -m tests.bench.footage`` with a JSON line of settings.

What bench cameras send is what was recorded of them: a simulated recorder replays it by ONVIF and by a maker's URL, and
a folder has it in segments. Settings: ``{"folder", "mbps", "gop_s"}``; the answer tells how each is reached, and
``begins``, when the footage in the folder does. It leaves when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import av

from camera_registry.clock import SystemClock
from halfgateway.simulator.clips import Codec, default_cache, ensure_clip
from halfgateway.simulator.packets import AccessUnit, load_clip
from halfgateway.simulator.recorder import SimulatedRecorder
from halfgateway.simulator.recorder_behaviour import RecorderBehaviour
from halfgateway.simulator.recordings import Kind, Recording, stretches
from halfgateway.simulator.segments import PATTERN
from tests.bench.clip import bench_spec
from tests.bench.identities import bench_identity

HOST: Final = "127.0.0.1"
KINDS: Final = ("segments", "onvif", "url")
"""How the first cameras are recorded, in their order."""

SESSIONS: Final = 64
"""Replays that a recorder gives at once: more than the largest scene has."""

BEGINS_AGO: Final = timedelta(hours=1)
SEGMENT: Final = timedelta(minutes=1)
SEGMENTS: Final = 15
"""All of them are one file under as many names: each begins with the clip's first picture."""

_OPTIONS: Final = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


class BenchCoder:
    """Gives a bench camera's clip again and again, for any instant; its groups are of the film's length."""

    codec: Final[Codec] = "h264"

    def __init__(self, mbps: int, gop_s: int) -> None:
        spec = bench_spec(mbps, gop_s)
        self.path: Final = ensure_clip(spec, default_cache(os.environ))
        clip = load_clip(spec, self.path)
        self._units = clip.access_units
        self.format_parameters: Final = clip.format_parameters

    def packets(self, frame: int) -> AccessUnit:
        """See :class:`halfgateway.simulator.film_coder.Coder`."""
        return self._units[frame % len(self._units)]

    def is_ready(self, _frame: int) -> bool:
        """See :class:`halfgateway.simulator.film_coder.Coder`."""
        return True


def lay_segments(folder: Path, clip: Path, begins: datetime) -> None:
    """Write the segments, as recorders mount them: fragmented MP4."""
    paths = [folder / f"{begins + number * SEGMENT:{PATTERN}}" for number in range(SEGMENTS)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(clip)) as source, av.open(str(paths[0]), "w", format="mp4", options=_OPTIONS) as container:
        video = source.streams.video[0]
        pictures = [(bytes(packet), packet.is_keyframe) for packet in source.demux(video) if packet.size]
        stream = container.add_stream_from_template(video)
        rate = video.average_rate
        assert rate is not None
        for number in range(int(SEGMENT.total_seconds() * rate)):
            data, is_key = pictures[number % len(pictures)]
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, 1 / rate
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, is_key
            container.mux(packet)
    for path in paths[1:]:
        os.link(paths[0], path)


def recording(kind: str, begun: datetime) -> Recording:
    """What the simulated recorder has of the camera that is recorded so."""
    channel = KINDS.index(kind)
    camera = bench_identity(channel).id
    return Recording(
        camera=camera,
        name=camera,
        token=f"Recording{channel}",
        channel=channel,
        stretches=stretches(Kind.CONTINUOUS, begun),
    )


async def serve(folder: str, mbps: int, gop_s: int) -> None:
    """Lay the segments and replay, until the end of standard input."""
    coder, now = BenchCoder(mbps, gop_s), datetime.now(UTC)
    begins = (now - BEGINS_AGO).replace(second=0, microsecond=0)
    segments = Path(folder, bench_identity(0).id)
    await asyncio.to_thread(lay_segments, segments, coder.path, begins)
    replayed = {kind: recording(kind, now) for kind in KINDS[1:]}
    recorder = SimulatedRecorder(
        list(replayed.values()),
        RecorderBehaviour(session_limit=SESSIONS, connection_limit=2 * SESSIONS),
        clock=SystemClock(),
        random_bytes=os.urandom,
        coder_of=lambda _: coder,
    )
    await recorder.start(HOST)
    told: dict[str, Any] = {
        "folder": folder,
        "segments": str(segments),
        "begins": begins.isoformat(),
        "onvif_url": recorder.onvif_url,
        "url": recorder.url_template,
        "username": recorder.identity.username,
        "password": recorder.identity.password,
        "channels": {
            "segments": segments.name,
            "onvif": replayed["onvif"].token,
            "url": str(replayed["url"].channel),
        },
    }
    print(json.dumps(told), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await recorder.stop()


def main() -> None:
    """Read the settings and serve."""
    asyncio.run(serve(**json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
