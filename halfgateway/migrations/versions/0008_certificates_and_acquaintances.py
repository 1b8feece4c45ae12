"""By which certificate a login was opened, how often each was found good no longer, and who has come in before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Apply this revision."""
    with op.batch_alter_table("account_certificates") as table:
        table.add_column(sa.Column("sealed", sa.LargeBinary(), nullable=True))
        table.add_column(sa.Column("falls", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("login_sessions") as table:
        table.add_column(sa.Column("certificate", sa.String(length=80), nullable=True))
    op.create_table(
        "acquaintances",
        sa.Column("acquaintance_sha256", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("acquaintance_sha256", name=op.f("pk_acquaintances")),
    )
    op.create_index("ix_acquaintances_seen_at", "acquaintances", ["seen_at"], unique=False)
