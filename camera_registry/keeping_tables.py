"""The tables of what is kept of recordings: judicial holds, and what the recorders were last found to have (C04, L26).

A hold is never edited: it is extracted once, and ended once.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.cameras import MAX_IDENTIFIER_CHARACTERS
from camera_registry.sql import Base, UtcDateTime
from camera_registry.tables import REASON_CHARACTERS

REFERENCE_CHARACTERS = 128
_CODE_CHARACTERS = 16
_SHA256_CHARACTERS = 64


class HoldRow(Base):
    """One judicial hold; ``reminded_on`` is the last day on which the trace was told that it is to be extracted."""

    __tablename__ = "holds"
    __table_args__ = (Index("ix_holds_camera", "camera"),)

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    camera: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    start: Mapped[datetime] = mapped_column(UtcDateTime)
    end: Mapped[datetime] = mapped_column(UtcDateTime)
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARACTERS))
    until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    placed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    placed_by: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    medium: Mapped[str | None] = mapped_column(String(REFERENCE_CHARACTERS))
    manifest_sha256: Mapped[str | None] = mapped_column(String(_SHA256_CHARACTERS))
    extracted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    extracted_by: Mapped[str | None] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    released_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    released_by: Mapped[str | None] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    release: Mapped[str | None] = mapped_column(String(REASON_CHARACTERS))
    reminded_on: Mapped[date | None]


class ProbeRow(Base):
    """One round of the retention probe; ``day`` is Paris's, of a round that the calendar began, and its own."""

    __tablename__ = "retention_probes"
    __table_args__ = (Index("ix_retention_probes_day", "day", unique=True),)

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    day: Mapped[date | None]
    begun_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class FindingRow(Base):
    """What was last found of one camera. Its verdict is that of the last answer; ``reached`` is of the last round."""

    __tablename__ = "retention_findings"

    camera: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS), primary_key=True)
    probed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reached: Mapped[bool]
    verdict: Mapped[str | None] = mapped_column(Text)
