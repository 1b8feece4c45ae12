"""Annexes 2 and 3 as a test's configuration has them: no node starts without (N13)."""

from __future__ import annotations

from typing import Any

CONTACTS: list[dict[str, Any]] = [
    {
        "function": "Permanence du PVPP",
        "party": "PP",
        "role": "functional-mailbox",
        "email": "pvpp@pp.example",
        "valid_from": "2025-10-21",
    },
    {
        "function": "Astreinte SYN",
        "party": "SYN",
        "role": "single-point-of-contact",
        "email": "astreinte@syn.example",
        "phone": "01 00 00 00 03",
        "valid_from": "2025-10-21",
    },
]
