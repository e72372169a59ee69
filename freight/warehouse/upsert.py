"""Put versions of rows into a table: the newest version of each key wins, and every row is counted.

Versions of a key are ordered by (origin_us, origin_seq, content_hash), so the same rows give the same table in
whatever order they arrive. A newer version with the same content moves only the origin; it counts as unchanged.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa

from freight.contracts import Contract
from freight.errors import InvariantViolated
from freight.warehouse.bulk import append, append_new, columns_list, create_staging, drop_staging
from freight.warehouse.connect import is_postgresql
from freight.warehouse.schema import ORIGIN_NAMES

# Above this, a COPY that fails on its last row has cost more than staging would have.
OPTIMISTIC_ROWS = 100_000
ANALYZE_ROWS = 1_000

Frames = Callable[[], Iterable[pl.DataFrame]]


@dataclass(frozen=True)
class UpsertCounts:
    """What became of rows; the first four add up to their number.

    `confirmed` counts those of the unchanged whose origin moved to a newer version.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    confirmed: int = 0

    @property
    def writes(self) -> bool:
        """Whether any stored row was written."""
        return bool(self.inserted or self.updated or self.confirmed)


def upsert(
    connection: sa.Connection,
    contract: Contract,
    frames: Frames,
    rows: int,
    before_change: Callable[[sa.Connection, str], None] | None = None,
) -> UpsertCounts:
    """Write rows in the caller's transaction; doing it again changes nothing.

    Args:
        connection: inside a transaction.
        contract: names table, business key and columns.
        frames: gives the rows (stored columns of the contract and origin columns), each time from the start; a key
            occurs once.
        rows: number of rows that `frames` gives.
        before_change: called with the staging table before stored rows change; not called when all keys are new.
    """
    if rows == 0:
        return UpsertCounts()
    if rows <= OPTIMISTIC_ROWS or _is_empty(connection, contract.table):
        inserted = append_new(connection, contract.table, _sorted(frames, contract))
        if inserted is not None:
            return UpsertCounts(inserted)
    staging = create_staging(connection, contract.table)
    append(connection, staging, frames())
    if is_postgresql(connection) and rows >= ANALYZE_ROWS:
        connection.execute(sa.text(f"ANALYZE {staging}"))  # nobody else analyses a temporary table
    counts = _merge(connection, contract, staging, rows, before_change)
    drop_staging(connection, staging)  # after an error the rollback takes it away
    return counts


def _sorted(frames: Frames, contract: Contract) -> Iterable[pl.DataFrame]:
    """Give frames in key order: two loads that meet then wait for each other instead of deadlocking."""
    return (frame.sort(contract.business_key) for frame in frames())


def _is_empty(connection: sa.Connection, table: str) -> bool:
    return connection.execute(sa.text(f"SELECT 1 FROM {table} LIMIT 1")).first() is None


def _merge(
    connection: sa.Connection,
    contract: Contract,
    staging: str,
    rows: int,
    before_change: Callable[[sa.Connection, str], None] | None,
) -> UpsertCounts:
    sql = _Statements(contract, staging)
    if before_change:
        before_change(connection, staging)
    inserted = connection.execute(sa.text(sql.insert_new)).rowcount
    updated = connection.execute(sa.text(sql.update_changed)).rowcount
    confirmed = connection.execute(sa.text(sql.confirm_same)).rowcount
    superseded = connection.execute(sa.text(sql.count_superseded)).scalar_one()
    unchanged = rows - inserted - updated - superseded
    if unchanged < 0:
        raise InvariantViolated(f"{contract.table}: {rows} rows staged, but more were counted")
    return UpsertCounts(inserted, updated, unchanged, superseded, confirmed)


class _Statements:
    """The SQL of a merge; the same text runs on both engines."""

    def __init__(self, contract: Contract, staging: str) -> None:
        table = contract.table
        names = (*contract.stored_names, *ORIGIN_NAMES)
        key = columns_list(contract.business_key)
        same_key = " AND ".join(f't."{name}" = s."{name}"' for name in contract.business_key)
        version = "({0}.origin_us, {0}.origin_seq, {0}.content_hash)"
        newer = f"{version.format('s')} > {version.format('t')}"
        values = ", ".join(f'"{name}" = s."{name}"' for name in names if name not in contract.business_key)
        origin = ", ".join(f"{name} = s.{name}" for name in ORIGIN_NAMES)
        self.insert_new = (
            f"INSERT INTO {table} ({columns_list(names)}) SELECT {columns_list(names)} FROM {staging} "
            f"WHERE true ORDER BY {key} ON CONFLICT DO NOTHING"
        )
        self.update_changed = (
            f"UPDATE {table} AS t SET {values} FROM {staging} AS s "
            f"WHERE {same_key} AND {newer} AND s.content_hash <> t.content_hash"
        )
        self.confirm_same = (
            f"UPDATE {table} AS t SET {origin} FROM {staging} AS s "
            f"WHERE {same_key} AND {newer} AND s.content_hash = t.content_hash"
        )
        self.count_superseded = (
            f"SELECT count(*) FROM {staging} AS s JOIN {table} AS t ON {same_key} "
            "WHERE s.content_hash <> t.content_hash"
        )
