"""The tables of the convention's life: changes, maintenance windows, annexes, acts, acceptance, announcements.

What the parties put on record is never deleted; a row is only completed (classified, opposed, held), or followed.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.sql import Base, UtcDateTime
from ops.interconnection import MAX_REASON_CHARS
from ops.parties import REFERENCE_CHARS, TITLE_CHARS

ACCOUNT_CHARS = 64
_PARTY_CHARS = 3
_KIND_CHARS = 32


class ChangeRow(Base):
    """A planned change of either party (C15)."""

    __tablename__ = "changes"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    party: Mapped[str] = mapped_column(String(_PARTY_CHARS))
    title: Mapped[str] = mapped_column(String(TITLE_CHARS))
    description: Mapped[str] = mapped_column(Text)
    reference: Mapped[str | None] = mapped_column(String(REFERENCE_CHARS))
    announced_at: Mapped[datetime] = mapped_column(UtcDateTime)
    announced_by: Mapped[str] = mapped_column(String(ACCOUNT_CHARS))
    wished_on: Mapped[date]
    major: Mapped[bool | None]
    project_structure: Mapped[bool | None]
    decided_by: Mapped[str | None] = mapped_column(String(TITLE_CHARS))
    decision: Mapped[str | None] = mapped_column(String(REFERENCE_CHARS))
    classified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scheduled_on: Mapped[date | None]
    went_live_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawal: Mapped[str | None] = mapped_column(String(MAX_REASON_CHARS))


class AgreementRow(Base):
    """A party's latest agreement to an earlier day of a change."""

    __tablename__ = "change_agreements"

    change: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    party: Mapped[str] = mapped_column(String(_PARTY_CHARS), primary_key=True)
    not_before: Mapped[date]
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class WindowRow(Base):
    """A maintenance window (P07)."""

    __tablename__ = "maintenance_windows"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    drain_s: Mapped[int]
    reason: Mapped[str] = mapped_column(String(MAX_REASON_CHARS))
    change: Mapped[int | None]
    planned_by: Mapped[str] = mapped_column(String(ACCOUNT_CHARS))
    author: Mapped[str] = mapped_column(String(_KIND_CHARS))
    announced_at: Mapped[datetime] = mapped_column(UtcDateTime)
    held_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawal: Mapped[str | None] = mapped_column(String(MAX_REASON_CHARS))


class AnnexRow(Base):
    """One version of one annex, with its document (C07)."""

    __tablename__ = "annex_versions"

    annex: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    party: Mapped[str] = mapped_column(String(_PARTY_CHARS))
    summary: Mapped[str] = mapped_column(String(MAX_REASON_CHARS))
    reference: Mapped[str | None] = mapped_column(String(REFERENCE_CHARS))
    media_type: Mapped[str] = mapped_column(String(_KIND_CHARS))
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    informed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    informed_by: Mapped[str] = mapped_column(String(ACCOUNT_CHARS))
    effective_at: Mapped[datetime] = mapped_column(UtcDateTime)
    in_force_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    opposed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    opposed_by: Mapped[str | None] = mapped_column(String(_PARTY_CHARS))
    opposition: Mapped[str | None] = mapped_column(String(MAX_REASON_CHARS))


class CharterRow(Base):
    """An agent who has acknowledged a version of the charter (L25)."""

    __tablename__ = "charter_acknowledgements"

    agent: Mapped[str] = mapped_column(String(ACCOUNT_CHARS), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class ActRow(Base):
    """An act on the convention itself (C18, C22)."""

    __tablename__ = "convention_acts"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(_KIND_CHARS))
    party: Mapped[str] = mapped_column(String(_PARTY_CHARS))
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    day: Mapped[date]
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str] = mapped_column(String(ACCOUNT_CHARS))
    ground: Mapped[str | None] = mapped_column(String(_KIND_CHARS))
    effect: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answers: Mapped[int | None]


class AcceptanceRow(Base):
    """A signed acceptance record (C23)."""

    __tablename__ = "acceptances"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    accepted: Mapped[bool]
    held_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str] = mapped_column(String(ACCOUNT_CHARS))
    document: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
    public_key_pem: Mapped[str] = mapped_column(Text)


class AnnouncementRow(Base):
    """What is to be announced, written with the act that it announces; a node then lays it in its file."""

    __tablename__ = "announcements"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[str] = mapped_column(Text)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    filed_by: Mapped[str | None] = mapped_column(String(ACCOUNT_CHARS))
