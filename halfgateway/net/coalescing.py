"""Few, large reads: what a peer sends within a moment is read at once, and not as it comes.

Waking up and sending are what a relay costs, not bytes: read packet by packet, a picture of sixteen packets costs
sixteen times the wake-ups and the sends of one that is read at once. So the event loop opens these connections, writes
to them and closes them, but they are read here: once their first bytes have come and they have rested for a moment
(docs/adr/0004).
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import deque
from collections.abc import Callable

from halfgateway.net.sockets import BorrowedSocket

NAP_S = 0.002
"""Seconds of a rest: a picture's packets come within them, and nobody sees a delay of two milliseconds."""

READ_BYTES = 256 * 1024
"""What is read at once, at most: a gigabit a second of one that rests before each read. More waits in the kernel."""

RESTS_BETWEEN_TRIALS = 32
"""Rests after which one read is made at once, to see whether what is sent still comes in parts: a camera that writes
whole pictures needs no rest. Where it does come in parts, that read is one too many."""

_ONCE = select.EPOLLIN | select.EPOLLONESHOT

OnData = Callable[[bytes], bool]
"""Takes what was read; answers whether more of the same is to come at once."""


class Coalescing:
    """Reads the connections of one event loop that are given to it.

    They wait in an ``epoll`` of their own, each for its next bytes and for one event only, so that one that rests wakes
    nobody. The event loop watches this one descriptor.
    """

    def __init__(self, *, nap_s: float = NAP_S) -> None:
        self._nap_s = nap_s
        self._waiting: select.epoll | None = None
        self._readings: dict[int, Reading] = {}
        self._resting: deque[tuple[float, Reading]] = deque()
        self._due: deque[Reading] = deque()

    def read(self, transport: asyncio.Transport, on_data: OnData) -> Reading:
        """Read ``transport`` from now on, until its protocol, which has lost the connection, stops it.

        Raises OSError: it is closed already.
        """
        reading = Reading(self, transport, on_data)
        transport.pause_reading()
        if self._waiting is None:
            self._waiting = select.epoll()
            asyncio.get_running_loop().add_reader(self._waiting.fileno(), self._wake)
        self._readings[reading.descriptor] = reading
        self._waiting.register(reading.descriptor, _ONCE)
        return reading

    def wait(self, reading: Reading) -> None:
        """Go on with it when its next bytes have come."""
        if self._waiting is not None:
            self._waiting.modify(reading.descriptor, _ONCE)

    def rest(self, reading: Reading) -> None:
        """Go on with it after a moment."""
        if not self._resting:
            asyncio.get_running_loop().call_later(self._nap_s, self._end_rests)
        self._resting.append((time.monotonic() + self._nap_s, reading))

    def forget(self, reading: Reading) -> None:
        """Wait for it no more; its descriptor is still its own."""
        if self._waiting is None or self._readings.pop(reading.descriptor, None) is None:
            return
        self._waiting.unregister(reading.descriptor)
        if not self._readings:
            asyncio.get_running_loop().remove_reader(self._waiting.fileno())
            self._waiting.close()
            self._waiting = None

    def _wake(self) -> None:
        for descriptor, _ in self._waiting.poll(0) if self._waiting is not None else ():
            reading = self._readings[descriptor]
            if reading.rests_first():
                self.rest(reading)
            else:
                self._due.append(reading)
        self._read_due()

    def _end_rests(self) -> None:
        """Those that are over, or nearly so: to wake up for each by itself is what is to be spared."""
        resting, over_s = self._resting, time.monotonic() + self._nap_s / 4
        while resting and resting[0][0] <= over_s:
            self._due.append(resting.popleft()[1])
        if resting:
            asyncio.get_running_loop().call_later(resting[0][0] - over_s + self._nap_s / 4, self._end_rests)
        self._read_due()

    def _read_due(self) -> None:
        try:
            while self._due:
                self._due.popleft().read()
        finally:
            if self._due:  # a bug has ended one connection: the others go on
                asyncio.get_running_loop().call_soon(self._read_due)


class Reading:
    """One connection that is read here. It is stopped before its transport has closed it."""

    def __init__(self, coalescing: Coalescing, transport: asyncio.Transport, on_data: OnData) -> None:
        self._coalescing = coalescing
        self._transport = transport
        self._on_data = on_data
        self._socket = BorrowedSocket(transport)
        self._rests_left = 0
        self._stopped = False
        self._paused = False
        self._parked = False
        self.descriptor = self._socket.fileno()

    def stop(self) -> None:
        """Read no more. To stop twice does nothing."""
        if not self._stopped:
            self._stopped = True
            self._coalescing.forget(self)
            self._socket.give_back()

    def pause(self) -> None:
        """Leave what comes in the kernel, so that the sender is held back; at most one read more is made."""
        self._paused = True

    def resume(self) -> None:
        """Go on reading after a pause."""
        self._paused = False
        if self._parked and not self._is_over:
            self._parked = False
            self._coalescing.wait(self)

    def rests_first(self) -> bool:
        """Whether what has just begun to come is to be read in a moment, and not at once."""
        if self._rests_left == 0:
            return False
        self._rests_left -= 1
        return True

    def read(self) -> None:
        """Read what has come."""
        if self._is_over:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            self._coalescing.wait(self)
        except OSError:
            self._transport.abort()
        else:
            self._take(data)

    @property
    def _is_over(self) -> bool:
        return self._stopped or self._transport.is_closing()

    def _take(self, data: bytes) -> None:
        if not data:
            self._transport.close()
            return
        more_to_come = None
        try:
            more_to_come = self._on_data(data)
        finally:
            if more_to_come is None:  # a bug: as the event loop does, end the connection
                self._transport.abort()
        if self._is_over:
            return
        self._socket.acknowledge()
        if self._paused:
            self._parked = True
        elif more_to_come:
            self._rests_left = RESTS_BETWEEN_TRIALS
            self._coalescing.rest(self)
        else:
            self._coalescing.wait(self)
