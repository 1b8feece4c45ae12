"""How a camera's session is kept alive: by what was seen to work with it.

RFC 2326 section 12.37; docs/conformance.md row 27.
"""

from __future__ import annotations

from halfgateway.upstream.backoff import CameraFailure
from halfgateway.upstream.client import CameraClient

HANG_UPS_BELIEVED = 2
"""Connections lost in a row while GET_PARAMETER waited for its answer, for it to be the cause: one may be chance."""


class KeepAlive:
    """What one camera, over all its connections, is asked so that it keeps our session.

    Some cameras heed only GET_PARAMETER; some announce it and refuse it, never answer it, or hang up on it. So it is
    asked where it is announced, and OPTIONS at once where that was not answered: alone from then on, if that was.
    """

    def __init__(self) -> None:
        self._methods: tuple[str, ...] = ("OPTIONS",)
        self._hang_ups = 0
        self._only_options = False

    def announced(self, public: str | None) -> None:
        """Take the ``Public`` header of a new connection."""
        known = {method.strip().upper() for method in (public or "").split(",")}
        self._methods = ("OPTIONS",)
        if "GET_PARAMETER" in known and not self._only_options:
            self._methods = ("GET_PARAMETER", "OPTIONS")

    async def ask(self, client: CameraClient, url: str, session: str, *, patience_s: float) -> None:
        """Ask, waiting ``patience_s`` seconds for each answer. That none comes is no fault while pictures do."""
        for method in self._methods:
            try:
                await client.request(method, url, {"Session": session}, timeout_s=patience_s)
            except CameraFailure:
                if client.closed.done():
                    self._lost_while_asking(method)
                    return
            else:
                self._answered(method)
                return

    def tell(self, client: CameraClient, url: str, session: str) -> None:
        """Ask without waiting for an answer, which stands behind media that is not read yet."""
        client.tell(self._methods[0], url, {"Session": session})

    def _answered(self, method: str) -> None:
        self._hang_ups = 0
        if method != self._methods[0]:
            self._only_options, self._methods = True, ("OPTIONS",)

    def _lost_while_asking(self, method: str) -> None:
        if method == "GET_PARAMETER":
            self._hang_ups += 1
            self._only_options = self._hang_ups >= HANG_UPS_BELIEVED
