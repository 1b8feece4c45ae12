"""An agent's assertion: what the PP half-gateway signs of the agent for whom its machine asks (C08).

A compact JWS (RFC 7515) by ES256 or EdDSA (RFC 7518, RFC 8037) with a key that PP has declared. Everything that is
not needed is refused: other algorithms, header parameters that bring a key along, names that appear twice, claims
that are not listed here (they could name a person, and the bytes are kept: C17).
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from auth.errors import AssertionFault, AssertionRefused, UnknownPurposeError
from auth.purposes import Purpose, normalise

MAX_ASSERTION_CHARS = 4096
"""A JWS with these claims and one signature has under 1,000; the whole of it must fit into one entry of the trace."""

MAX_TEXT_CHARS = 128
"""Of a service, a site, an issuer or a nonce: what the records keep of an account's service and site."""

CLOCK_LEEWAY = timedelta(seconds=30)
"""How far PP's clock may be ahead of ours. None is given to the expiry: a nonce is kept just until then."""

MAX_VALIDITY = timedelta(minutes=5)
"""From ``iat`` to ``exp``: an assertion is made for one request."""

MAX_AUTHENTICATION_AGE = timedelta(hours=12)
"""Since ``auth_time``: one watch in a control room."""

CARD, PASSWORD = "sc", "pwd"
REQUIRED_METHODS = frozenset({CARD, PASSWORD})
"""Smart card **and** password, by their names of RFC 8176 section 2; convention, article 6."""

KNOWN_METHODS = REQUIRED_METHODS | {"hwk", "mfa", "pin"}
"""What else ``amr`` may say of such a login: the card's key is in hardware, several factors, the card's own code."""

_HEADER_NAMES = frozenset({"alg", "kid", "typ"})
_REQUIRED_CLAIMS = frozenset(
    {"iss", "aud", "sub", "service", "site", "amr", "auth_time", "purpose", "iat", "exp", "jti"}
)
_CLAIMS = _REQUIRED_CLAIMS | {"reference"}
_OPAQUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9._~-]{16,128}", re.ASCII)
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_LAST_INSTANT_S = 253402300799
"""The end of the year 9999, the last that an instant can be of."""

PublicKey = EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class AssertionRules:
    """What is agreed with PP: who signs, whom it names as receiver, and how fresh it must be."""

    issuer: str
    audience: str
    max_validity: timedelta = MAX_VALIDITY
    max_authentication_age: timedelta = MAX_AUTHENTICATION_AGE


@dataclass(frozen=True, slots=True)
class Assertion:
    """A verified assertion. ``agent`` is opaque, ``compact`` the exact text that was signed and sent."""

    compact: str
    kid: str
    agent: str
    service: str
    site: str
    methods: tuple[str, ...]
    authenticated_at: datetime
    purpose: Purpose
    reference: str | None
    issued_at: datetime
    expires_at: datetime
    nonce: str


@dataclass(frozen=True, slots=True)
class Unverified:
    """An assertion whose signature has not been looked at: the key that it names, and what it is said to be."""

    compact: str
    kid: str
    algorithm: str


def read_public_key(pem: str) -> tuple[str, PublicKey]:
    """Read a key that PP declares, and say which algorithm it is for: ES256 (P-256) or EdDSA (Ed25519).

    Raises:
        ValueError: it is no public key in PEM, or one of another kind.
    """
    key = load_pem_public_key(pem.encode())
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256", key
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA", key
    raise ValueError("only P-256 (ES256) and Ed25519 (EdDSA) keys sign assertions")


def read_header(compact: str) -> Unverified:
    """Take an assertion apart as far as is needed to find its key.

    Raises:
        AssertionRefused: too large, malformed, of another algorithm, or with more in its header than is allowed.
    """
    if len(compact) > MAX_ASSERTION_CHARS:
        raise AssertionRefused(AssertionFault.TOO_LARGE)
    parts = _COMPACT.fullmatch(compact)
    if parts is None:
        raise AssertionRefused(AssertionFault.MALFORMED)
    header = _object(parts[1])
    if header.keys() - _HEADER_NAMES or header.get("typ", "JWT") != "JWT":
        raise AssertionRefused(AssertionFault.HEADER_NOT_ALLOWED)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in {"ES256", "EdDSA"}:
        raise AssertionRefused(AssertionFault.WRONG_ALGORITHM)
    if not isinstance(kid, str) or not _OPAQUE.fullmatch(kid):
        raise AssertionRefused(AssertionFault.MALFORMED)
    return Unverified(compact, kid, algorithm)


def verify(unverified: Unverified, public_key_pem: str, rules: AssertionRules, now: datetime) -> Assertion:
    """Verify the signature, then what was signed, as of ``now`` (aware).

    Raises:
        AssertionRefused: with the first fault that is found, and the key's identifier.
    """
    try:
        return _verify(unverified, public_key_pem, rules, now)
    except AssertionRefused as refused:
        raise AssertionRefused(refused.fault, kid=unverified.kid) from refused


def _verify(unverified: Unverified, public_key_pem: str, rules: AssertionRules, now: datetime) -> Assertion:
    algorithm, key = read_public_key(public_key_pem)
    if unverified.algorithm != algorithm:
        raise AssertionRefused(AssertionFault.WRONG_ALGORITHM)
    try:
        jwt.PyJWS(algorithms=[algorithm]).decode_complete(unverified.compact, key, algorithms=[algorithm])
    except jwt.PyJWTError as error:
        raise AssertionRefused(AssertionFault.BAD_SIGNATURE) from error
    claims = _object(unverified.compact.split(".")[1])
    if _REQUIRED_CLAIMS - claims.keys():
        raise AssertionRefused(AssertionFault.MISSING_CLAIM)
    if claims.keys() - _CLAIMS:
        raise AssertionRefused(AssertionFault.UNEXPECTED_CLAIM)
    if claims["iss"] != rules.issuer:
        raise AssertionRefused(AssertionFault.WRONG_ISSUER)
    if claims["aud"] != rules.audience:
        raise AssertionRefused(AssertionFault.WRONG_AUDIENCE)
    assertion = _assertion(unverified, claims)
    _require_fresh(assertion, rules, now)
    return assertion


def _assertion(unverified: Unverified, claims: dict[str, Any]) -> Assertion:
    reference = claims.get("reference")
    return Assertion(
        compact=unverified.compact,
        kid=unverified.kid,
        agent=_matching(_OPAQUE, claims["sub"]),
        service=_text(claims["service"]),
        site=_text(claims["site"]),
        methods=_methods(claims["amr"]),
        authenticated_at=_instant(claims["auth_time"]),
        purpose=_purpose(claims["purpose"]),
        reference=None if reference is None else _matching(_REFERENCE, reference),
        issued_at=_instant(claims["iat"]),
        expires_at=_instant(claims["exp"]),
        nonce=_matching(_NONCE, claims["jti"]),
    )


def _require_fresh(assertion: Assertion, rules: AssertionRules, now: datetime) -> None:
    soon = now + CLOCK_LEEWAY
    if assertion.issued_at > soon or assertion.authenticated_at > soon:
        raise AssertionRefused(AssertionFault.NOT_YET_VALID)
    if assertion.expires_at <= now:
        raise AssertionRefused(AssertionFault.EXPIRED)
    if assertion.expires_at - assertion.issued_at > rules.max_validity:
        raise AssertionRefused(AssertionFault.TOO_LONG_VALIDITY)
    if now - assertion.authenticated_at > rules.max_authentication_age:
        raise AssertionRefused(AssertionFault.STALE_AUTHENTICATION)


def _object(part: str) -> dict[str, Any]:
    """Decode one part: base64url without padding and in its one spelling, and a JSON object (RFC 7515 section 2)."""
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != part:
            raise ValueError("another spelling of the same bytes")
        value = json.loads(decoded.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise AssertionRefused(AssertionFault.MALFORMED) from error
    if not isinstance(value, dict):
        raise AssertionRefused(AssertionFault.MALFORMED)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise AssertionRefused(AssertionFault.DUPLICATE_NAME)
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _matching(pattern: re.Pattern[str], value: object) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise AssertionRefused(AssertionFault.MALFORMED)
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT_CHARS or not value.isprintable():
        raise AssertionRefused(AssertionFault.MALFORMED)
    return value


def _instant(value: object) -> datetime:
    """A NumericDate in whole seconds (RFC 7519 section 2)."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LAST_INSTANT_S:
        raise AssertionRefused(AssertionFault.MALFORMED)
    return datetime.fromtimestamp(value, UTC)


def _methods(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(method, str) for method in value):
        raise AssertionRefused(AssertionFault.MALFORMED)
    if not REQUIRED_METHODS <= set(value) <= KNOWN_METHODS:
        raise AssertionRefused(AssertionFault.WEAK_METHOD)
    return tuple(value)


def _purpose(value: object) -> Purpose:
    try:
        return normalise(value if isinstance(value, str) else "")
    except UnknownPurposeError as error:
        raise AssertionRefused(AssertionFault.PURPOSE_UNKNOWN) from error
