"""Streams: positions, lineage, assignments, gaps and listeners; facts tell whether they came late."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "stream_positions",
        sa.Column("consumer_group", KEY, primary_key=True),
        sa.Column("topic", KEY, primary_key=True),
        sa.Column("topic_id", KEY, primary_key=True),
        sa.Column("partition_number", BIG, primary_key=True, autoincrement=False),
        sa.Column("first_offset", BIG, nullable=False),
        sa.Column("next_offset", BIG, nullable=False),
        sa.Column("newest_event_us", BIG),
        sa.Column("listener_id", sa.Text(), nullable=False),
        sa.Column("moved_at", INSTANT, nullable=False),
    )
    op.create_table(
        "stream_batches",
        sa.Column("batch_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("consumer_group", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("topic_id", KEY, nullable=False),
        sa.Column("partition_number", BIG, nullable=False),
    )
    op.create_index("ix_stream_batches_partition", "stream_batches", ["topic", "partition_number"])
    op.create_table(
        "stream_assignments",
        sa.Column("assignment_id", BIG, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("listener_id", sa.Text(), nullable=False),
        sa.Column("consumer_group", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("partition_number", BIG, nullable=False),
        sa.Column("next_offset", BIG, nullable=False),
        sa.Column("log_start", BIG, nullable=False),
        sa.Column("log_end", BIG, nullable=False),
        sa.Column("redelivered", BIG, nullable=False),
        sa.Column("skipped", BIG, nullable=False),
        sa.Column("gap", BIG, nullable=False),
        sa.Column("assigned_at", INSTANT, nullable=False),
    )
    op.create_table(
        "stream_gaps",
        sa.Column("gap_id", BIG, primary_key=True, autoincrement=True),
        sa.Column("consumer_group", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("topic_id", KEY, nullable=False),
        sa.Column("partition_number", BIG, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("from_offset", BIG, nullable=False),
        sa.Column("until_offset", BIG),
        sa.Column("noted_at", INSTANT, nullable=False),
        sa.Column("accepted_at", INSTANT),
        sa.Column("accepted_by", sa.Text()),
        sa.Column("closed_at", INSTANT),
        sa.UniqueConstraint("consumer_group", "topic", "topic_id", "partition_number", "kind", "from_offset"),
    )
    op.create_table(
        "stream_listeners",
        sa.Column("listener_id", KEY, primary_key=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("consumer_group", KEY, nullable=False),
        sa.Column("topic", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("partitions", BIG, nullable=False),
        sa.Column("lag", BIG, nullable=False),
        sa.Column("messages", BIG, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("polled_at", INSTANT, nullable=False),
        sa.Column("committed_at", INSTANT),
        sa.Column("heartbeat_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
    )
    op.add_column("quarantine", sa.Column("origin_us", BIG))
    op.add_column("fact_transactions", sa.Column("is_late", sa.Boolean(), nullable=False, server_default=sa.false()))
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("fact_transactions", "is_late", server_default=None)
