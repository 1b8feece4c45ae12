"""The tables of the registry: cameras, and the profiles in which each may be watched.

A removed camera keeps its row, without its secrets, so that its identifier is never given again (C06).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.cameras import MAX_IDENTIFIER_CHARACTERS
from camera_registry.sql import Base, UtcDateTime

_NAME_CHARACTERS = 200
_URL_CHARACTERS = 2048


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
