"""PLAY of a recording: what the request asks for, and how its answer tells what plays (ONVIF Streaming 6.5)."""

from __future__ import annotations

from halfgateway.downstream.connection import Answer, RtspConnection
from halfgateway.downstream.door import PlayWish, ReplaySeat
from halfgateway.downstream.paths import TRACK, base_url
from halfgateway.downstream.session import SESSION_TIMEOUT_S, RtspSession
from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.headers import Headers
from halfgateway.protocol.messages import Request, response
from halfgateway.protocol.ranges import Range, parse_range
from halfgateway.protocol.replay import FEATURE, PlayOptions, play_options
from halfgateway.protocol.rtp_info import StreamInfo, rtp_info
from halfgateway.protocol.session import Session
from halfgateway.protocol.states import next_server_state


async def play_recording(
    connection: RtspConnection, session: RtspSession, seat: ReplaySeat, request: Request
) -> Answer:
    """Play, or play from elsewhere (a seek). Raises Refusal, RemoteProtocolError."""
    wish = _wish(request)
    if wish.span is not None and connection.is_superseded(session.id):
        return _playing(session, wish.span, wish.options)
    state = next_server_state(session.state, "PLAY")
    playing = await seat.play(wish, lambda: session.make_reader(seat))
    if session.id not in connection.sessions:
        raise RemoteProtocolError("the session has ended", status=454)
    session.state = state
    answer = _playing(session, playing.span, playing.options)
    first = StreamInfo(base_url(request.uri) + TRACK, playing.sequence, playing.timestamp)
    answer.response.headers.add("RTP-Info", rtp_info([first]))
    return Answer(answer.response, after=playing.begin)


def _wish(request: Request) -> PlayWish:
    """What is asked for. GStreamer speaks of ONVIF replay by ``Rate-Control`` alone, and waits for a goodbye."""
    asked, cseq = request.headers.get("Range"), request.headers.get("CSeq") or ""
    required = FEATURE in request.headers.get_all("Require")
    of_onvif = (required or request.headers.get("Rate-Control") is not None) and cseq.isdecimal()
    return PlayWish(
        parse_range(asked) if asked is not None else None,
        play_options(request.headers),
        int(cseq) if of_onvif else None,
        stays=required,
    )


def _playing(session: RtspSession, span: Range, options: PlayOptions) -> Answer:
    headers = Headers([("Session", str(Session(session.id, SESSION_TIMEOUT_S))), ("Range", str(span))])
    for name, value in options.headers().items():
        if name != "Immediate":
            headers.add(name, value)
    return Answer(response(200, headers))
