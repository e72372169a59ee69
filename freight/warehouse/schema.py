"""Tables of the warehouse. Dataset tables derive from their contracts; the ledger's tables are defined here.

The migrations under `sql/migrations` create them; a test compares both. `doc` of a column and `row` of a table are
for the data dictionary.
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
        sa.Column("batch_id", BigInt, nullable=False, doc="Batch that brought this version; joins batches."),
        sa.Column(
            "origin_us",
            BigInt,
            nullable=False,
            doc="Instant that its file stands for, or the newest time of its partition so far.",
        ),
        sa.Column("origin_seq", BigInt, nullable=False, doc="Row number in the file, or offset."),
        sa.Column("content_hash", BigInt, nullable=False, doc="Hash of the content."),
    ]


LATE = "is_late"  # of an event: set by the stream
ORIGIN_NAMES = tuple(column.name for column in origin_columns())
# Names that no column of a dataset may have: those that every row has, and words that analysts would have to quote.
UNUSABLE_NAMES = {*ORIGIN_NAMES, LATE, ROW_NUMBER, *RESERVED_WORDS, *sqlite.dialect.preparer.reserved_words}
COUNTS = {
    "read_rows": "Rows read; the sum of the next five.",
    "inserted": "New rows.",
    "updated": "Known rows with changed content.",
    "unchanged": "Known rows with the same content.",
    "superseded": "Rows that are older than the row in the warehouse, or than another one of their file.",
    "quarantined": "Rows that break the contract.",
}
COUNT_NAMES = tuple(COUNTS)


def count_columns() -> list[sa.Column[Any]]:
    """Return the columns that count rows read and their results; the last five always add up to the first."""
    return [sa.Column(name, BigInt, nullable=False, doc=doc) for name, doc in COUNTS.items()]


def bad_row_columns() -> list[sa.Column[Any]]:
    """Return the columns for a bad row's fault and its text, as bytes: PostgreSQL refuses NUL in text.

    `broken_rules` has, as a list in JSON, the columns and the reason of each rule of the contract that the row breaks;
    null if the row was not checked by rules. `source_row` is the row of the file from which a source's own function has
    made the row; null without a function, as `row_number` is that row.
    """
    return [
        sa.Column("column_name", sa.Text, doc="First bad column; empty if the row as such is bad."),
        sa.Column("reason", sa.Text, nullable=False, doc="Code of the first fault."),
        sa.Column("detail", sa.Text, doc="All faults, as codes or in the words of the reader."),
        sa.Column("raw", sa.LargeBinary, nullable=False, doc="Row as delivered."),
        sa.Column(
            "broken_rules",
            sa.Text,
            doc="Rules of the contract that it breaks, as JSON; empty if it was not checked by rules.",
        ),
        sa.Column("source_row", BigInt, doc="Row of the file of which a function made it; empty without a function."),
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


CONTENT_ID = "Content id: SHA-256 of the file, or of the state of a table or an API; topic_id of a partition."


def content_id() -> sa.Column[str]:
    """Return the column of a content id.

    Analysts know it as `file_hash`, which is accurate for files. See `Fingerprint` for its meaning for other units.
    """
    return sa.Column("file_hash", sa.Text, key="content_id", nullable=False, doc=CONTENT_ID)


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True, doc="Name of the run; in Prefect the id of the flow run."),
    sa.Column("started_by", sa.Text, nullable=False, doc="Person or program that started it."),
    sa.Column("started_at", UtcInstant, nullable=False, doc="Start."),
    sa.Column("ended_at", UtcInstant, doc="End; empty while it runs, or if it was killed."),
    sa.Column("outcome", sa.Text, doc="How it ended; empty until then."),
    info={"row": "a call of the nightly load, a listener, an import or another command that loads"},
)

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("batch_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the batch."),
    sa.Column("run_id", sa.Text, nullable=False, doc="Run; joins runs."),
    sa.Column("source", sa.Text, nullable=False, doc="Source of the catalog, or topic."),
    sa.Column("dataset", sa.Text, nullable=False, doc="Dataset."),
    sa.Column("cause", sa.Text, nullable=False, doc="load, replay or import."),
    sa.Column("contract_version", BigInt, nullable=False, doc="Version of the contract that judged the rows."),
    sa.Column("location", sa.Text, nullable=False, doc="File, table or path of an API; for a stream topic/partition."),
    content_id(),
    sa.Column("size_bytes", BigInt, nullable=False, doc="Size of the file or of the messages."),
    sa.Column(
        "as_of", UtcInstant, nullable=False, doc="Instant that the content stands for; it orders versions of a row."
    ),
    sa.Column("first_row", BigInt, doc="First row number or offset; empty without rows."),
    sa.Column("last_row", BigInt, doc="Last row number or offset; empty without rows."),
    sa.Column(
        "decimal_mark", sa.Text, nullable=False, doc="Sign before decimals, and how sure it is; internal notation."
    ),
    sa.Column("simulated", sa.Boolean, nullable=False, doc="Whether the simulator made the data."),
    *count_columns(),
    sa.Column(
        "loaded_at", UtcInstant, nullable=False, doc="Instant of the commit; a stream batch grows for some minutes."
    ),
    sa.Column("profile", sa.Text, doc="Profile of the columns, as JSON; later loads are compared with it."),
    sa.Column("read_as", sa.Text, doc="How values were read, with the proof, as JSON."),
    info={"row": "a committed load: a file, a delivery of a table or an API, or some minutes of a partition"},
)

# See `Reshaped`. Of a replay or an import, it is what the function did when it made the rows.
reshapes = sa.Table(
    "reshapes",
    metadata,
    sa.Column("batch_id", BigInt, primary_key=True, autoincrement=False, doc="Batch; joins batches."),
    sa.Column("function", sa.Text, nullable=False, doc="Name of the function."),
    sa.Column("version", sa.Text, nullable=False, doc="Version of the function: a hash of its code."),
    sa.Column("rows_in", BigInt, nullable=False, doc="Rows of the file."),
    sa.Column("rows_out", BigInt, nullable=False, doc="Rows that the function returned."),
    sa.Column("dropped", BigInt, nullable=False, doc="Rows of the file without a row made of them."),
    sa.Column("added", BigInt, nullable=False, doc="Rows made beyond the first of each row of the file."),
    sa.Column("numbers_per_row", BigInt, nullable=False, doc="origin_seq divided by it is the row of the file."),
    info={"row": "a batch whose rows a function of the source has made"},
)

file_positions = sa.Table(
    "file_positions",
    metadata,
    sa.Column("source", KeyText, primary_key=True, doc="Source of the catalog."),
    sa.Column("location", KeyText, primary_key=True, doc="File, table or path."),
    content_id(),
    sa.Column("contract_version", BigInt, nullable=False, doc="Version of the contract at the last load."),
    sa.Column("size_bytes", BigInt, nullable=False, doc="Size at the last load."),
    sa.Column("modified_us", BigInt, nullable=False, doc="Last change of the file, since 1970 UTC."),
    sa.Column("origin_us", BigInt, nullable=False, doc="Instant that the content stands for, since 1970 UTC."),
    sa.Column("batch_id", BigInt, nullable=False, doc="Batch; joins batches."),
    sa.Column("watermark", sa.Text, doc="Point up to which a table or path was read, as its reader records it."),
    sa.Column("function_version", sa.Text, doc="Version of the source's function; empty without one."),
    info={"row": "the last load of a file, a table or a path of an API"},
)

# A topic recreated under the same name has another topic_id, and so its own positions.
stream_positions = sa.Table(
    "stream_positions",
    metadata,
    sa.Column("consumer_group", KeyText, primary_key=True, doc="Consumer group of Kafka."),
    sa.Column("topic", KeyText, primary_key=True, doc="Topic."),
    sa.Column("topic_id", KeyText, primary_key=True, doc="Id of the topic, which changes if it is created again."),
    sa.Column("partition_number", BigInt, primary_key=True, autoincrement=False, doc="Number of the partition."),
    sa.Column("first_offset", BigInt, nullable=False, doc="First offset of the group."),
    sa.Column("next_offset", BigInt, nullable=False, doc="Offset to read next; all before it are loaded."),
    sa.Column("newest_event_us", BigInt, doc="Newest event time seen, since 1970 UTC; the measure of lateness."),
    sa.Column(
        "newest_sent_us",
        BigInt,
        nullable=False,
        server_default="0",
        doc="Newest time of sending, since 1970 UTC; the least origin of the messages that follow.",
    ),
    sa.Column("listener_id", sa.Text, nullable=False, doc="Listener that moved it last."),
    sa.Column("moved_at", UtcInstant, nullable=False, doc="Instant of the last move."),
    info={"row": "a partition as far as a consumer group has read it"},
)

# The partition of each stream batch; first_row and last_row of the batch are its offsets. A stream batch grows for
# some minutes: a row for each micro-batch would be millions a day. `sent_before_us` and `event_before_us` are the
# newest times of its position when it began, so that its messages can be read again with the same origin; null in
# batches from before schema version 0015.
stream_batches = sa.Table(
    "stream_batches",
    metadata,
    sa.Column("batch_id", BigInt, primary_key=True, autoincrement=False, doc="Batch; joins batches."),
    sa.Column("consumer_group", KeyText, nullable=False, doc="Consumer group of Kafka."),
    sa.Column("topic", KeyText, nullable=False, doc="Topic."),
    sa.Column("topic_id", KeyText, nullable=False, doc="Id of the topic, which changes if it is created again."),
    sa.Column("partition_number", BigInt, nullable=False, doc="Number of the partition."),
    sa.Column(
        "sent_before_us", BigInt, doc="Newest time of sending before it, since 1970 UTC; empty in older batches."
    ),
    sa.Column("event_before_us", BigInt, doc="Newest event time before it, since 1970 UTC; empty in older batches."),
    info={"row": "a batch of a stream"},
)

# Every assignment of a partition to a listener, with the messages that Kafka would have redelivered or had lost.
stream_assignments = sa.Table(
    "stream_assignments",
    metadata,
    sa.Column("assignment_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the assignment."),
    sa.Column("run_id", sa.Text, nullable=False, doc="Run; joins runs."),
    sa.Column("listener_id", sa.Text, nullable=False, doc="Listener that got the partition."),
    sa.Column("consumer_group", KeyText, nullable=False, doc="Consumer group of Kafka."),
    sa.Column("topic", KeyText, nullable=False, doc="Topic."),
    sa.Column("partition_number", BigInt, nullable=False, doc="Number of the partition."),
    sa.Column("next_offset", BigInt, nullable=False, doc="Offset at which it began to read."),
    sa.Column("log_start", BigInt, nullable=False, doc="First offset that the broker had."),
    sa.Column("log_end", BigInt, nullable=False, doc="Offset after the last that the broker had."),
    sa.Column(
        "redelivered", BigInt, nullable=False, doc="Messages that Kafka's own offsets would have delivered again."
    ),
    sa.Column("skipped", BigInt, nullable=False, doc="Messages that Kafka's own offsets would have left out."),
    sa.Column("gap", BigInt, nullable=False, doc="Messages that were gone before they were read."),
    sa.Column("assigned_at", UtcInstant, nullable=False, doc="Instant of the assignment."),
    info={"row": "an assignment of a partition to a listener"},
)

# Offsets that can no longer be read; a listener continues only when a person has accepted the gap. `until_offset` is
# unknown if a topic was recreated: the unread messages of the old topic are gone with it.
stream_gaps = sa.Table(
    "stream_gaps",
    metadata,
    sa.Column("gap_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the gap, for dpa accept-gap."),
    sa.Column("consumer_group", KeyText, nullable=False, doc="Consumer group of Kafka."),
    sa.Column("topic", KeyText, nullable=False, doc="Topic."),
    sa.Column("topic_id", KeyText, nullable=False, doc="Id of the topic, which changes if it is created again."),
    sa.Column("partition_number", BigInt, nullable=False, doc="Number of the partition."),
    sa.Column("kind", sa.Text, nullable=False, doc="Why they are gone."),
    sa.Column("from_offset", BigInt, nullable=False, doc="First offset of the gap."),
    sa.Column("until_offset", BigInt, doc="Offset after the gap; empty if the topic was created again."),
    sa.Column("noted_at", UtcInstant, nullable=False, doc="Instant at which a listener noted it."),
    sa.Column("accepted_at", UtcInstant, doc="Instant at which a person accepted it; empty until then."),
    sa.Column("accepted_by", sa.Text, doc="Person who accepted it."),
    sa.Column("closed_at", UtcInstant, doc="Instant at which a listener went on after it; empty until then."),
    sa.UniqueConstraint("consumer_group", "topic", "topic_id", "partition_number", "kind", "from_offset"),
    info={"row": "a span of offsets that were gone before they were read"},
)

# Whoever starts or replaces listeners looks here.
stream_listeners = sa.Table(
    "stream_listeners",
    metadata,
    sa.Column("listener_id", KeyText, primary_key=True, doc="Name of the listener."),
    sa.Column("run_id", sa.Text, nullable=False, doc="Run; joins runs."),
    sa.Column("consumer_group", KeyText, nullable=False, doc="Consumer group of Kafka."),
    sa.Column("topic", KeyText, nullable=False, doc="Topic."),
    sa.Column("state", sa.Text, nullable=False, doc="What it does, or how it ended."),
    sa.Column("partitions", BigInt, nullable=False, doc="Number of partitions that it reads."),
    sa.Column("lag", BigInt, nullable=False, doc="Messages that wait in its partitions."),
    sa.Column("messages", BigInt, nullable=False, doc="Messages read since its start."),
    sa.Column("started_at", UtcInstant, nullable=False, doc="Start."),
    sa.Column("polled_at", UtcInstant, nullable=False, doc="Last call to the broker."),
    sa.Column("committed_at", UtcInstant, doc="Last commit; empty before the first."),
    sa.Column("heartbeat_at", UtcInstant, nullable=False, doc="Last sign of life."),
    sa.Column("ended_at", UtcInstant, doc="End; empty while it runs, or if it was killed."),
    sa.Column("commit_s", sa.Double, doc="Duration of the last commits."),
    sa.Column("drain_requested_at", UtcInstant, doc="Instant at which it was asked to drain; empty if it was not."),
    info={"row": "a listener, with its last sign of life"},
)

# The memory of a stream's scaler, so that its next run continues where the last one ended; `run_id` and `looked_at`
# identify the active scaler, since two would contradict each other.
stream_scaling = sa.Table(
    "stream_scaling",
    metadata,
    sa.Column("consumer_group", KeyText, primary_key=True, doc="Consumer group of Kafka."),
    sa.Column("topic", KeyText, primary_key=True, doc="Topic."),
    sa.Column("run_id", sa.Text, nullable=False, doc="Run; joins runs."),
    sa.Column("looked_at", UtcInstant, nullable=False, doc="Instant of its last look."),
    sa.Column("said", sa.Text, nullable=False, doc="Last decision in words."),
    sa.Column("target", BigInt, doc="Number of listeners that should run."),
    sa.Column("capacity", sa.Double, doc="Messages that one listener reads in a second."),
    sa.Column("changed_at", UtcInstant, doc="Last change of the target."),
    sa.Column("quiet_since", UtcInstant, doc="Instant since which fewer listeners would do."),
    sa.Column("lagging_since", UtcInstant, doc="Instant since which the lag is too large."),
    sa.Column("told_lagging", sa.Boolean, nullable=False, doc="Whether the lag has been reported."),
    sa.Column("told_stopped", sa.Boolean, nullable=False, doc="Whether the stop has been reported."),
    info={"row": "the memory of the scaler of a topic"},
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("quarantine_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the row in quarantine."),
    sa.Column("batch_id", BigInt, nullable=False, doc="Batch that delivered it; joins batches."),
    sa.Column("source", sa.Text, nullable=False, doc="Source of the catalog, or topic."),
    sa.Column("dataset", sa.Text, nullable=False, doc="Dataset."),
    sa.Column("location", sa.Text, nullable=False, doc="File, table or path of an API; for a stream topic/partition."),
    sa.Column("row_number", BigInt, nullable=False, doc="Row number in its file, or offset."),
    sa.Column(
        "origin_us",
        BigInt,
        doc="Instant that its file stands for, or the newest time of its partition so far.",
    ),  # null in rows from before schema version 0004: these have that of their batch
    *bad_row_columns(),
    sa.Column("replayed_batch_id", BigInt, doc="Batch that has loaded it since; empty while it waits."),
    info={"row": "a row that breaks its contract, and waits or was replayed"},
)

corrections = sa.Table(
    "corrections",
    metadata,
    sa.Column("correction_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the correction."),
    sa.Column("batch_id", BigInt, nullable=False, doc="Batch of the import that loaded the row."),
    sa.Column("quarantine_id", BigInt, nullable=False, doc="Row in quarantine."),
    sa.Column("row_number", BigInt, nullable=False, doc="Row number in its file, or offset."),
    sa.Column("column_name", sa.Text, nullable=False, doc="Column of the cell."),
    sa.Column("old_value", sa.Text, doc="Value as delivered; empty if there was none."),
    sa.Column("new_value", sa.Text, doc="Value as corrected; empty if there is none."),
    sa.Column("corrected_by", sa.Text, nullable=False, doc="Person who changed it."),
    sa.Column("workbook", sa.Text, nullable=False, doc="Name of the workbook."),
    sa.Column("workbook_hash", sa.Text, nullable=False, doc="SHA-256 of the workbook."),
    sa.Column("corrected_at", UtcInstant, nullable=False, doc="Instant of the import."),
    info={"row": "a cell of a quarantined row that a person has changed"},
)

# A unit that was refused or failed, so nothing was loaded. The same content is parked until it is released.
load_attempts = sa.Table(
    "load_attempts",
    metadata,
    sa.Column("attempt_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the attempt."),
    sa.Column("run_id", sa.Text, nullable=False, doc="Run; joins runs."),
    sa.Column("source", sa.Text, nullable=False, doc="Source of the catalog, or topic."),
    sa.Column("dataset", sa.Text, nullable=False, doc="Dataset."),
    sa.Column("location", sa.Text, nullable=False, doc="File, table or path of an API; for a stream topic/partition."),
    content_id(),
    sa.Column("contract_version", BigInt, nullable=False, doc="Version of the contract."),
    sa.Column("fault", sa.Text, nullable=False, doc="Code of the fault."),
    sa.Column("message", sa.Text, nullable=False, doc="Fault in words, with the remedy."),
    sa.Column("read_rows", BigInt, nullable=False, doc="Rows read before it failed."),
    sa.Column("quarantined", BigInt, nullable=False, doc="Bad rows among them."),
    sa.Column("attempted_at", UtcInstant, nullable=False, doc="Instant of the attempt."),
    sa.Column("released_at", UtcInstant, doc="Instant at which dpa retry released it; empty while it is parked."),
    sa.Column("function_version", sa.Text, doc="Version of the source's function; empty without one."),
    info={"row": "a file or another load unit that failed, so that nothing of it was loaded"},
)

load_attempt_reasons = sa.Table(
    "load_attempt_reasons",
    metadata,
    sa.Column("attempt_id", BigInt, primary_key=True, autoincrement=False, doc="Attempt; joins load_attempts."),
    sa.Column("reason", KeyText, primary_key=True, doc="Reason code."),
    sa.Column("bad_rows", BigInt, nullable=False, doc="Number of rows with this reason."),
    info={"row": "a reason for bad rows of a failed attempt"},
)

load_attempt_rows = sa.Table(
    "load_attempt_rows",
    metadata,
    sa.Column("attempt_id", BigInt, primary_key=True, autoincrement=False, doc="Attempt; joins load_attempts."),
    sa.Column("row_number", BigInt, primary_key=True, autoincrement=False, doc="Row number in its file, or offset."),
    *bad_row_columns(),
    info={"row": "one of the first bad rows of a failed attempt"},
)

# Rows deleted on purpose, so that reconcile can still prove the rest.
purges = sa.Table(
    "purges",
    metadata,
    sa.Column("purge_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the purge."),
    sa.Column("table_name", sa.Text, nullable=False, doc="Table from which rows were deleted."),
    sa.Column("source", sa.Text, nullable=False, doc="Source of the catalog, or topic."),
    sa.Column("dataset", sa.Text, nullable=False, doc="Dataset."),
    sa.Column("cause", sa.Text, nullable=False, doc="Cause of the deleted batches: load, replay or import."),
    sa.Column("purged_rows", BigInt, nullable=False, doc="Number of deleted rows."),
    *count_columns(),
    sa.Column("purged_at", UtcInstant, nullable=False, doc="Instant of the purge."),
    info={"row": "rows that were deleted after their retention, so that the ledger still adds up"},
)

# dim_machines follows from it and from the stations alone.
machine_observations = sa.Table(
    "machine_observations",
    metadata,
    sa.Column("machine_id", KeyText, primary_key=True, doc="Identifier of the machine."),
    sa.Column(
        "origin_us",
        BigInt,
        primary_key=True,
        autoincrement=False,
        doc="Instant that its file stands for, since 1970 UTC.",
    ),
    sa.Column("origin_seq", BigInt, primary_key=True, autoincrement=False, doc="Row number in its file."),
    sa.Column("content_hash", BigInt, primary_key=True, autoincrement=False, doc="Hash of the content."),
    sa.Column("batch_id", BigInt, nullable=False, doc="Batch; joins batches."),
    sa.Column("site_location", sa.Text, doc="Site as stated; empty if none was."),
    sa.Column("installation_year", BigInt, doc="Calendar year of the machine's installation."),
    sa.Column("machine_type", sa.Text, doc="Kind of machine."),
    info={"row": "a version of a machine that a machines file stated"},
)

dim_machines = sa.Table(
    "dim_machines",
    metadata,
    sa.Column("machine_id", KeyText, primary_key=True),
    sa.Column(
        "valid_from",
        UtcInstant,
        primary_key=True,
        doc="Instant since which it has these values; 1900-01-01 if always, as far as known.",
    ),
    sa.Column("valid_to", UtcInstant, doc="Instant until which; empty for the current row."),
    sa.Column("is_current", sa.Boolean, nullable=False, doc="Whether this is the machine's current row."),
    sa.Column("is_absent", sa.Boolean, nullable=False, doc="Whether the newest machines file no longer lists it."),
    sa.Column("site_location", sa.Text, nullable=False),
    sa.Column("installation_year", BigInt),
    sa.Column("machine_type", sa.Text),
    *origin_columns(),
    info={"row": "a machine during a span in which its site, year and type stayed the same"},
)

# The loads that changed dim_machines, in order: the newest one identifies a state of the history.
history_changes = sa.Table(
    "history_changes",
    metadata,
    sa.Column("change_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the change."),
    sa.Column("batch_id", BigInt, nullable=False, doc="Batch; joins batches."),
    info={"row": "a load that changed dim_machines"},
)

station_aliases = sa.Table(
    "station_aliases",
    metadata,
    sa.Column("alias", KeyText, primary_key=True, doc="Spelling, without accents and in lower case."),
    sa.Column("station_code", KeyText, nullable=False, doc="Station."),
    info={"row": "a spelling of a station"},
)

dim_calendar = sa.Table(
    "dim_calendar",
    metadata,
    sa.Column("day_number", BigInt, primary_key=True, autoincrement=False, doc="Day as days since 1970-01-01."),
    sa.Column("calendar_date", sa.Date, nullable=False, unique=True, doc="Day."),
    sa.Column("calendar_year", BigInt, nullable=False, doc="Year."),
    sa.Column("calendar_month", BigInt, nullable=False, doc="Month, 1 to 12."),
    sa.Column("day_of_month", BigInt, nullable=False, doc="Day of the month."),
    sa.Column("iso_year", BigInt, nullable=False, doc="Year of the ISO week."),
    sa.Column("iso_week", BigInt, nullable=False, doc="ISO week, 1 to 53."),
    sa.Column("iso_weekday", BigInt, nullable=False, doc="Day of the week, 1 is Monday."),
    info={"row": "a local day from the first to the last in the data, without gaps"},
)

aggr_daily_site_stats = sa.Table(
    "aggr_daily_site_stats",
    metadata,
    sa.Column(
        "day_number",
        BigInt,
        primary_key=True,
        autoincrement=False,
        doc="Local day as days since 1970-01-01; joins dim_calendar.",
    ),
    sa.Column("site_location", KeyText, primary_key=True, doc="Site; UNKNOWN for machines without one."),
    sa.Column("transaction_date", sa.Date, nullable=False, doc="Local day."),
    sa.Column("total_transactions", BigInt, nullable=False, doc="Number of transactions."),
    sa.Column("total_volume", sa.Double, nullable=False, doc="Freight moved."),
    sa.Column("total_alerts", BigInt, nullable=False, doc="Number of alerts."),
    sa.Column("active_machines", BigInt, nullable=False, doc="Number of machines with a transaction."),
    sa.Column("as_of", UtcInstant, nullable=False, doc="Instant that the newest transaction stands for."),
    info={"row": "a local day and site with traffic"},
)

# Append-only: a set with "do nothing on conflict" would lose a mark that commits while the aggregator reads.
dirty_marks = sa.Table(
    "dirty_marks",
    metadata,
    sa.Column("mark_id", BigInt, primary_key=True, autoincrement=True, doc="Number of the mark."),
    sa.Column("batch_id", BigInt, nullable=False, doc="Batch; joins batches."),
    sa.Column("day_number", BigInt, nullable=False, doc="Local day as days since 1970-01-01."),
    sa.Column("site_location", sa.Text, nullable=False, doc="Site."),
    info={"row": "a day and site whose statistics must be computed again"},
)

# See migrate.
schema_views = sa.Table(
    "schema_views",
    metadata,
    sa.Column("view_name", sa.Text, primary_key=True, doc="Name of the view."),
    sa.Column("fingerprint", sa.Text, nullable=False, doc="SHA-256 of its text."),
    info={"row": "a view as dpa migrate has made it"},
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
