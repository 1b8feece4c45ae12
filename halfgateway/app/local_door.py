"""The node's own socket: the API, for the accounts of this machine that may read its data folder (C21)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AsyncExitStack

from aiohttp import web

from halfgateway.errors import LocalProtocolError
from halfgateway.folder import DataFolder, short_path

_FOR_THE_OWNER_ALONE = 0o600


async def listen_locally(runner: web.AppRunner, folder: DataFolder, life: AsyncExitStack) -> None:
    """Serve what the runner has set up on the node's own socket, until the end of its life. Raises OSError."""
    if runner.server is None:
        raise LocalProtocolError("the runner is to be set up before it is served")
    path = folder.socket
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
