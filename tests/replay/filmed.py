"""When a decoded picture of the simulated recorder was filmed, and what to expect of it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import av
import numpy.typing as npt

from halfgateway.protocol.codec import Codec
from halfgateway.simulator.film import PICTURE, clean_at, filmed_at, frame_at, instant_of
from tests.depacketise import access_units


def instant_filmed(picture: npt.NDArray[Any]) -> datetime:
    """The instant at which a decoded picture (colour or luma, any size) was filmed, in UTC."""
    instant = filmed_at(picture)
    assert instant is not None, "the picture is damaged, or none of the recorder's"
    return instant


def first_clean(asked: datetime) -> datetime:
    """When the key picture was filmed with which a replay of ``asked`` begins, inside footage."""
    return instant_of(clean_at(frame_at(asked)))


def picture_at(asked: datetime) -> datetime:
    """When the picture was filmed that is shown at ``asked``: within one picture of it."""
    shown = instant_of(frame_at(asked))
    assert asked - PICTURE < shown <= asked
    return shown


def instants_in_packets(packets: Iterable[bytes], codec: Codec = Codec.H264) -> list[datetime]:
    """The instants of the pictures in RTP packets, decoded; with or without the extension of ONVIF."""
    decoder = av.CodecContext.create("hevc" if codec is Codec.H265 else "h264", "r")
    decoder.thread_count = 1
    frames = [frame for unit in access_units(packets, codec) for frame in decoder.decode(av.Packet(unit))]
    frames += decoder.decode(None)
    return [instant_filmed(frame.to_ndarray(format="gray")) for frame in frames]


def instants_in_file(path: str, options: dict[str, str] | None = None, *, most: int | None = None) -> list[datetime]:
    """The instants of the pictures of a file or a URL, decoded by FFmpeg."""
    instants: list[datetime] = []
    with av.open(path, "r", options=options or {}, timeout=20) as container:
        for frame in container.decode(video=0):
            instants.append(instant_filmed(frame.to_ndarray(format="gray")))
            if most is not None and len(instants) == most:
                break
    return instants
