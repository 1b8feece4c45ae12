"""Assertions as the PP half-gateway makes them, and as nobody should."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from auth.assertion_keys import default_kid

SigningKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

ABSENT = object()
"""In place of a claim or header parameter: leave it out."""


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(document: object) -> str:
    return b64(json.dumps(document).encode())


def public_pem(key: SigningKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def sign(key: SigningKey, signed: str) -> str:
    """A JWS signature: r and s side by side for ES256 (RFC 7518 section 3.4)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b64(key.sign(signed.encode()))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@dataclass
class Signer:
    """PP's half-gateway, as far as it asserts."""

    key: SigningKey
    issuer: str
    audience: str
    kid: str = ""
    claims: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kid = self.kid or default_kid(public_pem(self.key))

    @classmethod
    def of_demo(cls, ready: Mapping[str, Any]) -> Signer:
        machine = ready["accounts"]["machine"]
        key = load_pem_private_key(Path(machine["assertion_key"]).read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(key, ready["assertions"]["issuer"], ready["assertions"]["audience"], machine["assertion_kid"])

    def header(self, **changes: Any) -> dict[str, Any]:
        algorithm = "EdDSA" if isinstance(self.key, ed25519.Ed25519PrivateKey) else "ES256"
        return _changed({"alg": algorithm, "kid": self.kid}, changes)

    def body(self, now: datetime | None = None, **changes: Any) -> dict[str, Any]:
        at = int((now or datetime.now(UTC)).timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "pp-agent-17",
            "service": "DOPC",
            "site": "PP-CITE",
            "amr": ["sc", "pwd"],
            "auth_time": at - 600,
            "purpose": "L251-2-5",
            "reference": "PP-2026-17",
            "iat": at,
            "exp": at + 60,
            "jti": secrets.token_urlsafe(18),
        }
        return _changed(_changed(claims, self.claims), changes)

    def assertion(self, now: datetime | None = None, **changes: Any) -> str:
        """A good one, but for the claims that are changed."""
        return self.signed(part(self.header()), part(self.body(now, **changes)))

    def signed(self, header: str, body: str, key: SigningKey | None = None) -> str:
        return f"{header}.{body}.{sign(key or self.key, f'{header}.{body}')}"


def _changed(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**document, **changes}.items() if value is not ABSENT}
