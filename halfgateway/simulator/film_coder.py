"""Film as an encoder gives it, for any instant of any day, without encoding days.

Of a group of pictures only the key picture differs from that of another group: the predicted ones change what they
show of their place in the group and nothing else, so that one set of them follows every key picture. The set is
encoded when a coder is made, a key picture when it is first wanted: some milliseconds for two seconds of film.
"""

from __future__ import annotations

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, Literal, Protocol

import av
from av.video.frame import PictureType
from av.video.stream import VideoStream

from halfgateway.simulator.clips import FPS, ClipError, Codec
from halfgateway.simulator.film import GROUP_FRAMES, FilmScene
from halfgateway.simulator.packets import PACKET_BYTES, AccessUnit, Packetiser, format_parameters

SIZES: Final[Mapping[Codec, tuple[int, int]]] = {"h264": (640, 360), "h265": (320, 180)}
"""Width and height of film; H.265 costs many times more to encode."""

KEPT_GROUPS: Final = 1024
"""Key pictures that are kept: some 20 MB, half an hour of film. The one that was wanted longest ago goes first."""

_FRAME_TIME: Final = Fraction(1, FPS)
_START_CODE: Final = re.compile(rb"\x00*\x00\x00\x01")
_ENCODERS: Final[Mapping[Codec, Literal["libx264", "libx265"]]] = {"h264": "libx264", "h265": "libx265"}
# Nothing is copied from further than a few samples away: see film.py on its rows.
_COMMON: Final = "keyint=100000:min-keyint=1:scenecut=0:bframes=0:open-gop=0:repeat-headers=1:ref=1:merange=4"
_OPTIONS: Final[Mapping[Codec, Mapping[str, str]]] = {
    "h264": {"profile": "baseline", "x264-params": f"{_COMMON}:qp=30"},
    "h265": {
        "x265-params": f"{_COMMON}:qp=26:ctu=16:max-tu-size=16:no-deblock=1:no-sao=1:rd=1:weightp=0"
        ":pools=none:frame-threads=1:log-level=none:info=0"
    },
}


class Coder(Protocol):
    """Gives the pictures of a recording, for any instant, as packets."""

    @property
    def codec(self) -> Codec:
        """What they are coded in."""

    @property
    def format_parameters(self) -> str:
        """The parameters of ``a=fmtp``."""

    def packets(self, frame: int) -> AccessUnit:
        """The RTP packets of a picture. Blocks unless :meth:`is_ready`. Raises ClipError."""

    def is_ready(self, frame: int) -> bool:
        """Whether a picture is given without blocking."""


class FilmCoder:
    """Gives the film of one codec, to any number of threads."""

    def __init__(self, codec: Codec) -> None:
        """Encodes one group, which takes some tenths of a second. Raises ClipError."""
        self.codec: Final = codec
        self._scene = FilmScene(width=SIZES[codec][0], height=SIZES[codec][1])
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, tuple[AccessUnit, bytes]] = OrderedDict()
        self._encoded = GROUP_FRAMES
        try:
            model = _encode_group(codec, self._scene)
            self._container = av.open(io.BytesIO(model), "r", format="mov")
            self._template = self._container.streams.video[0]
            self._packetiser = Packetiser(self._template, PACKET_BYTES)
            units = [packet for packet in self._container.demux(self._template) if packet.size]
            self._predicted_units = [bytes(packet) for packet in units[1:]]
            self._predicted = [AccessUnit(self._packetiser.cut(packet), key=False) for packet in units[1:]]
            self._encoder = _encoder(codec)
            self.format_parameters: Final = format_parameters(codec, bytes(units[0]))
        except (av.FFmpegError, IndexError) as error:
            raise ClipError(f"{codec} cannot be encoded here: {error}") from error

    @property
    def template(self) -> VideoStream:
        """A stream that says what the access units are, to whoever puts them into a file."""
        return self._template

    def packets(self, frame: int) -> AccessUnit:
        """The RTP packets of a picture. Blocks for some milliseconds where its group is new. Raises ClipError."""
        group, place = divmod(frame, GROUP_FRAMES)
        return self._predicted[place - 1] if place else self._key(group)[0]

    def access_unit(self, frame: int) -> bytes:
        """A picture as containers store it: each NAL unit after its length in four bytes. Raises ClipError."""
        group, place = divmod(frame, GROUP_FRAMES)
        return self._predicted_units[place - 1] if place else self._key(group)[1]

    def is_ready(self, frame: int) -> bool:
        """Whether a picture is given without blocking."""
        return frame % GROUP_FRAMES != 0 or frame // GROUP_FRAMES in self._groups

    def _key(self, group: int) -> tuple[AccessUnit, bytes]:
        with self._lock:
            kept = self._groups.get(group)
            if kept is None:
                kept = self._groups[group] = self._encode_key(group)
                if len(self._groups) > KEPT_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return kept

    def _encode_key(self, group: int) -> tuple[AccessUnit, bytes]:
        frame = _video_frame(self._scene, group * GROUP_FRAMES, pts=self._encoded)
        frame.pict_type = PictureType.I
        self._encoded += 1
        try:
            encoded = b"".join(bytes(packet) for packet in self._encoder.encode(frame))
            unit = b"".join(_with_lengths(encoded))
            packets = self._packetiser.cut(packet_of(unit, pts=self._encoded, key=True))
        except av.FFmpegError as error:
            raise ClipError(f"{self.codec} cannot be encoded: {error}") from error
        return AccessUnit(packets, key=True), unit


def packet_of(access_unit: bytes, *, pts: int, key: bool) -> av.Packet[Any]:
    """An access unit as FFmpeg's muxers take it, ``pts`` pictures after the first."""
    packet: av.Packet[Any] = av.Packet(access_unit)
    packet.pts = packet.dts = pts
    packet.duration = 1
    packet.time_base = _FRAME_TIME
    packet.is_keyframe = key
    return packet


def _encode_group(codec: Codec, scene: FilmScene) -> bytes:
    """One group in a file of its own, from which the predicted pictures are taken."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream(_ENCODERS[codec], rate=FPS, options=_options(codec))
        stream.width, stream.height = SIZES[codec]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for place in range(GROUP_FRAMES):
            container.mux(stream.encode(_video_frame(scene, place, pts=place)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _encoder(codec: Codec) -> av.VideoCodecContext:
    encoder = av.VideoCodecContext.create(_ENCODERS[codec], "w")
    encoder.width, encoder.height = SIZES[codec]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base, encoder.framerate = _FRAME_TIME, Fraction(FPS)
    encoder.thread_count = 1
    encoder.options = _options(codec)
    return encoder


def _options(codec: Codec) -> dict[str, str]:
    return {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", **_OPTIONS[codec]}


def _video_frame(scene: FilmScene, number: int, *, pts: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(scene.picture(number), format="yuv420p")
    frame.pts, frame.time_base = pts, _FRAME_TIME
    return frame


def _with_lengths(byte_stream: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream (H.264 annex B), each after its length in four bytes."""
    units: Sequence[bytes] = _START_CODE.split(byte_stream)
    for unit in units[1:]:
        yield len(unit).to_bytes(4, "big") + unit


_made: dict[Codec, FilmCoder] = {}
_making = threading.Lock()


def film_coder(codec: Codec) -> FilmCoder:
    """The process's one coder of this codec. Blocks for some tenths of a second the first time. Raises ClipError."""
    with _making:
        if codec not in _made:
            _made[codec] = FilmCoder(codec)
        return _made[codec]
