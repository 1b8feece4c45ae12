"""The tables of asserted access: PP's keys, and the assertions that have been used."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from auth.tables import ACCOUNT_ID_CHARS
from camera_registry.sql import Base, UtcDateTime

KID_CHARS = 64
NONCE_CHARS = 128


class AssertionKeyRow(Base):
    """A public key with which PP signs assertions, from its declaration on; a row is never deleted."""

    __tablename__ = "assertion_keys"

    kid: Mapped[str] = mapped_column(String(KID_CHARS), primary_key=True)
    public_key_pem: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(String(200))
    declared_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    declared_at: Mapped[datetime] = mapped_column(UtcDateTime)
    valid_from: Mapped[datetime] = mapped_column(UtcDateTime)
    valid_until: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_by: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
    revoked_reason: Mapped[str | None] = mapped_column(String(500))


class UsedAssertionRow(Base):
    """The nonce of an assertion that was accepted; the primary key refuses the second one, on whichever node."""

    __tablename__ = "used_assertions"

    nonce: Mapped[str] = mapped_column(String(NONCE_CHARS), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
