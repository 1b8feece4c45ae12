"""The state table against the text of RFC 2326 appendix A, every pair (rows 12, 17, 18, 21 to 23)."""

from __future__ import annotations

import pytest

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.states import (
    PUBLIC_METHODS,
    REFUSED_METHODS,
    ServerState,
    allowed,
    next_server_state,
)

S = ServerState
STATELESS = ("OPTIONS", "DESCRIBE", "GET_PARAMETER", "SET_PARAMETER")
#: The transitions as appendix A.2 prints them, without recording; PAUSE in READY from RFC 7826 section 13.6.
PRINTED = {
    (S.INIT, "SETUP"): S.READY,
    (S.INIT, "TEARDOWN"): S.INIT,
    (S.READY, "PLAY"): S.PLAYING,
    (S.READY, "SETUP"): S.READY,
    (S.READY, "PAUSE"): S.READY,
    (S.READY, "TEARDOWN"): S.INIT,
    (S.PLAYING, "PLAY"): S.PLAYING,
    (S.PLAYING, "PAUSE"): S.READY,
    (S.PLAYING, "SETUP"): S.PLAYING,
    (S.PLAYING, "TEARDOWN"): S.INIT,
}


@pytest.mark.parametrize("state", S)
@pytest.mark.parametrize("method", PUBLIC_METHODS)
def test_every_pair_is_as_printed(state: ServerState, method: str) -> None:
    # row 17
    expected = state if method in STATELESS else PRINTED.get((state, method))
    if expected is None:
        with pytest.raises(RemoteProtocolError) as caught:
            next_server_state(state, method)
        assert caught.value.status == 455
        assert method not in allowed(state)
    else:
        assert next_server_state(state, method) is expected
        assert method in allowed(state)


@pytest.mark.parametrize("state", S)
def test_what_only_watches_refuses_the_rest(state: ServerState) -> None:  # S09
    for method in REFUSED_METHODS:
        with pytest.raises(RemoteProtocolError) as caught:
            next_server_state(state, method)
        assert caught.value.status == 405
    for method in ("play", "PLAY_NOTIFY", "BREW", ""):
        with pytest.raises(RemoteProtocolError) as caught:
            next_server_state(state, method)
        assert caught.value.status == 501
