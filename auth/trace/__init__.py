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
from auth.trace.lock import writer_lives
from auth.trace.reader import (
    ConsistencyProof,
    InclusionProof,
    Page,
    SignedCheckpoint,
    TraceFilter,
    TraceReader,
)
from auth.trace.recovered import Recovery
from auth.trace.storage import Storage, SystemStorage
from auth.trace.tree import leaf_hash, verify_consistency, verify_inclusion
from auth.trace.verify import Status, Verification, verify_folder

__all__ = [
    "AuthError",
    "Checkpoint",
    "ConsistencyProof",
    "Draft",
    "Entry",
    "EntryRefused",
    "InclusionProof",
    "Journal",
    "Kind",
    "NoteError",
    "OpenAct",
    "Page",
    "Recovery",
    "SignedCheckpoint",
    "Status",
    "Storage",
    "SystemStorage",
    "TraceDamaged",
    "TraceFilter",
    "TraceReader",
    "TraceUnavailable",
    "Verification",
    "leaf_hash",
    "open_streams",
    "verify_consistency",
    "verify_folder",
    "verify_inclusion",
    "writer_lives",
]
