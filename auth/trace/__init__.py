"""The tamper-evident journal of every access (RFC 6962 tree, C2SP signed checkpoints).

Its format is final (ADR 0003). :class:`Journal` writes it, :class:`TraceReader` reads beside the writer, and
:func:`verify_folder` checks a copy anywhere.
"""

from __future__ import annotations

from auth.errors import AuthError, EntryRefused, NoteError, TraceDamaged, TraceUnavailable
from auth.trace.acts import OpenAct, open_streams
from auth.trace.checkpoint import Checkpoint
from auth.trace.entry import Draft, Entry
from auth.trace.journal import Journal
from auth.trace.kinds import Kind
from auth.trace.opening import Recovery
from auth.trace.storage import Storage, SystemStorage

__all__ = [
    "AuthError",
    "Checkpoint",
    "Draft",
    "Entry",
    "EntryRefused",
    "Journal",
    "Kind",
    "NoteError",
    "OpenAct",
    "Recovery",
    "Storage",
    "SystemStorage",
    "TraceDamaged",
    "TraceUnavailable",
    "open_streams",
]
