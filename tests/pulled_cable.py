"""A cable that is pulled, on any Linux and without privileges: the peer's kernel is deaf to one connection."""

from __future__ import annotations

import ctypes
import socket
import struct

from tests.raw_player import RawPlayer

SO_ATTACH_FILTER = 26
RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A classic BPF program of one instruction, BPF_RET | BPF_K of 0: no segment is accepted any more."""


def pull_the_cable(player: RawPlayer) -> None:
    """Let the kernel drop what comes for this player before TCP sees it: nothing is acknowledged, nothing reset.

    A socket filter does what an nft rule would, for one connection. The player must send nothing afterwards.
    """
    sock: socket.socket = player._writer.get_extra_info("socket")
    instruction = ctypes.create_string_buffer(RETURN_NOTHING, len(RETURN_NOTHING))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))  # struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
