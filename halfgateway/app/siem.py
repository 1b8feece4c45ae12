"""The node's forwarder to a SIEM, where one is configured."""

from __future__ import annotations

import random
import time

from auth.trace import Journal
from halfgateway import __version__
from halfgateway.config import Configuration
from halfgateway.control.tracing import Tracer
from halfgateway.folder import DataFolder
from halfgateway.siem.cursor import CursorFile
from halfgateway.siem.forwarder import Forwarder
from halfgateway.siem.link import Link
from halfgateway.siem.messages import Writer


def open_forwarder(
    configuration: Configuration, folder: DataFolder, journal: Journal, tracer: Tracer
) -> Forwarder | None:
    siem = configuration.siem
    if siem is None:
        return None
    plan, collector = siem.plan(), siem.collector()
    return Forwarder(
        reader=journal.reader(),
        plan=plan,
        writer=Writer(siem.protocol, max_bytes=siem.max_message_bytes, product_version=__version__),
        cursor=CursorFile(folder.siem_cursor, plan.collector),
        connect=lambda: Link(collector),
        tell=tracer.eventual,
        now=time.monotonic,
        chance=random.random,
    )
