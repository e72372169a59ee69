"""The backbone: dataset tables, daily statistics, and the ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration keeps its own types: it must go on making what it made, whatever later releases do.
KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "aggr_daily_site_stats",
        sa.Column("day_number", BIG, primary_key=True, autoincrement=False),
        sa.Column("site_location", KEY, primary_key=True),
        sa.Column("transaction_date", sa.Date(), nullable=False),
        sa.Column("total_transactions", BIG, nullable=False),
        sa.Column("total_volume", sa.Double(), nullable=False),
        sa.Column("total_alerts", BIG, nullable=False),
        sa.Column("active_machines", BIG, nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", BIG, primary_key=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("contract_version", BIG, nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("as_of", INSTANT, nullable=False),
        sa.Column("first_row", BIG),
        sa.Column("last_row", BIG),
        sa.Column("decimal_mark", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("read_rows", BIG, nullable=False),
        sa.Column("inserted", BIG, nullable=False),
        sa.Column("updated", BIG, nullable=False),
        sa.Column("unchanged", BIG, nullable=False),
        sa.Column("superseded", BIG, nullable=False),
        sa.Column("quarantined", BIG, nullable=False),
        sa.Column("loaded_at", INSTANT, nullable=False),
    )
    op.create_table(
        "dim_calendar",
        sa.Column("day_number", BIG, primary_key=True, autoincrement=False),
        sa.Column("calendar_date", sa.Date(), nullable=False, unique=True),
        sa.Column("calendar_year", BIG, nullable=False),
        sa.Column("calendar_month", BIG, nullable=False),
        sa.Column("day_of_month", BIG, nullable=False),
        sa.Column("iso_year", BIG, nullable=False),
        sa.Column("iso_week", BIG, nullable=False),
        sa.Column("iso_weekday", BIG, nullable=False),
    )
    op.create_table(
        "dim_machines",
        sa.Column("machine_id", KEY, primary_key=True),
        sa.Column("valid_from", INSTANT, primary_key=True),
        sa.Column("valid_to", INSTANT),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("is_absent", sa.Boolean(), nullable=False),
        sa.Column("site_location", sa.Text(), nullable=False),
        sa.Column("installation_year", BIG),
        sa.Column("machine_type", sa.Text()),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("origin_us", BIG, nullable=False),
        sa.Column("origin_seq", BIG, nullable=False),
        sa.Column("content_hash", BIG, nullable=False),
    )
    op.create_table(
        "dim_stations",
        sa.Column("station_code", KEY, primary_key=True),
        sa.Column("station_name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("latitude_deg", sa.Double(), nullable=False),
        sa.Column("longitude_deg", sa.Double(), nullable=False),
        sa.Column("corridor_km", sa.Double(), nullable=False),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("origin_us", BIG, nullable=False),
        sa.Column("origin_seq", BIG, nullable=False),
        sa.Column("content_hash", BIG, nullable=False),
    )
    op.create_table(
        "dirty_marks",
        sa.Column("mark_id", BIG, primary_key=True),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("day_number", BIG, nullable=False),
        sa.Column("site_location", sa.Text(), nullable=False),
    )
    op.create_table(
        "fact_transactions",
        sa.Column("transaction_id", KEY, primary_key=True),
        sa.Column("machine_id", KEY, nullable=False),
        sa.Column("transaction_at", INSTANT, nullable=False),
        sa.Column("volume_transferred_t", sa.Double()),
        sa.Column("status_code", sa.Text(), nullable=False),
        sa.Column("transaction_date", sa.Date(), nullable=False),
        sa.Column("day_number", BIG, nullable=False),
        sa.Column("site_location", sa.Text(), nullable=False),
        sa.Column("installation_year", BIG),
        sa.Column("critical_alert", sa.Boolean(), nullable=False),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("origin_us", BIG, nullable=False),
        sa.Column("origin_seq", BIG, nullable=False),
        sa.Column("content_hash", BIG, nullable=False),
    )
    op.create_table(
        "file_positions",
        sa.Column("source", KEY, primary_key=True),
        sa.Column("location", KEY, primary_key=True),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.Column("contract_version", BIG, nullable=False),
        sa.Column("size_bytes", BIG, nullable=False),
        sa.Column("modified_us", BIG, nullable=False),
        sa.Column("origin_us", BIG, nullable=False),
        sa.Column("batch_id", BIG, nullable=False),
    )
    op.create_table(
        "load_attempt_reasons",
        sa.Column("attempt_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("reason", KEY, primary_key=True),
        sa.Column("bad_rows", BIG, nullable=False),
    )
    op.create_table(
        "load_attempt_rows",
        sa.Column("attempt_id", BIG, primary_key=True, autoincrement=False),
        sa.Column("row_number", BIG, primary_key=True, autoincrement=False),
        sa.Column("column_name", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "load_attempts",
        sa.Column("attempt_id", BIG, primary_key=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("file_hash", sa.Text(), nullable=False),
        sa.Column("contract_version", BIG, nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("read_rows", BIG, nullable=False),
        sa.Column("quarantined", BIG, nullable=False),
        sa.Column("attempted_at", INSTANT, nullable=False),
        sa.Column("released_at", INSTANT),
    )
    op.create_table(
        "machine_observations",
        sa.Column("machine_id", KEY, primary_key=True),
        sa.Column("origin_us", BIG, primary_key=True, autoincrement=False),
        sa.Column("origin_seq", BIG, primary_key=True, autoincrement=False),
        sa.Column("content_hash", BIG, primary_key=True, autoincrement=False),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("site_location", sa.Text()),
        sa.Column("installation_year", BIG),
        sa.Column("machine_type", sa.Text()),
    )
    op.create_table(
        "purges",
        sa.Column("purge_id", BIG, primary_key=True),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("purged_rows", BIG, nullable=False),
        sa.Column("read_rows", BIG, nullable=False),
        sa.Column("inserted", BIG, nullable=False),
        sa.Column("updated", BIG, nullable=False),
        sa.Column("unchanged", BIG, nullable=False),
        sa.Column("superseded", BIG, nullable=False),
        sa.Column("quarantined", BIG, nullable=False),
        sa.Column("purged_at", INSTANT, nullable=False),
    )
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", BIG, primary_key=True),
        sa.Column("batch_id", BIG, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("row_number", BIG, nullable=False),
        sa.Column("column_name", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("replayed_batch_id", BIG),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), primary_key=True),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("outcome", sa.Text()),
    )
    op.create_table(
        "schema_views",
        sa.Column("fingerprint", sa.Text(), primary_key=True),
    )
    op.create_table(
        "station_aliases",
        sa.Column("alias", KEY, primary_key=True),
        sa.Column("station_code", KEY, nullable=False),
    )
    op.create_index("ix_batches_location", "batches", ["source", "location"])
    op.create_index("ix_fact_transactions_day", "fact_transactions", ["day_number"])
    op.create_index("ix_load_attempts_location", "load_attempts", ["source", "location"])
    op.create_index("ix_quarantine_batch", "quarantine", ["batch_id"])
