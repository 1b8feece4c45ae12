"""Designations, habilitations and blocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "designations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("administration", sa.String(length=8), nullable=False),
        sa.Column("service", sa.String(length=128), nullable=False),
        sa.Column("authority", sa.String(length=128), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.String(length=64), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=64), nullable=True),
        sa.Column("ended_reason", sa.String(length=500), nullable=True),
        sa.Column("ended_reference", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_designations")),
    )
    op.create_index(op.f("ix_designations_agent"), "designations", ["agent"], unique=False)
    op.create_index(
        "ix_designations_agent_in_force",
        "designations",
        ["agent"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(op.f("ix_designations_recorded_at"), "designations", ["recorded_at"], unique=False)
    op.create_table(
        "habilitations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("territory", sa.Text(), nullable=False),
        sa.Column("actions", sa.String(length=64), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("authority", sa.String(length=128), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.String(length=64), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=64), nullable=True),
        sa.Column("ended_reason", sa.String(length=500), nullable=True),
        sa.Column("ended_reference", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_habilitations")),
    )
    op.create_index(op.f("ix_habilitations_agent"), "habilitations", ["agent"], unique=False)
    op.create_index(op.f("ix_habilitations_recorded_at"), "habilitations", ["recorded_at"], unique=False)
    op.create_table(
        "habilitation_confirmations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("habilitation_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["habilitation_id"],
            ["habilitations.id"],
            name=op.f("fk_habilitation_confirmations_habilitation_id_habilitations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_habilitation_confirmations")),
    )
    op.create_index(
        op.f("ix_habilitation_confirmations_habilitation_id"),
        "habilitation_confirmations",
        ["habilitation_id"],
        unique=False,
    )
    op.create_table(
        "blocks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("ground", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lifted_by", sa.String(length=64), nullable=True),
        sa.Column("lifted_reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocks")),
    )
    op.create_index(op.f("ix_blocks_set_at"), "blocks", ["set_at"], unique=False)


def downgrade() -> None:
    """Undo it."""
    op.drop_index(op.f("ix_blocks_set_at"), "blocks")
    op.drop_table("blocks")
    op.drop_index(op.f("ix_habilitation_confirmations_habilitation_id"), "habilitation_confirmations")
    op.drop_table("habilitation_confirmations")
    op.drop_index(op.f("ix_habilitations_agent"), "habilitations")
    op.drop_index(op.f("ix_habilitations_recorded_at"), "habilitations")
    op.drop_table("habilitations")
    op.drop_index(op.f("ix_designations_agent"), "designations")
    op.drop_index("ix_designations_agent_in_force", "designations")
    op.drop_index(op.f("ix_designations_recorded_at"), "designations")
    op.drop_table("designations")
