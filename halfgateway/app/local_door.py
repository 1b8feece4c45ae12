"""The node's own socket: the API, for the accounts of this machine that may read its data folder (C21).

A path below a data folder can be longer than a Unix socket's address may be, so both sides name it by an open folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from aiohttp import web

from halfgateway.errors import LocalProtocolError
from halfgateway.folder import DataFolder

SOCKET = "office.sock"

_FOR_THE_OWNER_ALONE = 0o600


async def listen_locally(runner: web.AppRunner, folder: DataFolder, life: AsyncExitStack) -> None:
    """Serve what the runner has set up on the node's own socket, until the end of its life. Raises OSError."""
    if runner.server is None:
        raise LocalProtocolError("the runner is to be set up before it is served")
    path = folder.run / SOCKET
    path.unlink(missing_ok=True)  # left by a node that was killed: the folder is ours
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(folder) as short:
        listener.bind(short)
    path.chmod(_FOR_THE_OWNER_ALONE)
    server = await asyncio.get_running_loop().create_unix_server(runner.server, sock=listener)

    async def close() -> None:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

    life.push_async_callback(close)


@contextmanager
def short_path(folder: DataFolder) -> Iterator[str]:
    """The path of the socket of this folder, short enough to bind or to connect to while this lasts."""
    descriptor = os.open(folder.run, os.O_PATH | os.O_DIRECTORY)
    try:
        yield str(Path(f"/proc/self/fd/{descriptor}") / SOCKET)
    finally:
        os.close(descriptor)
