"""What a service manager is told of this process (systemd's sd_notify protocol, sd_notify(3)).

A datagram to the socket that ``NOTIFY_SOCKET`` names; without one nobody wants to know, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

BEATS_IN_A_LIMIT = 3
"""Signs of life within the manager's time limit: one may come late, and one be lost."""

_MICROSECONDS = 1_000_000


@asynccontextmanager
async def supervised(environment: Mapping[str, str]) -> AsyncIterator[None]:
    """Say that the process is ready; that its event loop turns, as often as is wanted; and that it ends."""
    address = environment.get("NOTIFY_SOCKET", "")
    beating = asyncio.create_task(_beat(address, _limit_s(environment)), name="watchdog")
    _tell(address, "READY=1")
    try:
        yield
    finally:
        _tell(address, "STOPPING=1")
        beating.cancel()
        await asyncio.wait({beating})


async def _beat(address: str, limit_s: float | None) -> None:
    while limit_s is not None:
        _tell(address, "WATCHDOG=1")
        await asyncio.sleep(limit_s / BEATS_IN_A_LIMIT)


def _limit_s(environment: Mapping[str, str]) -> float | None:
    """The manager's ``WatchdogSec``, if it has one."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / _MICROSECONDS if microseconds.isdecimal() and int(microseconds) > 0 else None


def _tell(address: str, state: str) -> None:
    if not address:
        return
    where = "\0" + address[1:] if address.startswith("@") else address  # "@" is an abstract socket's (unix(7))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
            sock.sendto(state.encode(), where)
    except OSError as error:  # the manager restarts, or is slow: the next sign of life says the same
        log.warning("supervisor.not_told state=%s error=%s", state, error)
