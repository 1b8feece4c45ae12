"""The table of requests made outside the link, and of requisitions; a row is answered once, and never edited (C05)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.cameras import MAX_IDENTIFIER_CHARACTERS
from camera_registry.sql import Base, UtcDateTime
from ops.interconnection import MAX_REASON_CHARS
from ops.life_tables import ACCOUNT_CHARS
from ops.parties import REFERENCE_CHARS

_CODE_CHARS = 32


class OutsideRequestRow(Base):
    """One request."""

    __tablename__ = "outside_requests"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    sort: Mapped[str] = mapped_column(String(_CODE_CHARS))
    channel: Mapped[str] = mapped_column(String(_CODE_CHARS))
    service: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    reference: Mapped[str | None] = mapped_column(String(REFERENCE_CHARS))
    camera: Mapped[str | None] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    start: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end: Mapped[datetime | None] = mapped_column(UtcDateTime)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str] = mapped_column(String(ACCOUNT_CHARS))
    outcome: Mapped[str | None] = mapped_column(String(_CODE_CHARS))
    cause: Mapped[str | None] = mapped_column(String(_CODE_CHARS))
    answer: Mapped[str | None] = mapped_column(String(MAX_REASON_CHARS))
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answered_by: Mapped[str | None] = mapped_column(String(ACCOUNT_CHARS))
