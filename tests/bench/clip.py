"""What a bench camera plays: 1080p25 H.264 of a given bitrate and group length, encoded once on a machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from halfgateway.simulator.clips import FPS, ClipSpec, default_cache, ensure_clip
from halfgateway.simulator.packets import AccessUnit, Clip, load_clip

WIDTH, HEIGHT = 1920, 1080
SHORTEST_CLIP_FRAMES: Final = 8 * FPS

_SLICES: Final = frozenset({1, 5})
_FRAGMENT: Final = 28


@dataclass(frozen=True, slots=True)
class Picture:
    """One access unit as RTP payloads with their markers; the frame's number goes before ``counter_at``."""

    payloads: tuple[tuple[bytes, bool], ...]
    counter_at: int
    key: bool


@dataclass(frozen=True, slots=True)
class BenchClip:
    """A clip that repeats for ever; ``source`` is what its description is made from."""

    source: Clip
    pictures: tuple[Picture, ...]

    @property
    def frames_to_key(self) -> int:
        """Frames from one key frame to the next."""
        return self.source.spec.gop_frames


def bench_spec(mbps: int, gop_s: int) -> ClipSpec:
    """What a camera of so many megabits a second and so long a group shows."""
    gop_frames = gop_s * FPS
    frames = max(gop_frames, SHORTEST_CLIP_FRAMES)
    return ClipSpec("Banc d'essai", "h264", WIDTH, HEIGHT, mbps * 1_000_000, gop_frames=gop_frames, frames=frames)


def bench_clip(spec: ClipSpec) -> BenchClip:
    """Load it from the cache, having encoded it there if need be. Blocks for some seconds. Raises ClipError."""
    clip = load_clip(spec, ensure_clip(spec, default_cache(os.environ)))
    return BenchClip(clip, tuple(_picture(unit) for unit in clip.access_units))


def _picture(unit: AccessUnit) -> Picture:
    payloads = tuple((packet.payload, packet.marker) for packet in unit.packets)
    counter_at = next(number for number, (payload, _) in enumerate(payloads) if _begins_slice(payload))
    return Picture(payloads, counter_at, unit.key)


def _begins_slice(payload: bytes) -> bool:
    kind = payload[0] & 0x1F
    return kind in _SLICES or (kind == _FRAGMENT and payload[1] & 0x1F in _SLICES)
