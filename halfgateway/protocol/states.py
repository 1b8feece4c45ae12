"""The states of an RTSP session, as a table (RFC 2326 appendix A).

How to read it:

1. A row is a state, a column a method; the cell is the state after the method has **succeeded** (a 2xx answer).
   A method that failed changes nothing.
2. An empty cell is a method that is known and not valid in that state: 455 with ``Allow``. Methods without
   any column are not known (501), those of ``REFUSED_METHODS`` are known and never served (405).

A session that does not exist has the state ``INIT``; that a request names no session is the caller's 454.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from halfgateway.errors import RemoteProtocolError


class ServerState(enum.Enum):
    """The server's view of a session (appendix A.2, without recording)."""

    INIT = "init"
    READY = "ready"
    PLAYING = "playing"


#: Known, and refused by a gateway from which one can only watch (S09, docs/conformance.md row 23).
REFUSED_METHODS: Final = ("ANNOUNCE", "RECORD", "REDIRECT")

_S = ServerState
_STATELESS = ("OPTIONS", "DESCRIBE", "GET_PARAMETER", "SET_PARAMETER")

#: SETUP while playing changes a transport and PLAY while playing is a seek or a keep-alive. PAUSE twice is
#: harmless: RFC 7826 (13.6) says of it what RFC 2326 leaves open.
SERVER_TABLE: Final[Mapping[ServerState, Mapping[str, ServerState]]] = MappingProxyType(
    {
        _S.INIT: {**dict.fromkeys(_STATELESS, _S.INIT), "SETUP": _S.READY, "TEARDOWN": _S.INIT},
        _S.READY: {
            **dict.fromkeys(_STATELESS, _S.READY),
            "SETUP": _S.READY,
            "PLAY": _S.PLAYING,
            "PAUSE": _S.READY,
            "TEARDOWN": _S.INIT,
        },
        _S.PLAYING: {
            **dict.fromkeys(_STATELESS, _S.PLAYING),
            "SETUP": _S.PLAYING,
            "PLAY": _S.PLAYING,
            "PAUSE": _S.READY,
            "TEARDOWN": _S.INIT,
        },
    }
)

#: Every method that is served, in the order of ``Public`` (section 12.28).
PUBLIC_METHODS: Final = (
    "OPTIONS",
    "DESCRIBE",
    "SETUP",
    "PLAY",
    "PAUSE",
    "TEARDOWN",
    "GET_PARAMETER",
    "SET_PARAMETER",
)


def allowed(state: ServerState) -> tuple[str, ...]:
    """The methods for ``Allow`` in a state, in the order of ``PUBLIC_METHODS``."""
    return tuple(method for method in PUBLIC_METHODS if method in SERVER_TABLE[state])


def next_server_state(state: ServerState, method: str) -> ServerState:
    """The state after ``method`` has succeeded.

    Raises:
        RemoteProtocolError: 455 not valid in this state, 405 never served here, 501 not known.
    """
    if method in REFUSED_METHODS:
        raise RemoteProtocolError(f"{method} is not served here", status=405)
    if method not in PUBLIC_METHODS:
        raise RemoteProtocolError("the method is not known", status=501)
    after = SERVER_TABLE[state].get(method)
    if after is None:
        raise RemoteProtocolError(f"{method} is not valid in state {state.value}", status=455)
    return after
