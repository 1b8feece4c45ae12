"""A node's journal and its forwarder, to be killed: FOLDER, PORT and ENOUGH.

The collector's files are in FOLDER. Once there is a file ENOUGH, no more entries are written.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.trace import Draft, Journal, Kind
from camera_registry.clock import SystemClock
from halfgateway.siem import forwarder
from halfgateway.siem.cursor import CursorFile
from halfgateway.siem.forwarder import Forwarder, Plan
from halfgateway.siem.link import Collector, Link
from halfgateway.siem.messages import Protocol, Writer

forwarder.LOOK_S = 0.01
forwarder.FIRST_DELAY_S = 0.02
forwarder.LONGEST_DELAY_S = 0.1

BETWEEN_ENTRIES_S = 0.002


async def live(folder: Path, port: int, enough: Path) -> None:
    """Write entries until there are enough, and send them until all are proven to have been read."""
    ca, plan = folder / "collector" / "ca", Plan("collector", proof_s=0.05)
    collector = Collector("127.0.0.1", port, "localhost", ca / "ca.pem", ca / "node-1.pem", ca / "node-1.key")
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    journal = await Journal.open(folder / "trace", node="gw1", key=key, clock=SystemClock())
    sending = Forwarder(
        reader=journal.reader(),
        plan=plan,
        writer=Writer(Protocol.SYSLOG, max_bytes=8192, product_version="1"),
        cursor=CursorFile(folder / "siem.json", plan.collector),
        connect=lambda: Link(collector),
        tell=lambda _: None,
        now=time.monotonic,
        chance=lambda: 0.0,
    )
    running = asyncio.create_task(sending.run())
    while not enough.exists():
        await journal.record(Draft(kind=Kind.STREAM_REQUESTED, stream=f"s-{journal.size}"))
        await asyncio.sleep(BETWEEN_ENTRIES_S)
    while sending.lag_entries:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
    await journal.close()


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
