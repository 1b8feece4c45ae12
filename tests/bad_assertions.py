"""Every way that an assertion should not be, and the reason that the trace gives of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from tests.asserting import ABSENT, Signer, b64, part, public_pem

Make = Callable[[Signer], str]


def now_s() -> int:
    return int(datetime.now(UTC).timestamp())


def with_header(**changes: object) -> Make:
    return lambda pp: pp.signed(part(pp.header(**changes)), part(pp.body()))


def claiming(**changes: object) -> Make:
    return lambda pp: pp.assertion(**changes)


def unsigned(pp: Signer) -> str:
    return f"{part(pp.header(alg='none'))}.{part(pp.body())}."


def unsigned_with_rubbish(pp: Signer) -> str:
    return f"{part(pp.header(alg='none'))}.{part(pp.body())}.AA"


def mac_with_the_public_key(pp: Signer) -> str:
    """The classic confusion: the public key taken for a shared secret."""
    signed = f"{part(pp.header(alg='HS256'))}.{part(pp.body())}"
    return f"{signed}.{b64(hmac.new(public_pem(pp.key).encode(), signed.encode(), hashlib.sha256).digest())}"


def by_rsa(pp: Signer) -> str:
    signed = f"{part(pp.header(alg='RS256'))}.{part(pp.body())}"
    key = rsa.generate_private_key(65537, 2048)
    return f"{signed}.{b64(key.sign(signed.encode(), PKCS1v15(), SHA256()))}"


def by_another_key(pp: Signer) -> str:
    return pp.signed(part(pp.header()), part(pp.body()), ec.generate_private_key(ec.SECP256R1()))


def with_its_own_key(pp: Signer) -> str:
    """An attacker's key in the header, and a signature by it (RFC 7515 section 4.1.3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": b64(numbers.x.to_bytes(32, "big")),
        "y": b64(numbers.y.to_bytes(32, "big")),
    }
    return pp.signed(part(pp.header(jwk=jwk)), part(pp.body()), key)


def altered(pp: Signer) -> str:
    header, body, signature = pp.assertion().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    return f"{header}.{part({**claims, 'sub': 'pp-agent-18'})}.{signature}"


def signature_of_nothing(pp: Signer) -> str:
    """r = s = 0, which some verifiers once took (CVE-2022-21449)."""
    return f"{part(pp.header())}.{part(pp.body())}.{b64(bytes(64))}"


def der_signature(pp: Signer) -> str:
    assert isinstance(pp.key, ec.EllipticCurvePrivateKey)
    signed = f"{part(pp.header())}.{part(pp.body())}"
    return f"{signed}.{b64(pp.key.sign(signed.encode(), ec.ECDSA(SHA256())))}"


def twice(name: str, value: object) -> Make:
    def make(pp: Signer) -> str:
        claims = json.dumps(pp.body())
        return pp.signed(part(pp.header()), b64(f'{{"{name}": {json.dumps(value)}, {claims[1:]}'.encode()))

    return make


def header_twice(pp: Signer) -> str:
    return pp.signed(b64(f'{{"alg":"none","alg":"ES256","kid":"{pp.kid}"}}'.encode()), part(pp.body()))


def as_json_serialisation(pp: Signer) -> str:
    header, body, signature = pp.assertion().split(".")
    return json.dumps({"protected": header, "payload": body, "signature": signature})


def respelt(pp: Signer) -> str:
    """The header's last character changed in the bits that carry nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    typ = "JWT"
    for kid in (pp.kid, pp.kid + "a", pp.kid + "ab"):
        header = part({"alg": "ES256", "kid": kid, "typ": typ})
        if len(header) % 4:
            last = alphabet[alphabet.index(header[-1]) + 1]
            return pp.signed(header[:-1] + last, part(pp.body()))
    raise AssertionError("no header ends in spare bits")


BAD_ASSERTIONS: dict[str, tuple[Make, str]] = {
    "empty": (lambda _: "", "malformed"),
    "no JWS": (lambda _: "agent-17", "malformed"),
    "two parts": (lambda pp: pp.assertion().rpartition(".")[0], "malformed"),
    "four parts": (lambda pp: pp.assertion() + ".AA", "malformed"),
    "padded": (lambda pp: pp.assertion().replace(".", "=.", 1), "malformed"),
    "another spelling of the header": (respelt, "malformed"),
    "JSON serialisation": (as_json_serialisation, "malformed"),
    "a header that is a list": (lambda pp: pp.signed(part([pp.header()]), part(pp.body())), "malformed"),
    "claims that are no JSON": (lambda pp: pp.signed(part(pp.header()), b64(b"{")), "malformed"),
    "claims in UTF-16": (
        lambda pp: pp.signed(part(pp.header()), b64(json.dumps(pp.body()).encode("utf-16"))),
        "malformed",
    ),
    "claims nested too deep": (
        lambda pp: pp.signed(part(pp.header()), b64(b'{"a":' + b"[" * 1350 + b"]" * 1350 + b"}")),
        "malformed",
    ),
    "larger than any": (claiming(service="x" * 5000), "too-large"),
    "not signed": (unsigned, "malformed"),
    "alg none": (unsigned_with_rubbish, "wrong-algorithm"),
    "alg HS256 with the public key": (mac_with_the_public_key, "wrong-algorithm"),
    "alg RS256": (by_rsa, "wrong-algorithm"),
    "alg ES384": (with_header(alg="ES384"), "wrong-algorithm"),
    "alg of another kind of key": (with_header(alg="EdDSA"), "wrong-algorithm"),
    "no alg": (with_header(alg=ABSENT), "wrong-algorithm"),
    "alg is a list": (with_header(alg=["ES256"]), "wrong-algorithm"),
    "alg is an object": (with_header(alg={}), "wrong-algorithm"),
    "no kid": (with_header(kid=ABSENT), "malformed"),
    "kid that is a path": (with_header(kid="../../etc/passwd"), "malformed"),
    "unknown kid": (with_header(kid="pp-unknown"), "unknown-key"),
    "crit": (with_header(crit=["exp"], exp=1), "header-not-allowed"),
    "crit that is unknown": (with_header(crit=["urn:x"], **{"urn:x": 1}), "header-not-allowed"),
    "b64 false": (with_header(crit=["b64"], b64=False), "header-not-allowed"),
    "embedded jwk": (with_its_own_key, "header-not-allowed"),
    "jku": (with_header(jku="https://attacker.example/keys"), "header-not-allowed"),
    "x5u": (with_header(x5u="https://attacker.example/cert.pem"), "header-not-allowed"),
    "x5c": (with_header(x5c=["MIIB"]), "header-not-allowed"),
    "another type": (with_header(typ="at+jwt"), "header-not-allowed"),
    "alg twice": (header_twice, "duplicate-name"),
    "sub twice": (twice("sub", "pp-agent-18"), "duplicate-name"),
    "signed by another key": (by_another_key, "bad-signature"),
    "altered": (altered, "bad-signature"),
    "signature of zeros": (signature_of_nothing, "bad-signature"),
    "signature in DER": (der_signature, "bad-signature"),
    "another's issuer": (claiming(iss="elsewhere"), "wrong-issuer"),
    "another gateway": (claiming(aud="dpp-elsewhere"), "wrong-audience"),
    "two audiences": (claiming(aud=["dpp-syn-demo", "dpp-elsewhere"]), "wrong-audience"),
    "no agent": (claiming(sub=ABSENT), "missing-claim"),
    "no service": (claiming(service=ABSENT), "missing-claim"),
    "no site": (claiming(site=ABSENT), "missing-claim"),
    "no methods": (claiming(amr=ABSENT), "missing-claim"),
    "no expiry": (claiming(exp=ABSENT), "missing-claim"),
    "no nonce": (claiming(jti=ABSENT), "missing-claim"),
    "a name": (claiming(name="Dupont"), "unexpected-claim"),
    "an agent that is a name": (claiming(sub="Jean Dupont"), "malformed"),
    "short nonce": (claiming(jti="1"), "malformed"),
    "instant that is text": (claiming(iat="now"), "malformed"),
    "instant that is true": (claiming(iat=True), "malformed"),
    "instant beyond all": (claiming(exp=10**30), "malformed"),
    "reference in free text": (claiming(reference="affaire Dupont"), "malformed"),
    "expired": (lambda pp: pp.assertion(iat=now_s() - 120, exp=now_s() - 1), "expired"),
    "of tomorrow": (lambda pp: pp.assertion(iat=now_s() + 86400, exp=now_s() + 86460), "not-yet-valid"),
    "logged in tomorrow": (lambda pp: pp.assertion(auth_time=now_s() + 86400), "not-yet-valid"),
    "valid for a day": (lambda pp: pp.assertion(exp=now_s() + 86400), "too-long-validity"),
    "logged in yesterday": (lambda pp: pp.assertion(auth_time=now_s() - 86400), "stale-auth"),
    "card alone": (claiming(amr=["sc"]), "weak-method"),
    "password alone": (claiming(amr=["pwd"]), "weak-method"),
    "password and one-time code": (claiming(amr=["pwd", "otp"]), "weak-method"),
    "card and its code": (claiming(amr=["sc", "pin"]), "weak-method"),
    "no method at all": (claiming(amr=[]), "weak-method"),
    "a method that is not known": (claiming(amr=["sc", "pwd", "sms"]), "weak-method"),
    "methods as text": (claiming(amr="sc pwd"), "malformed"),
    "no lawful purpose": (claiming(purpose="curiosity"), "purpose-unknown"),
}
