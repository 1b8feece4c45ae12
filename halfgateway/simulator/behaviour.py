"""How a simulated camera misbehaves on demand: the knobs that tests turn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum

from halfgateway.protocol.digest import Algorithm


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer given instead of serving: ``status`` is 401, 453, 503 …, ``retry_after_s`` goes with it."""

    status: int
    retry_after_s: int | None = None


class OnvifAuth(Enum):
    """A way in which a camera takes credentials over ONVIF (Core 7.9)."""

    HTTP_DIGEST = "http-digest"
    USERNAME_TOKEN = "username-token"  # noqa: S105 (the name of a scheme)


class LowerTransport(StrEnum):
    """What a camera sends its RTP over: interleaved on the RTSP connection, or in datagrams."""

    TCP = "TCP"
    UDP = "UDP"


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """The state of a simulated camera's knobs; each may be changed while it runs.

    ``connection_limit`` is how many RTSP connections it takes: it closes further ones at once, as its small TCP stack
    would. ``session_limit`` is how many sessions it serves, a further SETUP is answered 453; ``session_timeout_s`` how
    long one lives without a sign of life. ``transports`` are what it sends its RTP over: SETUP of any other is answered
    461. ``digest`` are the algorithms it challenges for. ``clock_offset_s`` is how far its clock is ahead of the real
    one. With ``stalled`` it sends no media and keeps the connection; without ``answers_keep_alive`` it leaves OPTIONS
    and GET_PARAMETER of a running session unanswered.
    ``rtsp_refusal`` is the answer to every DESCRIBE, SETUP and PLAY; with ``onvif_refused`` no credentials are
    good for ONVIF, otherwise those given in one of the ways ``onvif_auth``. With ``announces_internal_address``
    it writes its own address, where nothing answers, into every ONVIF answer, as devices behind NAT do. With
    ``odd_soap`` it tells no UTC time, answers what it does not have by a bare HTTP 400, and writes its faults with
    a prefix that it never declares (quirk onvif-odd-soap). Every ``drop_every_s`` all its connections break; None:
    never.
    """

    connection_limit: int = 32
    session_limit: int = 8
    session_timeout_s: float = 60.0
    transports: frozenset[LowerTransport] = frozenset(LowerTransport)
    digest: tuple[Algorithm, ...] = (Algorithm.MD5,)
    clock_offset_s: float = 0.0
    stalled: bool = False
    answers_keep_alive: bool = True
    rtsp_refusal: Refusal | None = None
    onvif_refused: bool = False
    onvif_auth: frozenset[OnvifAuth] = frozenset(OnvifAuth)
    announces_internal_address: bool = False
    odd_soap: bool = False
    drop_every_s: float | None = None
