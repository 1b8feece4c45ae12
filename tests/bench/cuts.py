"""Cuts, by each of the ways in which operations may make one, and with everything stopped that a cut must not need."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp

from halfgateway.api.paths import API
from halfgateway.control.beacon import CUT_SIGNAL, make_node_follow
from halfgateway.folder import short_path
from ops import interconnection as states
from ops.interconnection import Author, Ground
from ops.local_record import LocalRecord
from tests.bench.child import BenchError
from tests.bench.subjects import Gateway
from tests.databases import databases
from tests.sending.stage import MailServer

FOLLOW_LIMIT_S: Final = 20.0
POLL_S: Final = 0.001
REASON: Final = "banc d'essai"


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut's instants (monotonic seconds): decided on, durable on disk, followed by the node to its own word.

    Where the node itself writes the record, ``recorded_s`` is the file's own time: the kernel keeps it to 4 ms.
    """

    called_s: float
    recorded_s: float
    followed_s: float
    incident: str


Way = Callable[[Gateway], Awaitable[Cut]]


async def by_record(ours: Gateway) -> Cut:
    """What ``halfgateway cut`` does, without the start of a command in the figures. Raises BenchError."""
    return await asyncio.to_thread(_record_and_signal, ours)


def _record_and_signal(ours: Gateway) -> Cut:
    called_s, at = time.monotonic(), datetime.now(UTC)
    incident = states.new_incident(at)
    state = LocalRecord(ours.folder.interconnection).update(
        lambda current: states.cut(
            current, ground=Ground.CRITICAL_INCIDENT, reason=REASON, by=Author.OPS, since=at, incident=incident
        )
    )
    recorded_s = time.monotonic()
    if make_node_follow(ours.folder.run, state.serial, FOLLOW_LIMIT_S) is None:
        raise BenchError("the node has not followed the cut")
    return Cut(called_s, recorded_s, time.monotonic(), incident)


WITHOUT_NETWORK: Final = ("unshare", "--map-root-user", "--net")
"""Runs a command where even 127.0.0.1 is out of reach."""


def has_namespaces() -> bool:
    """Whether this machine lets a command be run so."""
    return subprocess.run([*WITHOUT_NETWORK, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


async def by_command(ours: Gateway) -> Cut:
    """``halfgateway cut`` to which the API is down, as is all else that is not in the node's folder. Raises BenchError.

    The start of a command is in ``called_s``.
    """
    called_s = time.monotonic()
    cut = [sys.executable, "-m", "halfgateway", "cut", "--reason", REASON, "--data", str(ours.folder.root), "--json"]
    command = await asyncio.create_subprocess_exec(*WITHOUT_NETWORK, *cut, stdout=asyncio.subprocess.PIPE)
    output, _ = await command.communicate()
    followed_s = time.monotonic()
    answer = json.loads(output) if command.returncode == 0 else {}
    if not answer.get("nodes"):
        raise BenchError(f"halfgateway cut: {command.returncode} {output!r}")
    return Cut(called_s, _recorded_s(ours), followed_s, answer["incident"])


async def by_api(ours: Gateway) -> Cut:
    """``POST /interconnection/cut``, at the node's own socket. Raises BenchError."""
    wish = {"ground": Ground.CRITICAL_INCIDENT.value, "reason": REASON}
    with short_path(ours.folder) as short:
        connector = aiohttp.UnixConnector(short)
        async with aiohttp.ClientSession("http://local", connector=connector) as http:
            called_s = time.monotonic()
            async with http.post(f"{API}/interconnection/cut", json=wish) as answer:
                told = await answer.json(content_type=None)
            followed_s = time.monotonic()
    if answer.status != 200:
        raise BenchError(f"the API has not cut: {told}")
    return Cut(called_s, _recorded_s(ours), followed_s, told["incident"])


async def by_signal(ours: Gateway) -> Cut:
    """SIGUSR1, and nothing else. Raises BenchError."""
    assert ours.rtsp.process is not None
    record = LocalRecord(ours.folder.interconnection)
    serial = record.load().serial
    called_s = time.monotonic()
    os.kill(ours.rtsp.process.pid, CUT_SIGNAL)
    try:
        async with asyncio.timeout(FOLLOW_LIMIT_S):
            while _followed(ours) <= serial:
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise BenchError("the node has not cut when told to by a signal") from error
    return Cut(called_s, _recorded_s(ours), time.monotonic(), record.load().incident or "")


async def restore(ours: Gateway, incident: str) -> None:
    """Open again, as ``halfgateway restore`` does."""
    at = datetime.now(UTC)
    state = LocalRecord(ours.folder.interconnection).update(
        lambda current: states.restore(current, incident=incident, reason=REASON, by=Author.OPS, since=at)
    )
    await asyncio.to_thread(make_node_follow, ours.folder.run, state.serial, FOLLOW_LIMIT_S)


@asynccontextmanager
async def services_stopped(ours: Gateway, mail: MailServer) -> AsyncIterator[None]:
    """While it lasts, Valkey is frozen, the database's bytes are none, and nobody listens where mail is taken."""
    valkey = int((ours.folder.valkey / "valkey.pid").read_text())
    await mail.down()
    os.kill(valkey, signal.SIGSTOP)
    try:
        with databases.lost(ours.folder.records):
            yield
    finally:
        os.kill(valkey, signal.SIGCONT)
        await mail.up()


def _followed(ours: Gateway) -> int:
    """The serial up to which the node says that it has followed."""
    with contextlib.suppress(OSError, ValueError):
        return int(json.loads((ours.folder.run / "followed.json").read_text())["serial"])
    return 0


def _recorded_s(ours: Gateway) -> float:
    """When the record was last written."""
    return ours.folder.interconnection.stat().st_mtime_ns / 1e9 - (time.time() - time.monotonic())
