"""The tables of ``auth``: accounts, their certificates, login sessions.

No name, no certificate subject and no secret in clear is in them (C17).
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.sql import Base, UtcDateTime

ACCOUNT_ID_CHARS = 64
HEX_SHA256_CHARS = 64


class AccountRow(Base):
    """One person's or one machine's account."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    agent: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
    service: Mapped[str | None] = mapped_column(String(128))
    site: Mapped[str | None] = mapped_column(String(128))
    scope: Mapped[str | None] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    totp_secret_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)
    digest_realm: Mapped[str | None] = mapped_column(String(128))
    ha1_md5_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    ha1_sha256_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CertificateRow(Base):
    """A certificate, by its keyed pseudonym; the primary key binds it to one account at most (C09)."""

    __tablename__ = "account_certificates"

    pseudonym: Mapped[str] = mapped_column(String(HEX_SHA256_CHARS), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    bound_at: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginSessionRow(Base):
    """A login that still runs, by the SHA-256 of its token."""

    __tablename__ = "login_sessions"

    token_sha256: Mapped[str] = mapped_column(String(HEX_SHA256_CHARS), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    factors: Mapped[str] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
