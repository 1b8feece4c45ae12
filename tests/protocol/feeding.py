"""Feeding bytes to a connection, and what came out in a form that does not depend on how they were cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from halfgateway.errors import RemoteProtocolError
from halfgateway.protocol.connection import NEED_DATA, Connection, Role
from halfgateway.protocol.interleaved import FRAME_HEADER_BYTES, InterleavedBatch
from halfgateway.protocol.messages import Request, Response

CORPUS = Path(__file__).parent.parent / "data" / "rtsp"

#: A message, or an interleaved frame as (channel, payload).
Item: TypeAlias = Request | Response | tuple[int, bytes]


@dataclass
class Heard:
    """The items that came out, and the status of the error that ended it, or None."""

    items: list[Item] = field(default_factory=list)
    status: int | None = None


def corpus(*suffixes: str) -> dict[str, bytes]:
    """The files of the corpus with one of these endings, by name."""
    return {path.name: path.read_bytes() for path in sorted(CORPUS.iterdir()) if path.name.endswith(suffixes)}


def role_of(name: str) -> Role:
    """Who reads the bytes of a corpus file."""
    return Role.SERVER if "client" in name or "requests" in name else Role.CLIENT


def hear(chunks: Iterable[bytes | memoryview], role: Role, *, lenient_resync: bool = False) -> Heard:
    """Feed the chunks; every batch is checked for what its docstring promises."""
    connection = Connection(role, lenient_resync=lenient_resync)
    heard = Heard()
    try:
        for chunk in chunks:
            connection.receive_data(chunk)
            _take(connection, heard)
        assert connection.next_event() is NEED_DATA
    except RemoteProtocolError as error:
        heard.status = error.status
    return heard


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def _take(connection: Connection, heard: Heard) -> None:
    while True:
        event = connection.next_event()
        if event is NEED_DATA:
            return
        if isinstance(event, InterleavedBatch):
            heard.items.extend(_frames(event))
        else:
            heard.items.append(event)


def _frames(batch: InterleavedBatch) -> Iterable[tuple[int, bytes]]:
    assert type(batch.data) is bytes
    expected_start = 0
    for channel, start, end in batch.frames:
        header = batch.data[start : start + FRAME_HEADER_BYTES]
        assert start == expected_start
        assert header == bytes((0x24, channel)) + (end - start - FRAME_HEADER_BYTES).to_bytes(2, "big")
        yield channel, batch.data[start + FRAME_HEADER_BYTES : end]
        expected_start = end
    assert expected_start == len(batch.data) > 0
