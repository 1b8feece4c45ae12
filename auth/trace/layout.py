"""The journal's bytes on disk, pure: file names, headers, leaf records, payload frames (ADR 0003).

Everything is big-endian. Nothing here may change: what is written with it is never converted.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime
from hashlib import sha256

from auth.trace.tree import leaf_hash
from camera_registry.clock import rfc3339

FORMAT = "halfgateway-journal/1"
CHECKPOINTS = "checkpoints"

SEGMENT_HEIGHT = 16
SEGMENT_ENTRIES = 1 << SEGMENT_HEIGHT
"""Entries of one segment: a perfect subtree, so a full segment is one hash to who proves or restarts."""

MAX_PAYLOAD_BYTES = 16_384
"""Bytes of one entry's JSON: an assertion kept as bytes fits four times over; a larger draft is refused."""

STAMP_ROOM_BYTES = 256
"""What of that bound is kept for the stamp: a node's name, three numbers, a time and a kind."""

MAX_GROUP_ENTRIES = 512
"""Entries made durable by one pair of fsyncs, and so the most that a crash can tear; more waits its turn."""

MAX_GROUP_BYTES = 1 << 20
"""Payload bytes after which a group takes no further entry, for the same two reasons."""

SALT_BYTES = 32
LEAF = struct.Struct(">QqI32s")
"""A leaf record: number, time in Unix microseconds, kind's number, commitment."""

FRAME = struct.Struct(">II")
"""A payload frame's head: the payload's length, and its complement (or, once erased, the length again)."""

COMPLEMENT = 0xFFFFFFFF
"""What the second number of a live frame's head is XORed with."""

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MICROSECONDS = 1_000_000


def is_node_name(name: str) -> bool:
    """Tell whether this can name a node: 1 to 64 of letters, digits, ``.``, ``_``, ``-``; no leading sign."""
    return _NODE_NAME.fullmatch(name) is not None


def origin(node: str) -> str:
    """Return the log's identity in its checkpoints (C2SP tlog-checkpoint), which is also its key's name."""
    return f"halfgateway/{node}"


def leaves_name(first: int) -> str:
    """File name of the leaf records of the segment that begins with entry ``first``."""
    return f"{first:012d}.leaves"


def payloads_name(first: int) -> str:
    """File name of the payload frames of the segment that begins with entry ``first``."""
    return f"{first:012d}.payloads"


def leaves_header(node: str, first: int) -> bytes:
    """First line of a file of leaf records."""
    return f"{FORMAT} leaves {origin(node)} {first:012d}\n".encode("ascii")


def payloads_header(node: str, first: int) -> bytes:
    """First line of a file of payload frames."""
    return f"{FORMAT} payloads {origin(node)} {first:012d}\n".encode("ascii")


def segment_of(n: int) -> int:
    """Return the first entry number of the segment that holds entry ``n``."""
    return n - n % SEGMENT_ENTRIES


def commitment(salted_payload: bytes) -> bytes:
    """Commit to a payload: SHA-256 of its 32-byte salt and its bytes, as they lie together in the frame."""
    return sha256(salted_payload).digest()


def frame(salt: bytes, payload: bytes) -> bytes:
    """Frame a payload with its salt."""
    return FRAME.pack(len(payload), len(payload) ^ COMPLEMENT) + salt + payload


def erased_frame(leaf_record: bytes, length: int) -> bytes:
    """Frame what a purge leaves of a payload of ``length`` bytes: its length, its leaf's hash, zeros (T09).

    The hash, in the salt's place, keeps a second witness of the leaf: a bit that changes in it is still
    named at once.
    """
    return FRAME.pack(length, length) + erased_body(leaf_hash(leaf_record), SALT_BYTES + length)


def erased_body(leaf_digest: bytes, size: int) -> bytes:
    """Return what lies in place of the ``size`` bytes of salt and payload that a purge erased."""
    return leaf_digest + bytes(size - SALT_BYTES)


def frame_body(head: bytes) -> tuple[int, bool] | None:
    """Read a frame's head: bytes of salt and payload that follow, and whether they were erased.

    None when no writer can have written this head: any one bit changed in it shows here.
    """
    length, check = FRAME.unpack(head)
    if not 0 < length <= MAX_PAYLOAD_BYTES or check not in (length, length ^ COMPLEMENT):
        return None
    return SALT_BYTES + length, check == length


class StampWriter:
    """Writes the members with which every payload of a node begins, and which its leaf repeats.

    Remembers the last second's text: entries come in bursts and calendar arithmetic is slow.
    """

    __slots__ = ("_node", "_second", "_second_text")

    def __init__(self, node: str) -> None:
        self._node = node
        self._second: int | None = None
        self._second_text = ""

    def write(self, n: int, at_us: int, kind: str, code: int) -> str:
        """Return the stamp, from the opening brace to the comma after the code.

        Raises ValueError when no calendar holds the time.
        """
        second, microsecond = divmod(at_us, _MICROSECONDS)
        if second != self._second:
            try:
                text = rfc3339(datetime.fromtimestamp(second, UTC))
            except (OverflowError, OSError) as error:
                raise ValueError(f"no calendar holds {at_us} µs") from error
            self._second_text = text.partition(".")[0]
            self._second = second
        return (
            f'{{"node":"{self._node}","n":{n},"at":"{self._second_text}.{microsecond:06d}Z",'
            f'"kind":"{kind}","code":{code},'
        )
