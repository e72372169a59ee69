"""Tables whose rows are kept for a limited time: partitions for the coming weeks, and retention.

On PostgreSQL such a table has a partition for each month, so a month is dropped at once and a load never touches the
old ones. Partitions exist for every event time that the contract accepts.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from freight.contracts import Contract, contracts
from freight.types import LoadCounts
from freight.warehouse.connect import Engine, is_postgresql, transaction
from freight.warehouse.ledger import record_purge
from freight.warehouse.schema import metadata

AHEAD = timedelta(days=40)  # ahead of the clock: partitioning may fail for a month
SLACK = timedelta(days=2)  # a row that was validated just within its time must still find its partition


def keep_partitions(engine: Engine, now: datetime) -> dict[str, int]:
    """Create partitions that are needed soon, and delete rows beyond retention; return the deleted rows by table."""
    with transaction(engine) as connection:
        return {contract.table: keep_table(connection, contract, now) for contract in _kept_for_a_time()}


def keep_table(connection: sa.Connection, contract: Contract, now: datetime) -> int:
    """Do so for one table, in the caller's transaction; return the deleted rows."""
    oldest = now - timedelta(days=contract.retention_days or 0) - SLACK
    if is_postgresql(connection):
        make_partitions(connection, contract, oldest, now + AHEAD)
        deleted = _drop_partitions(connection, contract, oldest)
    else:
        table = metadata.tables[contract.table]
        deleted = connection.execute(table.delete().where(table.c[contract.event_time or ""] < oldest)).rowcount
    if deleted:
        record_purge(connection, contract.table, "", contract.dataset, "retention", deleted, LoadCounts(), now)
    return deleted


def _kept_for_a_time() -> Iterator[Contract]:
    return (contract for contract in contracts().values() if contract.retention_days)


def make_partitions(connection: sa.Connection, contract: Contract, first: datetime, last: datetime) -> None:
    """Create the missing monthly partitions of a span (PostgreSQL)."""
    for month in _months(first, last):
        until = _next_month(month)
        connection.exec_driver_sql(
            f"CREATE TABLE IF NOT EXISTS {_partition(contract, month)} PARTITION OF {contract.table} "
            f"FOR VALUES FROM ('{month.isoformat()} 00:00:00+00') TO ('{until.isoformat()} 00:00:00+00')"
        )


def _drop_partitions(connection: sa.Connection, contract: Contract, oldest: datetime) -> int:
    deleted = 0
    for name in partitions_of(connection, contract):
        if _next_month(_month_of(name)) <= oldest.astimezone(UTC).date():
            deleted += int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one())
            connection.exec_driver_sql(f"DROP TABLE {name}")
    return deleted


def partitions_of(connection: sa.Connection, contract: Contract) -> list[str]:
    """Return the names of a table's partitions, oldest first (PostgreSQL)."""
    query = (
        "SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass(:table) ORDER BY c.relname"
    )
    return list(connection.execute(sa.text(query), {"table": contract.table}).scalars())


def _partition(contract: Contract, month: date) -> str:
    return f"{contract.table}_{month:%Y_%m}"


def _month_of(partition: str) -> date:
    year, month = partition.rsplit("_", 2)[-2:]
    return date(int(year), int(month), 1)


def _months(first: datetime, last: datetime) -> Iterator[date]:
    month = first.astimezone(UTC).date().replace(day=1)
    while month <= last.astimezone(UTC).date():
        yield month
        month = _next_month(month)


def _next_month(month: date) -> date:
    return (month + timedelta(days=31)).replace(day=1)
