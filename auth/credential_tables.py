"""The tables of what replaces a factor for once, and of who intervenes on the equipment."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from auth.tables import ACCOUNT_ID_CHARS, HEX_SHA256_CHARS
from camera_registry.sql import Base, UtcDateTime


class RecoveryCodeRow(Base):
    """A recovery code, by its keyed hash; used ones are kept until the next set replaces all."""

    __tablename__ = "recovery_codes"

    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    code_hmac: Mapped[str] = mapped_column(String(HEX_SHA256_CHARS), primary_key=True)
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BreakGlassRow(Base):
    """A sealed credential, by its number; never deleted."""

    __tablename__ = "break_glass"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    issued_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    first_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reported_by: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
    report: Mapped[str | None] = mapped_column(Text)


class InterventionRow(Base):
    """Someone who is to work on the equipment, from its declaration to its end (article 5)."""

    __tablename__ = "interventions"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    person: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    contractor: Mapped[str | None] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(String(500))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    ended_by: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
