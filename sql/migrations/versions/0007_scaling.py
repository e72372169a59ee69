"""Scaling of listeners: how the warehouse treats them, who shall drain, and what the scaler remembers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("stream_listeners", sa.Column("commit_s", sa.Double()))
    op.add_column("stream_listeners", sa.Column("drain_requested_at", INSTANT))
    op.create_table(
        "stream_scaling",
        sa.Column("consumer_group", KEY, primary_key=True),
        sa.Column("topic", KEY, primary_key=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("looked_at", INSTANT, nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("target", BIG),
        sa.Column("capacity", sa.Double()),
        sa.Column("changed_at", INSTANT),
        sa.Column("quiet_since", INSTANT),
        sa.Column("lagging_since", INSTANT),
        sa.Column("told_lagging", sa.Boolean(), nullable=False),
        sa.Column("told_stopped", sa.Boolean(), nullable=False),
    )
