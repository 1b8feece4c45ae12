"""The trace's signing key in a PKCS#11 token, which it never leaves (T04).

Notes are signed with Ed25519, so the token must know CKM_EDDSA (PKCS#11 3.0): SoftHSM 2.6 does, and many older
HSMs do not; one that has ECDSA alone cannot sign this log. The library is an extra, ``halfgateway[pkcs11]``: who keeps
the key in a file does not need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import TraceUnavailable

_KEY_BYTES = 32
_PROBE = b"halfgateway: does this key sign what its public half verifies?"


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a key lies: the PKCS#11 module, the token's label, the key's label, and the file with the PIN."""

    module: Path
    token: str
    label: str
    pin_file: Path


class TokenKey:
    """An Ed25519 key in a token; see :class:`auth.trace.checkpoint.SigningKey`. To be used by one thread at a time."""

    def __init__(self, private: Any, public: Ed25519PublicKey, mechanism: Any, failure: type[Exception]) -> None:
        self._private = private
        self._public = public
        self._mechanism = mechanism
        self._failure = failure

    @classmethod
    def open(cls, place: TokenPlace) -> TokenKey:
        """Log in and find the key. Blocking. Raises TraceUnavailable where it is not there or does not sign."""
        try:
            import pkcs11  # noqa: PLC0415 - an extra: who keeps the key in a file does not have it
        except ImportError as error:
            raise TraceUnavailable("pkcs11: the extra halfgateway[pkcs11] is not installed") from error
        try:
            pin = place.pin_file.read_text(encoding="utf-8").strip()
            token = pkcs11.lib(str(place.module)).get_token(token_label=place.token)
            session = _log_in(pkcs11, token, pin)
            wanted = {"label": place.label, "key_type": pkcs11.KeyType.EC_EDWARDS}
            private = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, **wanted)
            point = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, **wanted)[pkcs11.Attribute.EC_POINT]
            public = Ed25519PublicKey.from_public_bytes(bytes(point)[-_KEY_BYTES:])
            key = cls(private, public, pkcs11.Mechanism.EDDSA, pkcs11.PKCS11Error)
            public.verify(key.sign(_PROBE), _PROBE)
        except (OSError, ValueError, RuntimeError, InvalidSignature, pkcs11.PKCS11Error) as error:
            raise TraceUnavailable(f"the trace's key {place.label} in the token {place.token}: {error!r}") from error
        return key

    def public_key(self) -> Ed25519PublicKey:
        """See :class:`auth.trace.checkpoint.SigningKey`."""
        return self._public

    def sign(self, data: bytes, /) -> bytes:
        """See :class:`auth.trace.checkpoint.SigningKey`. Raises TraceUnavailable."""
        try:
            return bytes(self._private.sign(data, mechanism=self._mechanism))
        except self._failure as error:
            raise TraceUnavailable(f"the token does not sign: {error!r}") from error


def _log_in(pkcs11: ModuleType, token: Any, pin: str) -> Any:
    """Open a session; a login is good for every session of the process (PKCS#11 section 5.6)."""
    try:
        return token.open(user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open()
