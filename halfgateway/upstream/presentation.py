"""What a camera says of its video (DESCRIBE), and the one track that is ever set up: sound never is (L08)."""

from __future__ import annotations

from dataclasses import dataclass

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol import sdp
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.uri import RtspUri, join
from halfgateway.relay.source import VideoFormat
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import CameraClient, Target

VIDEO_CLOCK_HZ = 90_000
"""The RTP clock of every usual video codec (RFC 3551 section 5), for cameras that do not say."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """A camera's description, reduced to its video: where to SETUP and PLAY it, and what it carries."""

    description: sdp.SessionDescription
    aggregate_url: str
    track_url: str
    video: VideoFormat


async def describe(client: CameraClient, target: Target) -> Presentation:
    """Ask a camera what it has. Raises CameraFailure."""
    response = await client.request("DESCRIBE", target.url, {"Accept": "application/sdp"})
    try:
        address = RtspUri.parse(target.url)
        base = _base(address, response.headers)
        description = sdp.parse(response.body)
        media = sdp.first_video(description)
        return Presentation(
            description,
            aggregate_url=_controlled(address, base, description.control or "*"),
            track_url=_controlled(address, base, media.control or "*"),
            video=_video_format(media),
        )
    except RemoteProtocolError as error:
        raise CameraFailure("La description de la caméra est illisible.") from error


async def probe(target: Target) -> Presentation:
    """Connect, ask DESCRIBE, and leave: no media. Raises CameraFailure."""
    client = await CameraClient.connect(target, lambda batch: False)
    try:
        return await describe(client, target)
    finally:
        client.close()


def _base(address: RtspUri, headers: Headers) -> RtspUri:
    """What relative controls are relative to (RFC 2326 section C.1.1); where it is unreadable, what was asked for."""
    named = headers.get("Content-Base") or headers.get("Content-Location")
    try:
        return address.here(named) if named else address
    except RemoteProtocolError:
        return address


def _controlled(address: RtspUri, base: RtspUri, control: str) -> str:
    """The URL that a control attribute names, always at the address that we were given.

    It can stand between the quotes of ``Authorization``, whatever the camera wrote.
    """
    absolute = "://" in control.partition("?")[0]
    return str(address.here(control) if absolute else join(base, control)).replace('"', "%22")


def _video_format(media: sdp.Media) -> VideoFormat:
    mapped = media.rtpmap.get(media.payload_types[0])
    clock_hz = mapped.clock_hz if mapped is not None else VIDEO_CLOCK_HZ
    return VideoFormat(media.codec, clock_hz, frozenset(media.payload_types))
