"""The tables of the registry: cameras, the profiles in which each may be watched, and the orders that allow it.

A removed camera keeps its row, without its secrets, so that its identifier is never given again (C06). What an order
says is never edited: it is suspended, resumed and withdrawn by rows and marks that stay.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.cameras import MAX_IDENTIFIER_CHARACTERS
from camera_registry.sql import Base, UtcDateTime

_NAME_CHARACTERS = 200
_URL_CHARACTERS = 2048
REFERENCE_CHARACTERS = 64
REASON_CHARACTERS = 500


class CameraRow(Base):
    """One camera, retired or not."""

    __tablename__ = "cameras"

    id: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS), primary_key=True)
    name: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    site: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    commune: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    latitude: Mapped[float]
    longitude: Mapped[float]
    state: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str | None] = mapped_column(String(64))
    recorded: Mapped[bool]
    onvif_url: Mapped[str] = mapped_column(String(_URL_CHARACTERS))
    credentials_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    manufacturer: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    model: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    firmware: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    serial: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    hardware: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    clock_offset_s: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ProfileRow(Base):
    """One profile of a camera, with the address it is pulled from; position 0 is the best one."""

    __tablename__ = "camera_profiles"
    __table_args__ = (Index("ix_camera_profiles_order", "camera_id", "position", unique=True),)

    camera_id: Mapped[str] = mapped_column(ForeignKey("cameras.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS), primary_key=True)
    position: Mapped[int]
    codec: Mapped[str] = mapped_column(String(32))
    width: Mapped[int]
    height: Mapped[int]
    fps: Mapped[float]
    rtsp_url: Mapped[str | None] = mapped_column(String(_URL_CHARACTERS))


class RevisionRow(Base):
    """One row: how often it has changed who may see what. Whoever keeps a view in memory asks this first."""

    __tablename__ = "rights_revision"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class OrderRow(Base):
    """One prefectoral order as it was recorded; a reference is given anew only once the one before was withdrawn."""

    __tablename__ = "orders"
    __table_args__ = (
        Index(
            "ix_orders_reference_in_use",
            "reference",
            unique=True,
            sqlite_where=text("withdrawn_at IS NULL"),
            postgresql_where=text("withdrawn_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS), primary_key=True)
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARACTERS))
    type: Mapped[str] = mapped_column(String(16))
    perimeter: Mapped[str] = mapped_column(Text)
    place: Mapped[str] = mapped_column(String(_NAME_CHARACTERS))
    recipients: Mapped[str] = mapped_column(Text)
    live: Mapped[bool]
    recorded: Mapped[bool]
    retention_min_days: Mapped[int]
    retention_max_days: Mapped[int]
    signed_on: Mapped[date]
    last_day: Mapped[date]
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recorded_by: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawn_by: Mapped[str | None] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    withdrawal_reason: Mapped[str | None] = mapped_column(String(REASON_CHARACTERS))


class SuspensionRow(Base):
    """A time during which an order was, or is, suspended."""

    __tablename__ = "order_suspensions"

    id: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS), primary_key=True)
    order_id: Mapped[str] = mapped_column(ForeignKey("orders.id"), index=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str] = mapped_column(String(REASON_CHARACTERS))
    suspended_by: Mapped[str] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(MAX_IDENTIFIER_CHARACTERS))
