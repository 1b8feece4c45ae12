"""Who asks through the node's own socket: an account of this machine, by the kernel's word (C21).

The socket lies in the node's data folder, for its own account alone. What comes through it is done by ``local:NAME``,
with the security officer's rights: whoever holds that account holds the node's records and keys anyhow, and is named.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from functools import lru_cache

from aiohttp import web

from auth.principals import Principal, Role
from halfgateway.api.paths import BEHIND_SUDO

_PEER = struct.Struct("3i")
_ROOT = 0
_MAX_NAME_CHARS = 48
_PREFIX = "local:"


def local_account(request: web.Request) -> str | None:
    """The account that asks through the node's own socket, such as ``local:jeanne``; None for any other connection."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    user = _user_behind(connection.fileno())
    if user not in {_ROOT, os.geteuid()}:
        return None
    if user == _ROOT and (sudoer := _known(request.headers.get(BEHIND_SUDO, ""))) is not None:
        return _PREFIX + sudoer
    return _PREFIX + _name_of(user)


def local_principal(account: str) -> Principal:
    """What the house sees of such an account."""
    return Principal(
        account=account,
        role=Role.OFFICER,
        agent=None,
        service=None,
        site=None,
        attribution=None,
        factors=(),
        scope=None,
    )


def is_local(principal: Principal) -> bool:
    """Whether it is such an account: no other has a colon in its name."""
    return principal.account.startswith(_PREFIX)


def _user_behind(descriptor: int) -> int:
    """The peer's user id when it connected (``SO_PEERCRED``, unix(7))."""
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(user)


@lru_cache(maxsize=64)
def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name[:_MAX_NAME_CHARS]
    except KeyError:
        return f"uid-{user}"


def _known(name: str) -> str | None:
    try:
        return pwd.getpwnam(name).pw_name[:_MAX_NAME_CHARS]
    except (KeyError, ValueError):
        return None
