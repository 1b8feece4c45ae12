"""HTTP Digest for RTSP, both sides, without a clock or chance of its own (RFC 2617, RFC 7616).

Rows 44 to 49 of docs/conformance.md.

The server side keeps no memory: its nonce is a time-stamp and a keyed hash of it. It offers no ``qop``,
so there is no nonce count to follow, and VLC and ffmpeg read what it offers.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from halfgateway.errors import LocalProtocolError

#: Seconds that a nonce may lie ahead of the verifier's clock: nodes share a key, not a clock.
NONCE_MAX_AHEAD_S: Final = 5.0

_PARAMETER = re.compile(r'[\s,]*([\w!#$%&\'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))', re.ASCII)
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9-]*)(?=[\s,]|$)\s*")
_ESCAPED = re.compile(r"\\(.)")
_HEX = re.compile(r"[0-9a-fA-F]{8,128}")
_NONCE = re.compile(r"(?P<issued_ms>[0-9a-f]{12})(?P<mac>[0-9a-f]{32})")


class Algorithm(enum.Enum):
    """A hash of Digest; the value is its name in the ``algorithm`` parameter."""

    MD5 = "MD5"
    SHA256 = "SHA-256"

    def hex(self, text: str) -> str:
        """H(text) of RFC 7616 section 3.1, in lower-case hexadecimal."""
        data = text.encode("utf-8", "surrogatepass")
        if self is Algorithm.MD5:
            return hashlib.md5(data, usedforsecurity=False).hexdigest()
        return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a ``WWW-Authenticate`` field that we can answer.

    ``algorithm`` is None for Basic; ``algorithm_name`` is the parameter as the server spelt it, or None.
    ``realm``, ``nonce`` and ``opaque`` are as they stood between their quotes.
    """

    realm: str
    nonce: str = ""
    algorithm: Algorithm | None = None
    algorithm_name: str | None = None
    session: bool = False
    qop_auth: bool = False
    opaque: str | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the server keeps of one password: HA1 of each algorithm, in hexadecimal, as ``ha1`` gives it."""

    md5: str = field(repr=False)
    sha256: str = field(repr=False)


class Outcome(enum.Enum):
    """What became of an ``Authorization`` field."""

    OK = "ok"
    STALE = "stale"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, with the user name and the URL that the response covers.

    Only ``OK`` proves the name. The caller binds ``uri`` to the request with ``uri.same_resource``.
    """

    outcome: Outcome
    username: str = ""
    uri: str = ""


def ha1(username: str, realm: str, password: str, algorithm: Algorithm) -> str:
    """H(username:realm:password), in hexadecimal (RFC 7616 section 3.4.2)."""
    return algorithm.hex(f"{username}:{realm}:{password}")


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """The challenges that we can answer, from the values of every ``WWW-Authenticate`` field.

    Schemes, algorithms and qualities of protection that we do not know are passed over.
    """
    found = []
    for value in values:
        for scheme, parameters in _schemes(value):
            challenge = _challenge(scheme.lower(), parameters)
            if challenge is not None:
                found.append(challenge)
    return tuple(found)


def best(challenges: Sequence[Challenge]) -> Challenge | None:
    """The strongest challenge, SHA-256 before MD5 before Basic; the first of equals; None of none."""
    return max(challenges, key=_strength, default=None)


def authorise(
    challenge: Challenge,
    username: str,
    password: str,
    method: str,
    uri: str,
    *,
    nonce_count: int,
    cnonce: str,
) -> str:
    """The value of ``Authorization`` for one request.

    ``nonce_count`` starts at 1 and grows with each request under one nonce; ``cnonce`` is a fresh random
    token of letters and digits. Both are used only where the server asked for ``qop`` or a session.

    Raises:
        LocalProtocolError: a line break or a quote where it cannot stand, or a nonce count out of range.
    """
    if re.search(r'["\r\n\x00]', uri + cnonce) or re.search(r"[\r\n\x00]", username):
        raise LocalProtocolError("a value cannot stand in Authorization")
    if not 1 <= nonce_count <= 0xFFFFFFFF:
        raise LocalProtocolError("the nonce count has 32 bits and begins at 1")
    if challenge.algorithm is None:
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    secret = ha1(username, challenge.realm, password, challenge.algorithm)
    if challenge.session:
        secret = challenge.algorithm.hex(f"{secret}:{challenge.nonce}:{cnonce}")
    count = f"{nonce_count:08x}"
    quality = f":{count}:{cnonce}:auth" if challenge.qop_auth else ""
    digest = _response(challenge.algorithm, secret, challenge.nonce + quality, method, uri)
    quoted = username.replace("\\", "\\\\").replace('"', '\\"')
    parts = [
        f'Digest username="{quoted}", realm="{challenge.realm}", nonce="{challenge.nonce}"',
        f'uri="{uri}", response="{digest}"',
    ]
    if challenge.algorithm_name is not None:
        parts.append(f"algorithm={challenge.algorithm_name}")
    if challenge.opaque is not None:
        parts.append(f'opaque="{challenge.opaque}"')
    if challenge.qop_auth:
        parts.append(f"qop=auth, nc={count}")
    if challenge.qop_auth or challenge.session:
        parts.append(f'cnonce="{cnonce}"')
    return ", ".join(parts)


class DigestVerifier:
    """The server's side of Digest for one realm, without memory: nodes that share ``key`` share nonces."""

    def __init__(self, realm: str, key: bytes, nonce_life_s: float) -> None:
        """``key`` is at least 16 secret bytes; ``nonce_life_s`` is how long a nonce is good, above 0.

        Raises:
            LocalProtocolError: a realm that cannot be quoted, a short key, or no life.
        """
        if not realm or not realm.isascii() or not realm.isprintable() or '"' in realm or "\\" in realm:
            raise LocalProtocolError("the realm cannot stand between quotes")
        if len(key) < 16 or nonce_life_s <= 0:
            raise LocalProtocolError("the key has at least 16 bytes and a nonce some life")
        self._realm = realm
        self._key = key
        self._nonce_life_s = nonce_life_s

    @property
    def realm(self) -> str:
        """The realm of every challenge, and of every HA1."""
        return self._realm

    def challenges(self, now_s: float, *, stale: bool = False) -> tuple[str, ...]:
        """The values of ``WWW-Authenticate``, one field each, in this order: SHA-256, then MD5.

        The MD5 one names no algorithm and comes last, because live555 (VLC) reads it with ``sscanf`` in
        precisely this order, with ``stale`` unquoted, and because ffmpeg heeds the last one (rows 44, 45).
        """
        plain = f'Digest realm="{self._realm}", nonce="{self._nonce(now_s)}"'
        suffix = ", stale=true" if stale else ""
        return f"{plain}, algorithm=SHA-256{suffix}", f"{plain}{suffix}"

    def verify(self, authorization: str, method: str, now_s: float, secret: Callable[[str], Secrets | None]) -> Verdict:
        """Check one ``Authorization`` value; ``secret`` gives what is kept of a user's password, or None.

        A user who does not exist costs the same work as a wrong password. ``STALE`` means a right
        response under a nonce that is too old or not ours: the client may try again without asking its user.
        """
        claim = _claim(authorization)
        if claim is None:
            return Verdict(Outcome.WRONG)
        decoy = self._decoy(claim.username)
        known = secret(claim.username)
        kept = known or decoy
        kept_ha1 = kept.md5 if claim.algorithm is Algorithm.MD5 else kept.sha256
        expected = _response(claim.algorithm, kept_ha1, claim.nonce, method, claim.uri)
        right = hmac.compare_digest(expected.encode(), claim.response.lower().encode()) and known is not None
        fresh = self._is_fresh(claim.nonce, now_s)
        if not right:
            return Verdict(Outcome.WRONG, claim.username, claim.uri)
        return Verdict(Outcome.OK if fresh else Outcome.STALE, claim.username, claim.uri)

    def _nonce(self, now_s: float) -> str:
        issued = f"{round(now_s * 1000) & 0xFFFFFFFFFFFF:012x}"
        return issued + self._mac(issued)

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, f"{self._realm}\n{text}".encode(), hashlib.sha256).hexdigest()[:32]

    def _is_fresh(self, nonce: str, now_s: float) -> bool:
        match = _NONCE.fullmatch(nonce)
        issued = match["issued_ms"] if match else "0" * 12
        ours = hmac.compare_digest(self._mac(issued), match["mac"] if match else "")
        age_s = now_s - int(issued, 16) / 1000
        return ours and -NONCE_MAX_AHEAD_S <= age_s <= self._nonce_life_s

    def _decoy(self, username: str) -> Secrets:
        value = self._mac(f"decoy\n{username!r}")
        return Secrets(md5=value, sha256=value + value)


@dataclass(frozen=True, slots=True)
class _Claim:
    username: str
    nonce: str
    uri: str
    response: str
    algorithm: Algorithm


def _claim(authorization: str) -> _Claim | None:
    schemes = _schemes(authorization)
    if len(schemes) != 1 or schemes[0][0].lower() != "digest":
        return None
    parameters = schemes[0][1]
    algorithm = next((a for a in Algorithm if a.value == parameters.get("algorithm", "MD5").upper()), None)
    if algorithm is None or "qop" in parameters or not {"username", "nonce", "uri", "response"} <= parameters.keys():
        return None
    if _HEX.fullmatch(parameters["response"]) is None:
        return None
    username = _ESCAPED.sub(r"\1", parameters["username"])
    return _Claim(username, parameters["nonce"], parameters["uri"], parameters["response"], algorithm)


def _response(algorithm: Algorithm, secret: str, nonce: str, method: str, uri: str) -> str:
    return algorithm.hex(f"{secret}:{nonce}:{algorithm.hex(f'{method}:{uri}')}")


def _schemes(value: str) -> list[tuple[str, dict[str, str]]]:
    """Each scheme of a header value with its parameters, names in lower case, values without their quotes."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(value):
        parameter = _PARAMETER.match(value, position)
        scheme = None if parameter else _SCHEME.match(value, position)
        if parameter and found:
            name, quoted, token = parameter.groups()
            found[-1][1].setdefault(name.lower(), token if quoted is None else quoted)
            position = parameter.end()
        elif scheme:
            found.append((scheme[1], {}))
            position = scheme.end()
        else:
            return found
    return found


def _challenge(scheme: str, parameters: Mapping[str, str]) -> Challenge | None:
    realm = parameters.get("realm", "")
    if scheme == "basic":
        return Challenge(realm)
    if scheme != "digest" or "nonce" not in parameters:
        return None
    name = parameters.get("algorithm")
    base, dash, variant = (name or "MD5").upper().rpartition("-")
    session = bool(dash) and variant == "SESS"
    algorithm = next((a for a in Algorithm if a.value == (base if session else (name or "MD5").upper())), None)
    qualities = [q.strip().lower() for q in parameters["qop"].split(",")] if "qop" in parameters else []
    if algorithm is None or (any(qualities) and "auth" not in qualities):
        return None
    return Challenge(
        realm=realm,
        nonce=parameters["nonce"],
        algorithm=algorithm,
        algorithm_name=name,
        session=session,
        qop_auth="auth" in qualities,
        opaque=parameters.get("opaque"),
        stale=parameters.get("stale", "").lower() == "true",
    )


def _strength(challenge: Challenge) -> int:
    return {Algorithm.SHA256: 2, Algorithm.MD5: 1, None: 0}[challenge.algorithm]
