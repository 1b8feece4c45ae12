"""What somebody wrote, without the addresses of SYN's half: those never leave it (C16)."""

from __future__ import annotations

import re

WITHHELD = "[adresse non communiquée]"
"""What stands where a person's text named an address of SYN's half (C16)."""

_ADDRESSES = re.compile(
    r"\b[a-z][a-z0-9+.-]*://\S+"
    r"|(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:[:/][0-9]{1,5})?(?!\w)"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){5,7}[0-9a-f]{1,4}(?![\w:])"
    r"|(?<![\w:])[0-9a-f:]{0,30}::[0-9a-f:]{1,30}"
    r"|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.(?:local|lan|internal|intra|home\.arpa)\b",
    re.IGNORECASE,
)
"""URLs, IPv4, MAC and IPv6 addresses, and names of networks that nobody outside can resolve."""


def discreet(text: str) -> str:
    """Write what somebody wrote on one line, without URLs and network addresses: those stay in SYN's half (C16)."""
    return _ADDRESSES.sub(WITHHELD, " ".join(text.split()))
