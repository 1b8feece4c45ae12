"""Asking an OCSP responder over HTTP (RFC 6960 appendix A)."""

from __future__ import annotations

import aiohttp

from auth.ocsp import ResponderUnavailableError

TIMEOUT_S = 3.0
"""How long a responder may take: a login waits for it."""

MAX_ANSWER_BYTES = 64 * 1024
"""An answer with its signer's chain has a few thousand; more is no answer."""


async def ask_responder(url: str, request: bytes) -> bytes:
    """Post a DER request, and return the DER answer. Raises ResponderUnavailableError."""
    headers = {"Content-Type": "application/ocsp-request"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.post(url, data=request, headers=headers, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(MAX_ANSWER_BYTES + 1)
            if answer.status != 200 or len(body) > MAX_ANSWER_BYTES or not answer.content.at_eof():
                raise ResponderUnavailableError(f"{url} answered {answer.status}")
            return body
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ResponderUnavailableError(f"{url}: {error}") from error
