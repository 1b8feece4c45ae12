"""One MP4 file of an export: pictures of one format without a gap, copied bit for bit (L15). Blocking.

What is hashed as the *elementary stream* is, for each NAL unit in the order of its transmission, its length in bytes
(four bytes, big-endian), then the unit itself from its header on, as the recorder sent it. The samples of an MP4 file
are just that (ISO/IEC 14496-15), so anybody can compute it again from the file alone.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections import deque
from datetime import datetime, timedelta
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from halfgateway.exporting.failures import ExportFailed
from halfgateway.exporting.piece import Piece
from halfgateway.protocol.codec import Codec
from halfgateway.protocol.depacketise import START_CODE, AccessUnit

TICKS_HZ = 90_000
"""Ticks a second of a file's clock: RTP's own for video (RFC 3551 section 5), so that no instant is rounded anew."""

REORDERED = 16
"""Pictures held back to find their order of decoding: as many as H.264 and H.265 let one be displayed after (A.3.1)."""

USUAL_TICKS = TICKS_HZ // 25
"""For how long a picture is shown, in ticks, where only one is known; else as long as the one before."""

_FORMATS = {Codec.H264: "h264", Codec.H265: "hevc"}


class PieceWriter:
    """Writes one file, beginning with a picture at which a decoder can begin.

    ``described`` are parameter sets that were told apart from the stream, in their order; they are given to players
    beside it, as all are, and stay out of it.
    """

    def __init__(
        self, path: Path, codec: Codec, first: AccessUnit, at: datetime, *, described: tuple[bytes, ...] = ()
    ) -> None:
        """Raises ExportFailed."""
        self._path = path
        self._codec = codec
        self._start = self._newest = at
        self._pictures = 0
        self._hash = hashlib.sha256()
        self._waiting: deque[tuple[int, AccessUnit]] = deque()
        self._shown: list[int] = []
        self._delay: int | None = None
        self._decoded_last: int | None = None
        self._shown_last: int | None = None
        self._period = USUAL_TICKS
        self._container, self._stream = _open(path, codec, first, described)

    def add(self, unit: AccessUnit, at: datetime) -> None:
        """Take the next picture, in the order of transmission. Raises ExportFailed."""
        self._newest = max(self._newest, at)
        self._pictures += 1
        shown = round((at - self._start) / timedelta(seconds=1) * TICKS_HZ)
        self._waiting.append((shown, unit))
        heapq.heappush(self._shown, shown)
        if len(self._waiting) > REORDERED:
            self._write_next()

    def finish(self) -> Piece:
        """Close the file, and read it once to see that it holds what came. Raises ExportFailed."""
        while self._waiting:
            self._write_next()
        try:
            self._container.close()
            size_bytes = _sync(self._path)
            copied = _stream_sha256(self._path)
            with self._path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, av.FFmpegError) as error:
            raise _not_written(error) from error
        source = self._hash.hexdigest()
        if copied != source:
            raise ExportFailed("La copie diffère de l'original ; elle est abandonnée.", reason="copy-differs")
        return Piece(
            name=self._path.name,
            codec=self._codec.value,
            start=self._start,
            end=self._newest + timedelta(seconds=self._period / TICKS_HZ),
            pictures=self._pictures,
            size_bytes=size_bytes,
            sha256=sha256,
            stream_sha256=source,
        )

    def abandon(self) -> None:
        """Let the file go, whatever is in it."""
        try:
            self._container.close()
        except (OSError, av.FFmpegError):
            return

    def _write_next(self) -> None:
        shown, unit = self._waiting.popleft()
        decoded = self._decoding_time(shown)
        for nal_unit in unit.nal_units:
            self._hash.update(len(nal_unit).to_bytes(4, "big"))
            self._hash.update(nal_unit)
        packet = av.Packet(unit.data)
        packet.stream = self._stream
        packet.time_base = Fraction(1, TICKS_HZ)
        packet.dts, packet.pts = decoded, max(shown, decoded)
        packet.duration = self._period
        packet.is_keyframe = unit.key
        try:
            self._container.mux(packet)
        except (OSError, av.FFmpegError) as error:
            raise _not_written(error) from error

    def _decoding_time(self, shown: int) -> int:
        """The n-th picture is decoded when the n-th is shown, as much earlier as the first pictures need."""
        earliest = heapq.heappop(self._shown)
        if self._shown_last is not None and earliest > self._shown_last:
            self._period = earliest - self._shown_last
        self._shown_last = earliest
        if self._delay is None:
            in_order = [shown, *(waiting for waiting, _ in self._waiting)]
            self._delay = max(due - shows for due, shows in zip(sorted(in_order), in_order, strict=True))
        decoded = min(earliest - self._delay, shown)
        if self._decoded_last is not None:
            decoded = max(decoded, self._decoded_last + 1)
        self._decoded_last = decoded
        return decoded


def _open(path: Path, codec: Codec, first: AccessUnit, described: tuple[bytes, ...]) -> tuple[OutputContainer, Stream]:
    """A file whose track is described as the first picture's own parameter sets, or those told apart, say."""
    told = b"".join(START_CODE + unit for unit in described)
    try:
        with av.open(BytesIO(told + first.data), format=_FORMATS[codec]) as probe:
            template = probe.streams.video[0] if isinstance(probe, InputContainer) else None
            if template is None or not template.codec_context.extradata or not template.codec_context.width:
                raise ExportFailed("L'enregistrement ne dit pas comment le décoder.", reason="not-decodable")
            container = av.open(str(path), "w", format="mp4")
            stream = container.add_stream_from_template(template, opaque=True)
            stream.time_base = Fraction(1, TICKS_HZ)
    except av.InvalidDataError as error:
        raise ExportFailed("L'enregistrement ne dit pas comment le décoder.", reason="not-decodable") from error
    except (OSError, av.FFmpegError) as error:
        raise _not_written(error) from error
    return container, stream


def _sync(path: Path) -> int:
    """Make a file durable; its size in bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _stream_sha256(path: Path) -> str:
    found = hashlib.sha256()
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            found.update(bytes(packet))
    return found.hexdigest()


def _not_written(error: OSError | av.FFmpegError) -> ExportFailed:
    return ExportFailed(f"Les fichiers n'ont pu être écrits : {error.strerror or error}.", reason="not-written")
