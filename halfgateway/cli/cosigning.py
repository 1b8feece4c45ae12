"""The reference client of a cosigner: fetches a head and its proof, has them judged, sends the cosignature (T04)."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from auth.trace.cosigner import CosignRefused, Witness
from halfgateway.api.paths import API

TIMEOUT_S = 30.0
"""How long the whole exchange may take; nothing waits for it, and it is tried again at the next turn."""

MAX_ANSWER_BYTES = 1 << 20
"""An answer names a few nodes' heads, or the hashes of one proof; more is no answer."""


@dataclass(frozen=True, slots=True)
class Login:
    """Whom to ask and as whom: a machine account, its certificate where the port asks for one."""

    url: str
    account: str
    password: str = field(repr=False)
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def tls(self) -> ssl.SSLContext:
        """The TLS context; the server's certificate is always verified. Raises OSError."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


async def cosign_once(login: Login, witness: Witness, node: str) -> dict[str, Any]:
    """Cosign the newest head of a node's log; return what the half-gateway took.

    Raises CosignRefused (TreeDiverged among them), aiohttp.ClientError, TimeoutError, OSError.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(ssl=login.tls())
    async with aiohttp.ClientSession(login.url, timeout=timeout, connector=connector) as http:
        session = await _call(http, "POST", "/login", {"id": login.account, "password": login.password})
        http.headers["Authorization"] = f"Bearer {session['token']}"
        try:
            heads = (await _call(http, "GET", "/trace/checkpoints"))["items"]
            head = next((head for head in heads if head["node"] == node), None)
            if head is None:
                raise CosignRefused(f"aucun point de contrôle du nœud {node}")
            note = witness.cosign(head["note"], await _proof(http, witness, node, int(head["size"])))
            taken: dict[str, Any] = await _call(http, "POST", "/trace/cosign", {"note": str(note)})
            return taken
        finally:
            await _call(http, "POST", "/logout")


async def _proof(http: aiohttp.ClientSession, witness: Witness, node: str, size: int) -> list[str]:
    """Fetch the proof that the head extends the last one that was cosigned, where one is needed."""
    before = witness.last()
    if before is None or not 0 < before.size < size:
        return []
    proof = await _call(http, "GET", f"/trace/{node}/consistency?from={before.size}&to={size}")
    return [str(digest) for digest in proof["path"]]


async def _call(http: aiohttp.ClientSession, method: str, path: str, body: object = None) -> Any:
    async with http.request(method, API + path, json=body, allow_redirects=False) as answer:
        raw = b""
        async for chunk in answer.content.iter_any():
            raw += chunk
            if len(raw) > MAX_ANSWER_BYTES:
                raise CosignRefused(f"{method} {path} : la réponse est trop longue")
        if answer.status >= 300:
            raise CosignRefused(f"{method} {path} : {answer.status} {raw[:500].decode('utf-8', 'replace')}")
        return json.loads(raw) if raw else None
