"""Short looping clips, encoded once for all runs and kept in the user's cache.

A clip is a QuickTime file of closed groups of pictures without B-frames, parameter sets both in the container
and in band before each key frame, so that the end joins the beginning. Several processes may ask for the same
clip at once: one encodes, the others wait for its file.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final, Literal

import av
import numpy as np

from halfgateway.errors import HalfGatewayError
from halfgateway.simulator.picture import DuskScene

FPS: Final = 25
"""Frames a second of every clip."""

GOP_FRAMES: Final = 2 * FPS
"""Frames from one key frame to the next where a clip does not say: two seconds, as cameras are usually set."""

CLIP_FRAMES: Final = 4 * GOP_FRAMES
"""Frames of a clip that does not say: eight seconds. The burned-in counter stays below it."""

AUDIO_RATE_HZ: Final = 8000
"""Sampling rate of the audio track: PCMA's only one (RFC 3551 section 4.5.14)."""

_VERSION: Final = 1  # Raised when the encoder's settings or the picture change: old files are left alone.
_LOCK_POLL_S: Final = 0.05
_TONE_HZ: Final = 440  # A whole number of periods in a clip: no click at the seam.
_AUDIO_BLOCK: Final = AUDIO_RATE_HZ // FPS

Codec = Literal["h264", "h265"]


class ClipError(HalfGatewayError):
    """A clip can neither be read from the cache nor encoded into it."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What a clip shows and how it is encoded; equal specifications share one file.

    ``gop_frames`` lie from one key frame to the next, and ``frames`` are a whole number of such groups.
    """

    title: str
    codec: Codec
    width: int
    height: int
    bit_rate: int
    audio: bool = False
    gop_frames: int = GOP_FRAMES
    frames: int = CLIP_FRAMES

    @property
    def key(self) -> str:
        """The file's name without suffix: readable, and unlike that of any other content."""
        content = json.dumps({**asdict(self), "version": _VERSION}, sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return f"{self.codec}-{self.height}p-{digest}"


def default_cache(environment: Mapping[str, str]) -> Path:
    """Return the clips' folder: ``$XDG_CACHE_HOME/halfgateway/clips``, or the same under ``~/.cache``."""
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification has relative paths ignored.
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "halfgateway" / "clips"


def ensure_clip(spec: ClipSpec, cache: Path, *, abandoned: Callable[[], bool] = lambda: False) -> Path:
    """Return the clip's file, encoding it first if no process has done so yet.

    Blocks for some seconds the first time: call it in a thread, and have ``abandoned`` answer True when its result
    is no longer wanted. Raises :class:`ClipError`, also when abandoned.
    """
    path = cache / f"{spec.key}.mov"
    if path.exists():
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _only_one(cache / f"{spec.key}.lock", abandoned):
            if not path.exists():
                _encode_into(spec, path, abandoned)
    except OSError as error:
        raise ClipError(f"cannot keep clips in {cache} (see XDG_CACHE_HOME): {error}") from error
    return path


@contextmanager
def _only_one(lock: Path, abandoned: Callable[[], bool]) -> Iterator[None]:
    """Hold an advisory lock that the system releases even if this process is killed."""
    with lock.open("ab") as handle:
        while not _locked(handle):
            _continue_unless(abandoned)
            time.sleep(_LOCK_POLL_S)
        yield


def _locked(handle: BinaryIO) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _continue_unless(abandoned: Callable[[], bool]) -> None:
    if abandoned():
        raise ClipError("the clip is no longer wanted")


def _encode_into(spec: ClipSpec, path: Path, abandoned: Callable[[], bool]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".part")
    os.close(handle)
    draft = Path(name)
    try:
        _encode(spec, draft, abandoned)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _encode(spec: ClipSpec, path: Path, abandoned: Callable[[], bool]) -> None:
    scene = DuskScene(width=spec.width, height=spec.height, period=spec.frames, title=spec.title)
    with av.open(str(path), "w", format="mov") as container:
        video = container.add_stream(_ENCODERS[spec.codec], rate=FPS, options=_options(spec))
        video.width, video.height, video.pix_fmt = spec.width, spec.height, "yuv420p"
        video.bit_rate = spec.bit_rate
        video.codec_context.thread_count = 1  # Slices of several threads would change with the machine.
        sound = container.add_stream("pcm_alaw", rate=AUDIO_RATE_HZ, layout="mono") if spec.audio else None
        for counter in range(spec.frames):
            _continue_unless(abandoned)
            frame = av.VideoFrame.from_ndarray(scene.frame(counter), format="bgr24")
            frame.pts, frame.time_base = counter, Fraction(1, FPS)
            container.mux(video.encode(frame))
            if sound is not None:
                container.mux(sound.encode(_tone(counter)))
        container.mux(video.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))


def _tone(block: int) -> av.AudioFrame:
    """Return the tone's samples that last as long as video frame number ``block``."""
    first = block * _AUDIO_BLOCK
    moments = np.arange(first, first + _AUDIO_BLOCK) / AUDIO_RATE_HZ
    samples = (8000 * np.sin(2 * np.pi * _TONE_HZ * moments)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis, :], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE_HZ, first, Fraction(1, AUDIO_RATE_HZ)
    return frame


_ENCODERS: Final[Mapping[Codec, Literal["libx264", "libx265"]]] = {"h264": "libx264", "h265": "libx265"}


def _options(spec: ClipSpec) -> dict[str, str]:
    kbit = spec.bit_rate // 1000
    groups = f"keyint={spec.gop_frames}:min-keyint={spec.gop_frames}:scenecut=0:bframes=0:open-gop=0"
    common = f"{groups}:repeat-headers=1:vbv-maxrate={kbit * 4 // 3}:vbv-bufsize={kbit}"
    if spec.codec == "h264":
        parameters = {"profile": "baseline", "x264-params": common}
    else:
        one_thread, quiet = "pools=none:frame-threads=1", "log-level=none:info=0"
        parameters = {"x265-params": f"{common}:ctu=32:{one_thread}:{quiet}"}
    return {"preset": "ultrafast", "tune": "zerolatency", **parameters}
