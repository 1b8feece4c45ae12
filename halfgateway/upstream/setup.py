"""SETUP: how a camera sends its video. Interleaved wherever it can; by UDP where it has nothing else.

Interleaved media is whole, in order, and passes where the request passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.session import Session
from halfgateway.protocol.transport import Pair, Transport, parse_transports
from halfgateway.relay.chunk import RTCP_CHANNEL, RTP_CHANNEL
from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import USER_AGENT, CameraClient, OnDatagrams
from halfgateway.upstream.datagrams import REPORT_INTERVAL_S, DatagramMedia
from halfgateway.upstream.presentation import Presentation

DEFAULT_SESSION_TIMEOUT_S = 60
"""What a camera means that names no timeout (RFC 2326 section 12.37)."""

SHORTEST_KEEP_ALIVE_S = 0.5
"""Between two signs of life, whatever timeout a camera names."""

UNSUPPORTED_TRANSPORT = 461

_INTERLEAVED = Transport(lower="TCP", interleaved=(RTP_CHANNEL, RTCP_CHANNEL))


@dataclass(frozen=True, slots=True)
class Granted:
    """A session, and how its video comes: on ``channels`` of the connection, or by ``datagrams``. To be closed once."""

    session: Session
    channels: Pair
    datagrams: DatagramMedia | None = None

    @property
    def keep_alive_s(self) -> float:
        """Seconds between two signs of life."""
        return _keep_alive_s(self.session)

    def close(self) -> None:
        """Give back what the session took of this machine."""
        if self.datagrams is not None:
            self.datagrams.close()


async def set_up(
    client: CameraClient,
    presentation: Presentation,
    on_datagrams: OnDatagrams,
    *,
    now: Callable[[], float],
) -> Granted:
    """Set up the camera's video; what comes by UDP goes to ``on_datagrams``, on the hub's channels.

    Raises CameraFailure.
    """
    session: Session | None = None
    try:
        session, transport = await _ask(client, presentation, _INTERLEAVED, session)
    except CameraFailure as failure:
        if failure.status != UNSUPPORTED_TRANSPORT:
            raise
    else:
        if not _by_udp(transport):
            return Granted(session, _channels(transport))
    with ExitStack() as undo:
        datagrams = _open(client, presentation, on_datagrams, now)
        undo.callback(datagrams.close)
        asked = Transport(lower="UDP", client_port=datagrams.ports)
        session, transport = await _ask(client, presentation, asked, session)
        if not _by_udp(transport) or transport.multicast:
            raise CameraFailure("La caméra n'offre ni TCP entrelacé ni UDP en point à point.")
        report_every_s = min(REPORT_INTERVAL_S, _keep_alive_s(session))
        datagrams.begin(transport.server_port, cname=USER_AGENT, report_every_s=report_every_s)
        undo.pop_all()
    return Granted(session, (RTP_CHANNEL, RTCP_CHANNEL), datagrams)


async def set_up_interleaved(
    client: CameraClient, presentation: Presentation, headers: Mapping[str, str] = MappingProxyType({})
) -> Granted:
    """Set up the video interleaved or not at all, with ``headers`` beside ``Transport``. Raises CameraFailure."""
    session, transport = await _ask(client, presentation, _INTERLEAVED, None, headers)
    if _by_udp(transport):
        raise CameraFailure("La caméra n'offre pas TCP entrelacé.", status=UNSUPPORTED_TRANSPORT)
    return Granted(session, _channels(transport))


async def _ask(
    client: CameraClient,
    presentation: Presentation,
    asked: Transport,
    session: Session | None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Session, Transport]:
    """One SETUP, in the session that the camera has given already if it has."""
    headers = {"Transport": str(asked), **more}
    if session is not None:
        headers["Session"] = session.id
    answer = await client.request("SETUP", presentation.track_url, headers)
    try:
        session = Session.parse(answer.headers.get("Session") or "")
        granted = parse_transports(answer.headers.get("Transport") or str(asked))
    except RemoteProtocolError as error:
        raise CameraFailure("La caméra répond à SETUP de façon illisible.") from error
    return session, granted[0] if granted else asked


def _by_udp(granted: Transport) -> bool:
    """Whether a camera has chosen UDP. Some leave out ``/TCP`` of what they send interleaved."""
    names_ports = granted.client_port or granted.server_port or granted.multicast
    return granted.lower == "UDP" and granted.interleaved is None and bool(names_ports)


def _channels(transport: Transport) -> Pair:
    channels = transport.interleaved or (RTP_CHANNEL, RTCP_CHANNEL)
    if channels[0] == channels[1]:
        raise CameraFailure("La caméra donne un seul canal au flux et à son contrôle.")
    return channels


def _open(
    client: CameraClient,
    presentation: Presentation,
    on_datagrams: OnDatagrams,
    now: Callable[[], float],
) -> DatagramMedia:
    own_host, camera_host = client.hosts
    try:
        return DatagramMedia(own_host, camera_host, presentation.video.clock_rate_hz, on_datagrams, now=now)
    except OSError as error:
        raise CameraFailure("Aucun port UDP n'est libre pour la caméra.") from error


def _keep_alive_s(session: Session) -> float:
    return max(SHORTEST_KEEP_ALIVE_S, (session.timeout_s or DEFAULT_SESSION_TIMEOUT_S) / 2)
