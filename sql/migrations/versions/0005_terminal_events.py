"""Terminal events, on PostgreSQL in partitions by their time: the cost of a load does not grow with what is stored."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "fact_terminal_events",
        sa.Column("event_id", KEY, primary_key=True),
        sa.Column("machine_id", KEY, nullable=False),
        sa.Column("event_at", INSTANT, primary_key=True),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("volume_transferred_t", sa.Double()),
        sa.Column("status_code", sa.Text(), nullable=False),
        sa.Column("flow_rate_t_per_h", sa.Double()),
        sa.Column("pressure_bar", sa.Double()),
        sa.Column("vibration_mm_s", sa.Double()),
        sa.Column("temperature_deg_c", sa.Double()),
        sa.Column("is_late", sa.Boolean(), nullable=False),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("origin_us", BIG, nullable=False),
        sa.Column("origin_seq", BIG, nullable=False),
        sa.Column("content_hash", BIG, nullable=False),
        postgresql_partition_by="RANGE (event_at)",
    )
