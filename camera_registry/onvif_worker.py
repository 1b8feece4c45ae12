"""The process in which a node's devices are asked: ``python -m camera_registry.onvif_worker``, started by the node.

Its standard input is one end of a socket pair (:mod:`camera_registry.onvif_wire`). It keeps nothing: which passwords
were refused is for the node to remember. It ends with that socket, and with the node.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from camera_registry.clock import SystemClock
from camera_registry.connections import Credentials
from camera_registry.errors import AuthRejected, ClientLost, Locked, Malformed, RegistryError
from camera_registry.hosts import AllowedHosts
from camera_registry.onvif_client import OnvifClient
from camera_registry.onvif_library import load_library
from camera_registry.onvif_port import RecordingQuery
from camera_registry.onvif_search import RecorderClient
from camera_registry.onvif_transport import DeviceTransport
from camera_registry.onvif_wire import (
    FROM_NODE,
    Answer,
    Begin,
    Call,
    Cancel,
    Close,
    Failure,
    FromNode,
    FromProcess,
    Method,
    Outcome,
    Permit,
    Ping,
    Pong,
    Tried,
    Try,
    WireError,
    frame_of,
    read_message,
)

log = logging.getLogger(__name__)

_STDIN: Final = 0
_RECORDERS: Final = frozenset(
    {Method.RECORDINGS, Method.RECORDING, Method.STATE_CHANGES, Method.REPLAY_URL, Method.REVERSES}
)
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)

Result = TypeVar("Result")


class Desk:
    """Answers the calls of one node; ``send`` takes what is to be said to it."""

    def __init__(self, begin: Begin, send: Callable[[FromProcess], None]) -> None:
        self._allowed = AllowedHosts(begin.hosts)
        self._timeout_s = begin.timeout_s
        self._send = send
        self._clock = SystemClock()
        self._devices: dict[int, OnvifClient] = {}
        self._calls: dict[int, tuple[int, asyncio.Task[Any]]] = {}
        self._closings: set[asyncio.Task[None]] = set()
        self._tries = itertools.count()
        self._permits: dict[int, asyncio.Future[str | None]] = {}

    def take(self, message: FromNode) -> None:
        """Take one message of the node. Raises WireError for one that has no place here."""
        match message:
            case Call():
                task = asyncio.create_task(self._ask(message), name=f"call {message.number}")
                self._calls[message.number] = (message.session, task)
                task.add_done_callback(partial(self._answer, message.number))
            case Cancel():
                if message.number in self._calls:
                    self._calls[message.number][1].cancel()
            case Close():
                closing = asyncio.create_task(self._close(message.session))
                self._closings.add(closing)
                closing.add_done_callback(self._closings.discard)
            case Permit():
                permit = self._permits.get(message.number)
                if permit is not None and not permit.done():
                    permit.set_result(message.refusal)
            case Ping():
                self._send(Pong())
            case Begin():
                raise WireError("begun twice")

    async def tried(self, session: int, request: Callable[[], Awaitable[Result]]) -> Result:
        """Await ``request``, which sends credentials, if the node permits it; tell it what became of them."""
        number = next(self._tries)
        permit = self._permits[number] = asyncio.get_running_loop().create_future()
        outcome = Outcome.UNKNOWN
        self._send(Try(number=number, session=session))
        try:
            refusal = await permit
            if refusal is not None:
                raise Locked(refusal)
            answer = await request()
            outcome = Outcome.ACCEPTED
            return answer
        except AuthRejected:
            outcome = Outcome.REJECTED
            raise
        finally:
            del self._permits[number]
            self._send(Tried(number=number, outcome=outcome))

    async def aclose(self) -> None:
        """Drop every call and close every device."""
        calls = [task for _, task in self._calls.values()]
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, *self._closings, return_exceptions=True)
        for device in self._devices.values():
            await device.aclose()

    async def _ask(self, call: Call) -> object:
        device = self._devices.get(call.session)
        if device is None:
            device = self._devices[call.session] = self._opened(call)
        if call.method in _RECORDERS:
            return await _ask_recorder(device.recorder, call)
        match call.method:
            case Method.CLOCK:
                return await device.clock()
            case Method.DEVICE_INFORMATION:
                return await device.device_information()
            case Method.PROFILES:
                return await device.profiles()
        if call.profile is None:
            raise WireError("a call without its profile")
        if call.method is Method.STREAM_URL:
            return await device.stream_url(call.profile)
        await device.request_keyframe(call.profile)
        return None

    def _opened(self, call: Call) -> OnvifClient:
        transport = DeviceTransport(
            device=urlsplit(call.url).netloc,
            credentials=call.credentials,
            allowed=self._allowed,
            guard=_NodesGuard(self, call.session),
            clock=self._clock,
            random_bytes=os.urandom,
            timeout_s=self._timeout_s,
        )
        transport.clock_offset = timedelta(seconds=call.clock_offset_s)
        return OnvifClient(call.url, transport, allowed=self._allowed, clock=self._clock)

    def _answer(self, number: int, task: asyncio.Task[Any]) -> None:
        """Send what a call came to; one that broke is a bug of ours or of the library, and ends nothing else."""
        del self._calls[number]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, RegistryError):
            self._send(Failure(number=number, cause=error.cause, words=str(error)))
        elif error is not None:
            log.error("onvif.call_broke error=%s", type(error).__name__, exc_info=error)
            self._send(Failure(number=number, cause=ClientLost.cause, words="the ONVIF client failed"))
        else:
            self._send_value(number, task.result())

    def _send_value(self, number: int, value: object) -> None:
        try:
            self._send(Answer(number=number, value=value))
        except WireError:
            self._send(Failure(number=number, cause=Malformed.cause, words="the device says too much of itself"))

    async def _close(self, session: int) -> None:
        for asking, task in tuple(self._calls.values()):
            if asking == session:
                task.cancel()
        device = self._devices.pop(session, None)
        if device is not None:
            await device.aclose()


async def _ask_recorder(recorder: RecorderClient, call: Call) -> object:
    match call.method, call.recording:
        case Method.RECORDINGS, None:
            return await recorder.recordings()
        case Method.REVERSES, None:
            return await recorder.reverses()
        case Method.RECORDING, RecordingQuery(token=token):
            return await recorder.recording(token)
        case Method.REPLAY_URL, RecordingQuery(token=token):
            return await recorder.replay_url(token)
        case Method.STATE_CHANGES, RecordingQuery(token=token, start=datetime() as start, end=datetime() as end):
            return await recorder.state_changes(token, start, end)
    raise WireError("a call of a recorder that lacks what it is about")


class _NodesGuard:
    """The node's :class:`~camera_registry.guard.CredentialGuard`, from here."""

    def __init__(self, desk: Desk, session: int) -> None:
        self._desk = desk
        self._session = session

    async def run(self, device: str, credentials: Credentials, request: Callable[[], Awaitable[Result]]) -> Result:
        """See :class:`~camera_registry.guard.Guard`; the node knows device and credentials by the session."""
        return await self._desk.tried(self._session, request)


async def serve(node: socket.socket) -> None:
    """Answer the node at the other end of ``node`` until it closes it. Raises WireError."""
    reader, writer = await asyncio.open_unix_connection(sock=node)
    begin = await read_message(reader, FROM_NODE)
    if begin is None:
        return
    if not isinstance(begin, Begin):
        raise WireError("not begun")
    await load_library()
    desk = Desk(begin, lambda message: writer.write(frame_of(message)))
    try:
        while (message := await read_message(reader, FROM_NODE)) is not None:
            desk.take(message)
    finally:
        await desk.aclose()


def main() -> None:
    """Serve the node whose socket is the standard input, until it is closed."""
    node = socket.socket(fileno=_STDIN)
    if sys.platform == "linux":  # should this process ever hang, it ends with the node all the same
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if _is_gone(node):  # it died before that: nothing is to be loaded for it
        return
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    asyncio.run(serve(node))


def _is_gone(node: socket.socket) -> bool:
    """Whether the node has closed its end, also where something that it said before is still to be read."""
    poll = select.poll()
    poll.register(node, select.POLLHUP)
    return bool(poll.poll(0))


if __name__ == "__main__":
    main()
