"""Every error that the gateway raises on purpose.

A refusal is an answer that the convention, or the state of the house, obliges us to give; its reason code is
shared by the HTTP problem type, the trace and RTSP's ``X-Refusal``. A protocol error is the
remote's fault or ours. Anything else that escapes is a bug.
"""

from __future__ import annotations

from typing import ClassVar


class HalfGatewayError(Exception):
    """Base of every declared error of the gateway."""


class ProtocolError(HalfGatewayError):
    """Bytes or a call that the protocol does not allow."""


class RemoteProtocolError(ProtocolError):
    """The remote sent what RTSP, RTP or SDP does not allow.

    ``status`` is the RTSP answer that a server gives before it closes (RFC 2326 section 11).
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LocalProtocolError(ProtocolError):
    """Our own side asked for something that its state does not allow: a bug of the caller."""


class Refusal(HalfGatewayError):
    """A request that is refused, for a reason that may be told.

    ``code`` is the reason code; ``http_status`` and ``rtsp_status`` the answers; ``article`` the
    article of the convention (or of the law) that applies, where one does. ``reason`` is finer than the code, and for
    the trace alone.
    """

    code: ClassVar[str]
    http_status: ClassVar[int]
    rtsp_status: ClassVar[int]
    article: ClassVar[str | None] = None

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None, reason: str | None = None) -> None:
        super().__init__(detail or self.code)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.reason = reason


class Unauthenticated(Refusal):
    """No credentials, or wrong ones; which of the two is never told."""

    code, http_status, rtsp_status = "unauthenticated", 401, 401
    article = "article 6"


class NotHabilitated(Refusal):
    """The requester's role or habilitation does not allow this."""

    code, http_status, rtsp_status = "not-habilitated", 403, 403
    article = "article 6"


class AssertionInvalid(Refusal):
    """The assertion that a machine sent of its agent does not count; what is wrong with it is the trace's to tell."""

    code, http_status, rtsp_status = "assertion-invalid", 403, 403
    article = "article 6"


class CameraNotAuthorised(Refusal):
    """No prefectoral order in force covers the camera (CSI L252-1)."""

    code, http_status, rtsp_status = "camera-not-authorised", 403, 403
    article = "article 1"


class OrderSuspended(Refusal):
    """The prefectoral order that covers the camera is suspended (CSI L252-4)."""

    code, http_status, rtsp_status = "order-suspended", 403, 403
    article = "article 1"


class RecipientNotAuthorised(Refusal):
    """The order does not make the agent's service a recipient of the images (CSI L252-3)."""

    code, http_status, rtsp_status = "recipient-not-authorised", 403, 403
    article = "article 1"


class SiteNotDeclared(Refusal):
    """The viewing site is not one that PP has declared (annex 6)."""

    code, http_status, rtsp_status = "site-not-declared", 403, 403
    article = "article 5"


class ConventionNotInForce(Refusal):
    """The convention has not begun, or has ended."""

    code, http_status, rtsp_status = "convention-not-in-force", 403, 403
    article = "article 11"


class ModeDegraded(Refusal):
    """The interconnection goes on with less, in a mode that PP has agreed to, and this is not part of it (P01)."""

    code, http_status, rtsp_status = "degraded-mode", 503, 503
    article = "article 8"


class CharterNotAcknowledged(Refusal):
    """The agent has not acknowledged the version of the charter that is in force (annex 7)."""

    code, http_status, rtsp_status = "charter-not-acknowledged", 403, 403
    article = "article 12"


class UnknownCamera(Refusal):
    """No such camera, or none that the requester may know of."""

    code, http_status, rtsp_status = "unknown-camera", 404, 404


class NoRecording(Refusal):
    """No footage exists for this camera and period (article 6, obligation de moyens)."""

    code, http_status, rtsp_status = "no-recording", 404, 457
    article = "article 6"


class OutsideRetention(Refusal):
    """The period begins before what may be reached, or is to come (C03)."""

    code, http_status, rtsp_status = "outside-retention", 410, 457
    article = "article 6"


class CapReached(Refusal):
    """As many streams are open as the convention allows (article 4)."""

    code, http_status, rtsp_status = "cap-reached", 409, 453
    article = "article 4"


class BandwidthReached(Refusal):
    """One more stream would take more of the line to the prefecture than it has (L10)."""

    code, http_status, rtsp_status = "bandwidth-reached", 409, 453


class TransportNotOffered(Refusal):
    """The camera's packets cannot be passed on whole by the transport that was asked for."""

    code, http_status, rtsp_status = "transport-not-offered", 406, 461


class InvalidRequest(Refusal):
    """The request itself is wrong; the detail lists every fault."""

    code, http_status, rtsp_status = "invalid-request", 422, 400


class Throttled(Refusal):
    """Too many attempts from this source; says nothing of any account."""

    code, http_status, rtsp_status = "throttled", 429, 503


class InterconnectionCut(Refusal):
    """SYN has cut the interconnection (article 8)."""

    code, http_status, rtsp_status = "interconnection-cut", 503, 503
    article = "article 8"


class CameraUnreachable(Refusal):
    """The camera is known, and does not answer."""

    code, http_status, rtsp_status = "camera-unreachable", 503, 503
    article = "article 6"


class RecorderUnreachable(Refusal):
    """The recorder is known, and does not answer, or has no session to give (article 6, obligation de moyens)."""

    code, http_status, rtsp_status = "recorder-unreachable", 503, 503
    article = "article 6"


class TraceUnavailable(Refusal):
    """The access cannot be traced, so it does not happen (T01)."""

    code, http_status, rtsp_status = "trace-unavailable", 503, 503
    article = "article 6"


class PreflightFailed(Refusal):
    """The interconnection stays cut: ``missing`` are the checks of the pre-flight that keep it so."""

    code, http_status, rtsp_status = "preflight-failed", 409, 503
    article = "article 8"

    def __init__(self, detail: str = "", *, missing: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.missing = missing


class ProposalLapsed(Refusal):
    """The restoration that was to be confirmed is proposed no longer: its time is over, or somebody was quicker."""

    code, http_status, rtsp_status = "proposal-lapsed", 409, 503
    article = "article 8"


class StateStoreUnavailable(Refusal):
    """The slots, or the interconnection's state, cannot be known now."""

    code, http_status, rtsp_status = "state-store-unavailable", 503, 503
