"""Large files, sent for as long as they may be: what a cut leaves unsent is never handed over (article 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import BinaryIO

from aiohttp import hdrs, web

from halfgateway.api.operation import Download
from halfgateway.errors import StateStoreUnavailable
from halfgateway.net.sockets import abort

PIECE_BYTES = 256 * 1024
"""Bytes that are read, and sent, at once: what may be on its way to the kernel when a cut comes."""

ASK_EVERY_S = 0.05
"""How often it is asked whether a file may still be sent, while its reader takes nothing."""


async def send_file(request: web.Request, file: Download, *, status: int) -> web.StreamResponse:
    """Send a file. Raises StateStoreUnavailable where it cannot be read."""
    try:
        content = await asyncio.to_thread(file.path.open, "rb")
    except OSError as error:
        raise StateStoreUnavailable("Le fichier ne peut être lu.") from error
    response = web.StreamResponse(
        status=status,
        headers={
            hdrs.CONTENT_TYPE: file.media_type,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{file.name}"',
        },
    )
    response.content_length = file.size_bytes
    sent = _Sent()
    guard = asyncio.create_task(_cut_when_forbidden(request, file.may_go_on), name="download guard")
    try:
        await response.prepare(request)
        await _send(content, response, file.may_go_on, sent)
    except OSError:
        _abort(request)
    finally:
        guard.cancel()
        content.close()
        file.ended(sent.size_bytes)
    return response


class _Sent:
    size_bytes = 0


async def _send(content: BinaryIO, response: web.StreamResponse, may_go_on: Callable[[], bool], sent: _Sent) -> None:
    while piece := await asyncio.to_thread(content.read, PIECE_BYTES):
        if not may_go_on():
            raise ConnectionAbortedError
        await response.write(piece)
        sent.size_bytes += len(piece)
    await response.write_eof()


async def _cut_when_forbidden(request: web.Request, may_go_on: Callable[[], bool]) -> None:
    while True:
        if not may_go_on():
            _abort(request)
            return
        await asyncio.sleep(ASK_EVERY_S)


def _abort(request: web.Request) -> None:
    """Cut the connection; nothing that is queued for it is delivered."""
    if request.transport is not None:
        abort(request.transport)
