"""A device that answers as a file of a corpus has it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from registry.odd_device import OddDevice, odd_device, soap_answer

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.guard import CredentialGuard
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import OnvifClient, onvif_opener
from tests.upstream.transcript_camera import CORPUS, sections

SOME = Credentials(username="passerelle", password="secret")


@asynccontextmanager
async def replayed(name: str, corpus: Path = CORPUS) -> AsyncIterator[tuple[OddDevice, OnvifClient]]:
    """A device that answers as that file of the corpus has it, and a client of it."""
    said = sections(name, corpus)

    async def answer(request: web.Request, operation: str) -> web.StreamResponse:
        open_to_all = operation == "GetSystemDateAndTime" or "UNAUTHORISED" not in said
        proven = open_to_all or "Authorization" in request.headers
        return _answer(said.get(operation if proven else "UNAUTHORISED", "501\n\n"), request.url.port or 0)

    clock = SystemClock()
    opened = onvif_opener(
        allowed=AllowedHosts(["127.0.0.1"]), guard=CredentialGuard(clock), clock=clock, random_bytes=os.urandom
    )
    async with odd_device(answer) as device, opened(device.url, SOME) as client:
        yield device, client


def _answer(said: str, port: int) -> web.Response:
    head, _, body = said.replace("{port}", str(port)).partition("\n\n")
    status, *lines = head.split("\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if "Content-Type" in headers:
        return web.Response(status=int(status), text=body, headers=headers)
    return soap_answer(body, status=int(status), headers=headers)
