"""The convention's life: changes, maintenance windows, annexes, charter, calendar, acceptance, announcements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "changes",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("party", sa.String(length=3), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=True),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_by", sa.String(length=64), nullable=False),
        sa.Column("wished_on", sa.Date(), nullable=False),
        sa.Column("major", sa.Boolean(), nullable=True),
        sa.Column("project_structure", sa.Boolean(), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.Column("decision", sa.String(length=128), nullable=True),
        sa.Column("classified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scheduled_on", sa.Date(), nullable=True),
        sa.Column("went_live_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawal", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_changes")),
    )
    op.create_table(
        "change_agreements",
        sa.Column("change", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("party", sa.String(length=3), nullable=False),
        sa.Column("not_before", sa.Date(), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("change", "party", name=op.f("pk_change_agreements")),
    )
    op.create_table(
        "maintenance_windows",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("drain_s", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("change", sa.Integer(), nullable=True),
        sa.Column("planned_by", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=32), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawal", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_maintenance_windows")),
    )
    op.create_index(op.f("ix_maintenance_windows_ends_at"), "maintenance_windows", ["ends_at"], unique=False)
    op.create_table(
        "annex_versions",
        sa.Column("annex", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("party", sa.String(length=3), nullable=False),
        sa.Column("summary", sa.String(length=500), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=True),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("informed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("informed_by", sa.String(length=64), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("in_force_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opposed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("opposed_by", sa.String(length=3), nullable=True),
        sa.Column("opposition", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("annex", "version", name=op.f("pk_annex_versions")),
    )
    op.create_table(
        "charter_acknowledgements",
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("agent", "version", name=op.f("pk_charter_acknowledgements")),
    )
    op.create_table(
        "convention_acts",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("party", sa.String(length=3), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.String(length=64), nullable=False),
        sa.Column("ground", sa.String(length=32), nullable=True),
        sa.Column("effect", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answers", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_convention_acts")),
    )
    op.create_table(
        "acceptances",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_by", sa.String(length=64), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("public_key_pem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_acceptances")),
    )
    op.create_table(
        "announcements",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("filed_by", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("announcements")
    op.drop_table("acceptances")
    op.drop_table("convention_acts")
    op.drop_table("charter_acknowledgements")
    op.drop_table("annex_versions")
    op.drop_index(op.f("ix_maintenance_windows_ends_at"), table_name="maintenance_windows")
    op.drop_table("maintenance_windows")
    op.drop_table("change_agreements")
    op.drop_table("changes")
