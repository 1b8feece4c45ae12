"""Why a granted stream ends, other than by a refusal: the causes of the trace's result entries."""

from __future__ import annotations

from auth.trace.scopes import CLOSED_BY_SYN
from halfgateway.errors import Refusal


class Ending(Refusal):
    """An end that is nobody's fault; its code is the ``cause`` of the result entry."""

    http_status, rtsp_status = 410, 454


class Teardown(Ending):
    """The holder said goodbye."""

    code = "teardown"


class NotPlayed(Ending):
    """The slot was taken, and PLAY did not follow in time."""

    code = "not-played"


class NotResumed(Ending):
    """The connection was lost, and the holder did not come back in time."""

    code = "not-resumed"


class PausedTooLong(Ending):
    """A paused stream held its slot for as long as it may."""

    code = "paused-too-long"


class ClosedOnRequest(Ending):
    """Its owner, the supervisor or SYN's operations closed it; the detail says why."""

    code = "closed-on-request"


class ClosedBySyn(ClosedOnRequest):
    """SYN's operations, or its security officer, closed what is PP's: PP is sent a word of it."""

    code = CLOSED_BY_SYN


class GaveWay(Ending):
    """It was idle for longer than PP's rule allows at the cap, and its slot is another stream's now (S16)."""

    code = "gave-way"


class LoginExpired(Ending):
    """Its agent's login had ended; they were asked to log in again, and did not in time (S15)."""

    code, rtsp_status = "login-expired", 403


class MovedToAnotherNode(Ending):
    """Another node serves the ticket now."""

    code = "moved-to-another-node"


class NodeStopped(Ending):
    """This node was stopped in good order."""

    code = "node-stopped"


class CameraWithdrawn(Ending):
    """The camera, or the profile of it that was shown, is offered no longer: the right to this stream has ended."""

    code, rtsp_status = "camera-withdrawn", 403


class CertificateFallen(Ending):
    """The certificate by which its holder came was revoked, has expired, or is trusted no longer: a mandate's end."""

    code, rtsp_status = "certificate-fallen", 403
