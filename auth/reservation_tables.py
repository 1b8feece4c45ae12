"""The table of the slots that PP keeps free for its services (S16)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from auth.tables import ACCOUNT_ID_CHARS, SERVICE_CHARS
from camera_registry.sql import Base, UtcDateTime

RESERVATION_ID_CHARS = 16


class ReservationRow(Base):
    """One reservation. It has fewer slots once some were passed on; the trace tells when; a row is never deleted."""

    __tablename__ = "reservations"

    id: Mapped[str] = mapped_column(String(RESERVATION_ID_CHARS), primary_key=True)
    service: Mapped[str] = mapped_column(String(SERVICE_CHARS))
    slots: Mapped[int]
    until: Mapped[datetime] = mapped_column(UtcDateTime)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    made_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    passed_from: Mapped[str | None] = mapped_column(String(RESERVATION_ID_CHARS))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
