"""A simulated device's one account, by Digest: the same for RTSP and ONVIF (ONVIF Core 7.9.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from camera_registry.clock import Clock
from halfgateway.protocol.digest import Algorithm, DigestVerifier, Outcome, Secrets, ha1
from halfgateway.protocol.uri import same_resource
from halfgateway.simulator.behaviour import Behaviour
from halfgateway.simulator.identity import DeviceIdentity

NONCE_LIFE_S: Final = 300.0
"""How long a device takes one nonce, in seconds."""

_KEY_BYTES: Final = 32


class DigestGate:
    """Checks Digest credentials with the algorithms that the device is set to offer."""

    def __init__(
        self,
        identity: DeviceIdentity,
        behaviour: Behaviour,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._username = identity.username
        self._behaviour = behaviour
        self._clock = clock
        self._verifier = DigestVerifier(identity.model, random_bytes(_KEY_BYTES), NONCE_LIFE_S)
        md5, sha256 = (
            ha1(identity.username, identity.model, identity.password, algorithm)
            for algorithm in (Algorithm.MD5, Algorithm.SHA256)
        )
        self._secrets = Secrets(md5=md5, sha256=sha256)

    def check(self, authorization: str | None, method: str, uri: str) -> tuple[str, ...]:
        """Return the challenges that a request earns, none if its credentials are good."""
        stale = False
        if authorization is not None:
            verdict = self._verifier.verify(authorization, method, self._now_s(), self._secret)
            if verdict.outcome is Outcome.OK and same_resource(verdict.uri, uri):
                return ()
            stale = verdict.outcome is Outcome.STALE
        return self.challenges(stale=stale)

    def challenges(self, *, stale: bool = False) -> tuple[str, ...]:
        """Return the ``WWW-Authenticate`` values that the device is set to offer."""
        offers = self._verifier.challenges(self._now_s(), stale=stale)
        pairs = zip((Algorithm.SHA256, Algorithm.MD5), offers, strict=True)
        return tuple(value for algorithm, value in pairs if algorithm in self._behaviour.digest)

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    def _secret(self, username: str) -> Secrets | None:
        return self._secrets if username == self._username else None
