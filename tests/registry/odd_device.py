"""A device that answers whatever a test says, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from camera_registry import soap

Answer = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request: its operation, and the password digest or Authorization that came with it."""

    path: str
    operation: str
    username_token: bool
    authorization: str


@dataclass
class OddDevice:
    """Where it listens, and what it was asked so far."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    @property
    def operations(self) -> list[str]:
        return [each.operation for each in self.asked]

    @property
    def tries(self) -> int:
        """How many requests bore a password in some form."""
        return sum(each.username_token or bool(each.authorization) for each in self.asked)


@asynccontextmanager
async def odd_device(answer: Answer) -> AsyncIterator[OddDevice]:
    """A device on loopback whose every answer is ``answer(request, operation)``."""
    device = OddDevice()

    async def serve(request: web.Request) -> web.StreamResponse:
        root = soap.read_envelope(await request.read())
        operation = soap.operation(root)
        token = soap.first(root, "Header", "Security", "UsernameToken") is not None
        authorization = request.headers.get("Authorization", "")
        device.asked.append(Asked(request.path, operation, token, authorization))
        return await answer(request, operation)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    device.url = f"http://127.0.0.1:{runner.addresses[0][1]}/onvif/device_service"
    try:
        yield device
    finally:
        await runner.cleanup()


def soap_answer(body: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer with ``body`` in an envelope that declares the usual prefixes."""
    text = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
        ' xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl">'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )
    return web.Response(status=status, text=text, content_type="application/soap+xml", headers=headers)


def not_authorised() -> web.Response:
    """The fault of a device that does not take these credentials."""
    fault = (
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode>"
        "</s:Code><s:Reason><s:Text>Sender not authorized</s:Text></s:Reason></s:Fault>"
    )
    return soap_answer(fault, status=400)
