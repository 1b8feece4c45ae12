"""A connection that came by a balancer: its transport names the client as its peer, and is the same in all else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

BALANCED = "balanced"
"""The extra information by which a transport says that it ends at a balancer: a datagram to its peer's address would
not come by there."""


class Balanced(asyncio.Protocol):
    """Stands where the protocol will, until the connection is made; then steps aside.

    ``source`` is the client's address and port; None where the balancer speaks for itself.
    """

    def __init__(self, protocol: asyncio.BaseProtocol, source: tuple[str, int] | None) -> None:
        self._protocol = protocol
        self._source = source

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        stream = cast(asyncio.Transport, transport)  # uvloop's transports are of no asyncio class
        stream.set_protocol(self._protocol)
        self._protocol.connection_made(BalancedTransport(stream, self._source))


class BalancedTransport(asyncio.Transport):
    """The balancer's connection, as the client's."""

    def __init__(self, transport: asyncio.Transport, source: tuple[str, int] | None) -> None:
        super().__init__()
        self._transport = transport
        self._source = source

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See :class:`asyncio.BaseTransport`."""
        if name == "peername" and self._source is not None:
            return self._source
        return True if name == BALANCED else self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """See :class:`asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def close(self) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._transport.close()

    def abort(self) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._transport.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See :class:`asyncio.BaseTransport`."""
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See :class:`asyncio.BaseTransport`."""
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        """See :class:`asyncio.ReadTransport`."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """See :class:`asyncio.ReadTransport`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See :class:`asyncio.ReadTransport`."""
        self._transport.resume_reading()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._transport.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._transport.writelines(list_of_data)

    def write_eof(self) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        """See :class:`asyncio.WriteTransport`."""
        return self._transport.can_write_eof()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See :class:`asyncio.WriteTransport`."""
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """See :class:`asyncio.WriteTransport`, in bytes."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See :class:`asyncio.WriteTransport`, in bytes."""
        return self._transport.get_write_buffer_limits()
