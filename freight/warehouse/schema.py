"""Tables of the warehouse. Dataset tables derive from their contracts; the ledger's tables are defined here.

The migrations under `sql/migrations` create them; a test compares both.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS
from sqlalchemy.engine import Dialect

from freight.contracts import Column, Contract, contracts
from freight.frames import ROW_NUMBER

metadata = sa.MetaData()

# Byte order on both engines, so that sorting and comparing keys gives the same result everywhere.
KeyText = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
# SQLite numbers rows by itself only in a column declared INTEGER.
BigInt = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class UtcInstant(sa.types.TypeDecorator[datetime]):
    """An instant: `timestamptz` on PostgreSQL, UTC text `YYYY-MM-DD HH:MM:SS.ffffff` on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse local times: an instant without an offset means nothing."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs an offset")
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


SQL_TYPES: dict[str, Any] = {
    "text": sa.Text(),
    "integer": BigInt,
    "number": sa.Double(),
    "instant": UtcInstant(),
    "date": sa.Date(),
    "boolean": sa.Boolean(),
}


def origin_columns() -> list[sa.Column[Any]]:
    """Return the columns that identify the version and origin of every stored row.

    batch_id leads to file, run and contract; origin_us (microseconds since 1970, UTC) and origin_seq (row number or
    offset) order the versions of a key; content_hash breaks ties and detects changed content.
    """
    return [
        sa.Column("batch_id", BigInt, nullable=False),
        sa.Column("origin_us", BigInt, nullable=False),
        sa.Column("origin_seq", BigInt, nullable=False),
        sa.Column("content_hash", BigInt, nullable=False),
    ]


LATE = "is_late"  # of an event: set by the stream
ORIGIN_NAMES = tuple(column.name for column in origin_columns())
# Names that no column of a dataset may have: those that every row has, and words that analysts would have to quote.
UNUSABLE_NAMES = {*ORIGIN_NAMES, LATE, ROW_NUMBER, *RESERVED_WORDS, *sqlite.dialect.preparer.reserved_words}
COUNT_NAMES = ("read_rows", "inserted", "updated", "unchanged", "superseded", "quarantined")


def count_columns() -> list[sa.Column[Any]]:
    """Return the columns that count rows read and their results; the last five always add up to the first."""
    return [sa.Column(name, BigInt, nullable=False) for name in COUNT_NAMES]


def bad_row_columns() -> list[sa.Column[Any]]:
    """Return the columns for a bad row's fault and its text, as bytes: PostgreSQL refuses NUL in text.

    `broken_rules` has, as a list in JSON, the columns and the reason of each rule of the contract that the row breaks;
    null if the row was not checked by rules. `source_row` is the row of the file from which a source's own function has
    made the row; null without a function, as `row_number` is that row.
    """
    return [
        sa.Column("column_name", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("broken_rules", sa.Text),
        sa.Column("source_row", BigInt),
    ]


def dataset_table(contract: Contract) -> sa.Table:
    """Return the table of a contract: business columns, then the origin columns."""
    if contract.table in metadata.tables:
        return metadata.tables[contract.table]
    columns = [_column(column, contract) for column in (*contract.columns, *contract.derived)]
    by_time: dict[str, Any] = {}
    if contract.retention_days:
        by_time["postgresql_partition_by"] = f"RANGE ({contract.event_time})"
    return sa.Table(contract.table, metadata, *columns, *origin_columns(), **by_time)


def is_key_text(column: Column, contract: Contract) -> bool:
    """Whether a column holds row keys, of its own table or of another, as text."""
    return column.dtype == "text" and (column.name in contract.business_key or column.name.endswith("_id"))


def _column(column: Column, contract: Contract) -> sa.Column[Any]:
    is_key = column.name in contract.business_key
    kind = KeyText if is_key_text(column, contract) else SQL_TYPES[column.dtype]
    return sa.Column(column.name, kind, primary_key=is_key, nullable=not (column.required or is_key))


def content_id() -> sa.Column[str]:
    """Return the column of a content id.

    Analysts know it as `file_hash`, which is accurate for files. See `Fingerprint` for its meaning for other units.
    """
    return sa.Column("file_hash", sa.Text, key="content_id", nullable=False)


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("started_by", sa.Text, nullable=False),
    sa.Column("started_at", UtcInstant, nullable=False),
    sa.Column("ended_at", UtcInstant),
    sa.Column("outcome", sa.Text),
)

# Lineage and counts: one row for each committed load unit: a file, a delivery of a table or an API, or some minutes of
# a partition. `location` is the same name as in its position, or `topic/partition`.
# `profile` describes, as JSON, the columns of a file or a table; later loads of its source are compared to it.
batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("contract_version", BigInt, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    content_id(),
    sa.Column("size_bytes", BigInt, nullable=False),
    sa.Column("as_of", UtcInstant, nullable=False),
    sa.Column("first_row", BigInt),
    sa.Column("last_row", BigInt),
    sa.Column("decimal_mark", sa.Text, nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    *count_columns(),
    sa.Column("loaded_at", UtcInstant, nullable=False),
    sa.Column("profile", sa.Text),
    sa.Column("read_as", sa.Text),
)

# What the own function of a source did with the rows of a batch, see `Reshaped`; no row for a batch without a function.
# Of a replay or an import, it is what the function did when it made the rows.
reshapes = sa.Table(
    "reshapes",
    metadata,
    sa.Column("batch_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("function", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("rows_in", BigInt, nullable=False),
    sa.Column("rows_out", BigInt, nullable=False),
    sa.Column("dropped", BigInt, nullable=False),
    sa.Column("added", BigInt, nullable=False),
    sa.Column("numbers_per_row", BigInt, nullable=False),
)

# The last load from each file, table or path of an API. `watermark` is the point up to which a table or a path was
# read, as its reader records it.
file_positions = sa.Table(
    "file_positions",
    metadata,
    sa.Column("source", KeyText, primary_key=True),
    sa.Column("location", KeyText, primary_key=True),
    content_id(),
    sa.Column("contract_version", BigInt, nullable=False),
    sa.Column("size_bytes", BigInt, nullable=False),
    sa.Column("modified_us", BigInt, nullable=False),
    sa.Column("origin_us", BigInt, nullable=False),
    sa.Column("batch_id", BigInt, nullable=False),
    sa.Column("watermark", sa.Text),
    sa.Column("function_version", sa.Text),
)

# The offset up to which a consumer group has read a partition. A topic recreated under the same name has another
# topic_id, and so its own positions. `newest_event_us` is the newest event time seen, and the measure of lateness;
# `newest_sent_us` is the newest time of sending, and the least origin of the messages that follow.
stream_positions = sa.Table(
    "stream_positions",
    metadata,
    sa.Column("consumer_group", KeyText, primary_key=True),
    sa.Column("topic", KeyText, primary_key=True),
    sa.Column("topic_id", KeyText, primary_key=True),
    sa.Column("partition_number", BigInt, primary_key=True, autoincrement=False),
    sa.Column("first_offset", BigInt, nullable=False),
    sa.Column("next_offset", BigInt, nullable=False),
    sa.Column("newest_event_us", BigInt),
    sa.Column("newest_sent_us", BigInt, nullable=False, server_default="0"),
    sa.Column("listener_id", sa.Text, nullable=False),
    sa.Column("moved_at", UtcInstant, nullable=False),
)

# The partition of each stream batch; first_row and last_row of the batch are its offsets. A stream batch grows for
# some minutes: a row for each micro-batch would be millions a day. `sent_before_us` and `event_before_us` are the
# newest times of its position when it began, so that its messages can be read again with the same origin; null in
# batches from before schema version 0015.
stream_batches = sa.Table(
    "stream_batches",
    metadata,
    sa.Column("batch_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("consumer_group", KeyText, nullable=False),
    sa.Column("topic", KeyText, nullable=False),
    sa.Column("topic_id", KeyText, nullable=False),
    sa.Column("partition_number", BigInt, nullable=False),
    sa.Column("sent_before_us", BigInt),
    sa.Column("event_before_us", BigInt),
)

# Every assignment of a partition to a listener, with the messages that Kafka would have redelivered or had lost.
stream_assignments = sa.Table(
    "stream_assignments",
    metadata,
    sa.Column("assignment_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("listener_id", sa.Text, nullable=False),
    sa.Column("consumer_group", KeyText, nullable=False),
    sa.Column("topic", KeyText, nullable=False),
    sa.Column("partition_number", BigInt, nullable=False),
    sa.Column("next_offset", BigInt, nullable=False),
    sa.Column("log_start", BigInt, nullable=False),
    sa.Column("log_end", BigInt, nullable=False),
    sa.Column("redelivered", BigInt, nullable=False),
    sa.Column("skipped", BigInt, nullable=False),
    sa.Column("gap", BigInt, nullable=False),
    sa.Column("assigned_at", UtcInstant, nullable=False),
)

# Offsets that can no longer be read; a listener continues only when a person has accepted the gap. `until_offset` is
# unknown if a topic was recreated: the unread messages of the old topic are gone with it.
stream_gaps = sa.Table(
    "stream_gaps",
    metadata,
    sa.Column("gap_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("consumer_group", KeyText, nullable=False),
    sa.Column("topic", KeyText, nullable=False),
    sa.Column("topic_id", KeyText, nullable=False),
    sa.Column("partition_number", BigInt, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("from_offset", BigInt, nullable=False),
    sa.Column("until_offset", BigInt),
    sa.Column("noted_at", UtcInstant, nullable=False),
    sa.Column("accepted_at", UtcInstant),
    sa.Column("accepted_by", sa.Text),
    sa.Column("closed_at", UtcInstant),
    sa.UniqueConstraint("consumer_group", "topic", "topic_id", "partition_number", "kind", "from_offset"),
)

# Listeners by their last sign of life; whoever starts or replaces listeners looks here.
stream_listeners = sa.Table(
    "stream_listeners",
    metadata,
    sa.Column("listener_id", KeyText, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("consumer_group", KeyText, nullable=False),
    sa.Column("topic", KeyText, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("partitions", BigInt, nullable=False),
    sa.Column("lag", BigInt, nullable=False),
    sa.Column("messages", BigInt, nullable=False),
    sa.Column("started_at", UtcInstant, nullable=False),
    sa.Column("polled_at", UtcInstant, nullable=False),
    sa.Column("committed_at", UtcInstant),
    sa.Column("heartbeat_at", UtcInstant, nullable=False),
    sa.Column("ended_at", UtcInstant),
    sa.Column("commit_s", sa.Double),
    sa.Column("drain_requested_at", UtcInstant),
)

# The memory of a stream's scaler, so that its next run continues where the last one ended; `run_id` and `looked_at`
# identify the active scaler, since two would contradict each other.
stream_scaling = sa.Table(
    "stream_scaling",
    metadata,
    sa.Column("consumer_group", KeyText, primary_key=True),
    sa.Column("topic", KeyText, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("looked_at", UtcInstant, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("target", BigInt),
    sa.Column("capacity", sa.Double),
    sa.Column("changed_at", UtcInstant),
    sa.Column("quiet_since", UtcInstant),
    sa.Column("lagging_since", UtcInstant),
    sa.Column("told_lagging", sa.Boolean, nullable=False),
    sa.Column("told_stopped", sa.Boolean, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("quarantine_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("batch_id", BigInt, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("row_number", BigInt, nullable=False),
    sa.Column("origin_us", BigInt),  # null in rows from before schema version 0004: these have that of their batch
    *bad_row_columns(),
    sa.Column("replayed_batch_id", BigInt),
)

# Cells of quarantined rows that a person has changed; `batch_id` is the batch of the import that loaded the row.
corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("correction_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("batch_id", BigInt, nullable=False),
    sa.Column("quarantine_id", BigInt, nullable=False),
    sa.Column("row_number", BigInt, nullable=False),
    sa.Column("column_name", sa.Text, nullable=False),
    sa.Column("old_value", sa.Text),
    sa.Column("new_value", sa.Text),
    sa.Column("corrected_by", sa.Text, nullable=False),
    sa.Column("workbook", sa.Text, nullable=False),
    sa.Column("workbook_hash", sa.Text, nullable=False),
    sa.Column("corrected_at", UtcInstant, nullable=False),
)

# A unit that was refused or failed, so nothing was loaded. The same content is parked until it is released.
load_attempts = sa.Table(
    "load_attempts",
    metadata,
    sa.Column("attempt_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    content_id(),
    sa.Column("contract_version", BigInt, nullable=False),
    sa.Column("fault", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("read_rows", BigInt, nullable=False),
    sa.Column("quarantined", BigInt, nullable=False),
    sa.Column("attempted_at", UtcInstant, nullable=False),
    sa.Column("released_at", UtcInstant),
    sa.Column("function_version", sa.Text),
)

load_attempt_reasons = sa.Table(
    "load_attempt_reasons",
    metadata,
    sa.Column("attempt_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("reason", KeyText, primary_key=True),
    sa.Column("bad_rows", BigInt, nullable=False),
)

load_attempt_rows = sa.Table(
    "load_attempt_rows",
    metadata,
    sa.Column("attempt_id", BigInt, primary_key=True, autoincrement=False),
    sa.Column("row_number", BigInt, primary_key=True, autoincrement=False),
    *bad_row_columns(),
)

# Rows deleted on purpose, so that reconcile can still prove the rest.
purges = sa.Table(
    "purges",
    metadata,
    sa.Column("purge_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("table_name", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("purged_rows", BigInt, nullable=False),
    *count_columns(),
    sa.Column("purged_at", UtcInstant, nullable=False),
)

# Every version of a machine that any snapshot stated; dim_machines follows from it and from the stations alone.
machine_observations = sa.Table(
    "machine_observations",
    metadata,
    sa.Column("machine_id", KeyText, primary_key=True),
    sa.Column("origin_us", BigInt, primary_key=True, autoincrement=False),
    sa.Column("origin_seq", BigInt, primary_key=True, autoincrement=False),
    sa.Column("content_hash", BigInt, primary_key=True, autoincrement=False),
    sa.Column("batch_id", BigInt, nullable=False),
    sa.Column("site_location", sa.Text),
    sa.Column("installation_year", BigInt),
    sa.Column("machine_type", sa.Text),
)

dim_machines = sa.Table(
    "dim_machines",
    metadata,
    sa.Column("machine_id", KeyText, primary_key=True),
    sa.Column("valid_from", UtcInstant, primary_key=True),
    sa.Column("valid_to", UtcInstant),
    sa.Column("is_current", sa.Boolean, nullable=False),
    sa.Column("is_absent", sa.Boolean, nullable=False),
    sa.Column("site_location", sa.Text, nullable=False),
    sa.Column("installation_year", BigInt),
    sa.Column("machine_type", sa.Text),
    *origin_columns(),
)

# The loads that changed dim_machines, in order: the newest one identifies a state of the history.
history_changes = sa.Table(
    "history_changes",
    metadata,
    sa.Column("change_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("batch_id", BigInt, nullable=False),
)

station_aliases = sa.Table(
    "station_aliases",
    metadata,
    sa.Column("alias", KeyText, primary_key=True),
    sa.Column("station_code", KeyText, nullable=False),
)

dim_calendar = sa.Table(
    "dim_calendar",
    metadata,
    sa.Column("day_number", BigInt, primary_key=True, autoincrement=False),
    sa.Column("calendar_date", sa.Date, nullable=False, unique=True),
    sa.Column("calendar_year", BigInt, nullable=False),
    sa.Column("calendar_month", BigInt, nullable=False),
    sa.Column("day_of_month", BigInt, nullable=False),
    sa.Column("iso_year", BigInt, nullable=False),
    sa.Column("iso_week", BigInt, nullable=False),
    sa.Column("iso_weekday", BigInt, nullable=False),
)

aggr_daily_site_stats = sa.Table(
    "aggr_daily_site_stats",
    metadata,
    sa.Column("day_number", BigInt, primary_key=True, autoincrement=False),
    sa.Column("site_location", KeyText, primary_key=True),
    sa.Column("transaction_date", sa.Date, nullable=False),
    sa.Column("total_transactions", BigInt, nullable=False),
    sa.Column("total_volume", sa.Double, nullable=False),
    sa.Column("total_alerts", BigInt, nullable=False),
    sa.Column("active_machines", BigInt, nullable=False),
    sa.Column("as_of", UtcInstant, nullable=False),
)

# Append-only: a set with "do nothing on conflict" would lose a mark that commits while the aggregator reads.
dirty_marks = sa.Table(
    "dirty_marks",
    metadata,
    sa.Column("mark_id", BigInt, primary_key=True, autoincrement=True),
    sa.Column("batch_id", BigInt, nullable=False),
    sa.Column("day_number", BigInt, nullable=False),
    sa.Column("site_location", sa.Text, nullable=False),
)

# The views that were created, and their text; see migrate.
schema_views = sa.Table(
    "schema_views",
    metadata,
    sa.Column("view_name", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
)

for _contract in contracts().values():
    dataset_table(_contract)  # dim_machines is declared above: it keeps history

sa.Index(
    "ix_fact_transactions_day",
    metadata.tables["fact_transactions"].c.day_number,
    postgresql_using="brin",  # facts come day by day, so ranges of blocks find them at next to no cost for a load
    postgresql_with={"autosummarize": True},
)
sa.Index("ix_quarantine_batch", quarantine.c.batch_id)
sa.Index("ix_corrections_batch", corrections.c.batch_id)
sa.Index("ix_stream_batches_partition", stream_batches.c.topic, stream_batches.c.partition_number)
sa.Index("ix_batches_location", batches.c.source, batches.c.location)
sa.Index("ix_batches_source", batches.c.source, batches.c.batch_id)
sa.Index("ix_load_attempts_location", load_attempts.c.source, load_attempts.c.location)
