"""What a camera says of its video (DESCRIBE), and the one track that is ever set up: sound never is (L08)."""

from __future__ import annotations

from dataclasses import dataclass

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol import sdp
from halfgateway.protocol.keyframe import Codec
from halfgateway.protocol.uri import resolve_control
from halfgateway.relay.source import VideoFormat
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import CameraClient, Target


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
    base = response.headers.get("Content-Base") or response.headers.get("Content-Location") or target.url
    try:
        description = sdp.parse(response.body)
        media = sdp.first_video(description)
        if media is None:
            raise CameraFailure("La caméra ne présente aucune vidéo.")
        return Presentation(
            description,
            aggregate_url=resolve_control(base, description.control or "*"),
            track_url=resolve_control(base, media.control or "*"),
            video=VideoFormat(Codec.of(media.encoding), media.clock_rate or 90_000),
        )
    except RemoteProtocolError as error:
        raise CameraFailure("La description de la caméra est illisible.") from error


async def probe(target: Target) -> Presentation:
    """Connect, ask OPTIONS and DESCRIBE, and leave: no media. Raises CameraFailure."""
    client = await CameraClient.connect(target, lambda batch: None)
    try:
        return await describe(client, target)
    finally:
        client.close()
