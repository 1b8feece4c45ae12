"""The tables of ``auth``: accounts, their certificates, login sessions; designations, habilitations, blocks.

No name, no certificate subject and no secret in clear is in them (C17). A designation, a habilitation and a block are
never edited: each is ended once, and followed by another.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from camera_registry.sql import Base, UtcDateTime

ACCOUNT_ID_CHARS = 64
HEX_SHA256_CHARS = 64
CERTIFICATE_NAME_CHARS = 80
SERVICE_CHARS = 128
REFERENCE_CHARS = 128
REASON_CHARS = 500


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
    """A certificate, by its keyed pseudonym; the primary key binds it to one account at most (C09).

    ``sealed`` is the certificate itself, for whoever asks later whether it is still good; ``falls`` how often it was
    found not to be.
    """

    __tablename__ = "account_certificates"

    pseudonym: Mapped[str] = mapped_column(String(HEX_SHA256_CHARS), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    bound_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    falls: Mapped[int] = mapped_column(Integer, default=0, server_default="0")


class LoginSessionRow(Base):
    """A login that still runs, by the SHA-256 of its token; ``certificate`` names the one it showed."""

    __tablename__ = "login_sessions"

    token_sha256: Mapped[str] = mapped_column(String(HEX_SHA256_CHARS), primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    factors: Mapped[str] = mapped_column(String(64))
    certificate: Mapped[str | None] = mapped_column(String(CERTIFICATE_NAME_CHARS))
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class AcquaintanceRow(Base):
    """An account that came in from a source, by a certificate or without: the hash of these three (S03)."""

    __tablename__ = "acquaintances"

    acquaintance_sha256: Mapped[str] = mapped_column(String(HEX_SHA256_CHARS), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class DesignationRow(Base):
    """One designation of one agent; an agent has one at a time, and as many as follow one another."""

    __tablename__ = "designations"
    __table_args__ = (
        Index(
            "ix_designations_agent_in_force",
            "agent",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), primary_key=True)
    agent: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), index=True)
    administration: Mapped[str] = mapped_column(String(8))
    service: Mapped[str] = mapped_column(String(SERVICE_CHARS))
    authority: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    start: Mapped[datetime] = mapped_column(UtcDateTime)
    end: Mapped[datetime | None] = mapped_column(UtcDateTime)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    recorded_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
    ended_reason: Mapped[str | None] = mapped_column(String(REASON_CHARS))
    ended_reference: Mapped[str | None] = mapped_column(String(REFERENCE_CHARS))


class HabilitationRow(Base):
    """One habilitation of one agent."""

    __tablename__ = "habilitations"

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), primary_key=True)
    agent: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), index=True)
    role: Mapped[str] = mapped_column(String(16))
    territory: Mapped[str] = mapped_column(Text)
    actions: Mapped[str] = mapped_column(String(64))
    sources: Mapped[str] = mapped_column(Text)
    start: Mapped[datetime] = mapped_column(UtcDateTime)
    end: Mapped[datetime | None] = mapped_column(UtcDateTime)
    authority: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARS))
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    recorded_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_by: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
    ended_reason: Mapped[str | None] = mapped_column(String(REASON_CHARS))
    ended_reference: Mapped[str | None] = mapped_column(String(REFERENCE_CHARS))


class ConfirmationRow(Base):
    """A review found a habilitation still needed."""

    __tablename__ = "habilitation_confirmations"

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), primary_key=True)
    habilitation_id: Mapped[str] = mapped_column(ForeignKey("habilitations.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    reference: Mapped[str] = mapped_column(String(REFERENCE_CHARS))


class BlockRow(Base):
    """A temporary exclusion of an agent, a service, a camera or a viewing site."""

    __tablename__ = "blocks"

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(200))
    ground: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    reason: Mapped[str] = mapped_column(String(REASON_CHARS))
    set_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    set_by: Mapped[str] = mapped_column(String(ACCOUNT_ID_CHARS))
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    lifted_by: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_CHARS))
    lifted_reason: Mapped[str | None] = mapped_column(String(REASON_CHARS))
