"""Asking a time-stamping authority over HTTP (RFC 3161 section 3.4), and believing no answer that does not hold.

What comes back is checked twice, by ``rfc3161-client`` and by our own verifier (:mod:`auth.trace.timestamp`), which
whoever gets a dossier uses: so nothing is kept that they could not check.
"""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
from cryptography.x509 import Certificate, CertificateRevocationList
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from auth.errors import NoteError
from auth.trace.timestamp import Timestamp, read_timestamp, token_of
from halfgateway.errors import HalfGatewayError

TIMEOUT_S = 10.0
"""How long an authority may take: nobody waits for it but a notice, which then leaves without its token."""

MAX_ANSWER_BYTES = 64 * 1024
"""An answer with its signer's chain has under ten thousand; more is no answer."""

_HEADERS = {"Content-Type": "application/timestamp-query"}


class TimestampError(HalfGatewayError):
    """No token was had: the authority is not there, does not grant, or answers what does not hold."""


async def ask_authority(
    url: str,
    content: bytes,
    authorities: Sequence[Certificate],
    revocations: Sequence[CertificateRevocationList] = (),
) -> tuple[bytes, Timestamp]:
    """Have ``content`` stamped; return the token (DER) and what it says. Raises TimestampError."""
    request = (
        TimestampRequestBuilder()
        .data(content)
        .hash_algorithm(HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    answer = await _post(url, request.as_bytes())
    _check(url, request, answer, content, authorities)
    try:
        token = token_of(answer)
        stamp = read_timestamp(token, content, authorities, revocations)
    except NoteError as error:
        raise TimestampError(f"{url}: {error}") from error
    if stamp is None or stamp.nonce != request.nonce:
        raise TimestampError(f"{url}: no token of a known authority for this request")
    return token, stamp


def _check(
    url: str, request: TimeStampRequest, answer: bytes, content: bytes, authorities: Sequence[Certificate]
) -> None:
    """Let the client library judge the answer. Raises TimestampError."""
    builder = VerifierBuilder.from_request(request)
    for authority in authorities:
        builder = builder.add_root_certificate(authority)
    try:
        builder.build().verify_message(decode_timestamp_response(answer), content)
    except (VerificationError, ValueError) as error:
        raise TimestampError(f"{url}: {error}") from error


async def _post(url: str, request: bytes) -> bytes:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(url, data=request, headers=_HEADERS, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(MAX_ANSWER_BYTES + 1)
            if answer.status != 200 or len(body) > MAX_ANSWER_BYTES or not answer.content.at_eof():
                raise TimestampError(f"{url} answered {answer.status}")
            return body
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TimestampError(f"{url}: {error!r}") from error
