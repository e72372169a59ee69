"""Merge versions of rows into a table: the newest version of each key wins, and every row is counted.

Versions of a key are ordered by (origin_us, origin_seq, content_hash), so the same rows give the same table in any
order of arrival. A newer version with the same content moves only the origin, and whether it was late; it counts as
unchanged. Of rows that never change, the first content of a key stays, and those that differ are conflicts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import polars as pl
import sqlalchemy as sa

from freight.ahead import ahead
from freight.contracts import Contract
from freight.errors import InvariantViolated
from freight.types import BatchId, LoadCounts
from freight.warehouse.bulk import append, append_new, columns_list, create_staging, drop_staging, stored_keys
from freight.warehouse.connect import is_postgresql
from freight.warehouse.schema import LATE, ORIGIN_NAMES

# Rows are tried as new in parts of at least this size: a part with a stored key has been copied in vain.
PART_ROWS = 250_000
# The keys of up to this many rows are looked up one by one, at a cost independent of the table's size; more keys are
# joined, which reads the whole table.
LOOKUP_ROWS = 50_000

Frames = Callable[[], Iterable[pl.DataFrame]]
BeforeChange = Callable[[sa.Connection, str], None]


@dataclass(frozen=True)
class Batch:
    """The rows of one load on their way into a table.

    Attributes:
        batch_ids: The lineage rows that the rows belong to: one for a file, one per partition for a micro-batch.
        contract: The contract of the dataset.
        frames: Returns the conformed rows with origin columns, from the start at each call; a key occurs once, unless
            such rows never change.
        rows: The number of rows that `frames` returns.
        likely_new: Whether to try first as if no key were stored; a wrong guess only costs time.
    """

    batch_ids: tuple[BatchId, ...]
    contract: Contract
    frames: Frames
    rows: int
    likely_new: bool = True


@dataclass(frozen=True)
class UpsertCounts:
    """The results of an upsert; the first four counts and the conflicts add up to the number of rows.

    `confirmed` counts the unchanged rows whose origin moved to a newer version. `conflicts` holds the origin_seq of
    rows that differ from a stored row that never changes; they were not written.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    confirmed: int = 0
    conflicts: tuple[int, ...] = ()

    def __add__(self, other: "UpsertCounts") -> "UpsertCounts":
        return UpsertCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.inserted + self.updated + self.unchanged + self.superseded + len(self.conflicts)

    def load_counts(self, unit: str, *, read: int, superseded: int, quarantined: int) -> LoadCounts:
        """Return the counts of a unit's rows: those that reached the upsert, and those left out before it.

        Raises:
            InvariantViolated: The counts do not add up to the rows read.
        """
        counts = LoadCounts(
            read, self.inserted, self.updated, self.unchanged, self.superseded + superseded, quarantined
        )
        if not counts.balanced:
            raise InvariantViolated(f"{unit}: {counts} does not add up")
        return counts

    @property
    def writes(self) -> bool:
        """Whether any stored row was written."""
        return bool(self.inserted or self.updated or self.confirmed)


CountsByBatch = Mapping[BatchId, UpsertCounts]


def upsert(connection: sa.Connection, batch: Batch, before_change: BeforeChange | None = None) -> CountsByBatch:
    """Write rows in the caller's transaction; doing it again changes nothing.

    Args:
        connection: A connection inside a transaction.
        batch: The batch; its frames have the stored columns of the contract and the origin columns.
        before_change: Called with the staging table before stored rows change; not called when all keys are new.
    """
    counts: CountsByBatch = dict.fromkeys(batch.batch_ids, UpsertCounts())
    if batch.rows == 0:
        return counts
    if not batch.likely_new:
        return _merge_rows(connection, batch, before_change)
    done = 0
    for part in ahead(_parts(batch)):
        inserted = _insert_new(connection, part)
        counts = _sum(counts, _merge_rows(connection, part, before_change) if inserted is None else inserted)
        done += part.rows
        if 2 * sum(each.inserted for each in counts.values()) < done:
            break
    return counts if done == batch.rows else _sum(counts, _merge_rows(connection, _from(batch, done), before_change))


def _parts(batch: Batch) -> Iterator[Batch]:
    """Yield the rows in parts of whole frames: first one frame, which shows whether the others are likely new."""
    frames: list[pl.DataFrame] = []
    wanted = 1
    for frame in batch.frames():
        frames.append(frame)
        if sum(each.height for each in frames) >= wanted:
            yield _only(batch, frames)
            frames, wanted = [], PART_ROWS
    if frames:
        yield _only(batch, frames)


def _only(batch: Batch, frames: Sequence[pl.DataFrame]) -> Batch:
    return replace(batch, frames=lambda: frames, rows=sum(frame.height for frame in frames))


def _from(batch: Batch, done: int) -> Batch:
    """Return the rows after those of the first frames."""
    return replace(batch, frames=lambda: _after(batch.frames(), done), rows=batch.rows - done)


def _after(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    for frame in frames:
        if rows <= 0:
            yield frame
        rows -= frame.height


def _sum(some: CountsByBatch, others: CountsByBatch) -> CountsByBatch:
    return {number: counts + others[number] for number, counts in some.items()}


def _insert_new(connection: sa.Connection, batch: Batch) -> CountsByBatch | None:
    """Insert rows whose keys are all new; if one is not, write nothing and return None."""
    rows_of: Counter[BatchId] = Counter()
    if append_new(connection, batch.contract.table, _counted(_sorted(batch), batch, rows_of)) is None:
        return None
    return {batch_id: UpsertCounts(inserted=rows_of[batch_id]) for batch_id in batch.batch_ids}


def _merge_rows(connection: sa.Connection, batch: Batch, before_change: BeforeChange | None) -> CountsByBatch:
    """Merge rows of which some keys are stored."""
    if is_postgresql(connection) and batch.rows <= LOOKUP_ROWS:
        return _look_up_and_merge(connection, batch, before_change)
    return _stage_and_merge(connection, batch, before_change)


def _look_up_and_merge(connection: sa.Connection, batch: Batch, before_change: BeforeChange | None) -> CountsByBatch:
    """Insert rows with new keys directly, which costs a third of staging them, and merge the others."""
    _avoid_reading_whole_tables(connection)
    rows = pl.concat(batch.frames()).sort(batch.contract.business_key, maintain_order=True)
    is_stored = stored_keys(connection, batch.contract.table, rows.select(batch.contract.business_key))
    if batch.contract.immutable:  # the first row of a key is stored before the others meet it
        is_stored |= ~rows.select(pl.struct(batch.contract.business_key).is_first_distinct()).to_series()
    new, stored = (_only(batch, [rows.filter(chosen)]) for chosen in (~is_stored, is_stored))
    inserted = _insert_new(connection, new) if new.rows else {}
    if inserted is None:  # another process has stored one of them in between
        return _stage_and_merge(connection, _only(batch, [rows]), before_change)
    merged = _stage_and_merge(connection, stored, before_change) if stored.rows else {}
    none = UpsertCounts()
    return {number: inserted.get(number, none) + merged.get(number, none) for number in batch.batch_ids}


def _stage_and_merge(connection: sa.Connection, batch: Batch, before_change: BeforeChange | None) -> CountsByBatch:
    """Write the rows to a staging table, and merge them into the table."""
    staging = create_staging(connection, batch.contract.table)
    rows_of: Counter[BatchId] = Counter()
    append(connection, staging, _counted(batch.frames(), batch, rows_of))
    if is_postgresql(connection) and batch.rows > LOOKUP_ROWS:
        connection.execute(sa.text(f"ANALYZE {staging}"))  # otherwise the planner knows nothing about its rows
    counts = _merge(connection, batch, staging, rows_of, before_change)
    drop_staging(connection, staging)  # after an error the rollback removes it
    return counts


def _avoid_reading_whole_tables(connection: sa.Connection) -> None:
    """Make the planner use the key's index for few rows, until the transaction ends."""
    connection.execute(
        sa.text("SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)")
    )


def _sorted(batch: Batch) -> Iterable[pl.DataFrame]:
    """Return frames in key order, so that concurrent loads wait for each other instead of deadlocking."""
    return (frame.sort(batch.contract.business_key) for frame in batch.frames())


def _counted(frames: Iterable[pl.DataFrame], batch: Batch, rows_of: Counter[BatchId]) -> Iterable[pl.DataFrame]:
    """Yield the frames, and count their rows by batch on the way."""
    for frame in frames:
        rows_of.update(_rows_by_batch(frame, batch.batch_ids))
        yield frame


def _rows_by_batch(frame: pl.DataFrame, batch_ids: Sequence[BatchId]) -> dict[BatchId, int]:
    if len(batch_ids) == 1:
        return {batch_ids[0]: frame.height}
    return dict(frame["batch_id"].value_counts().iter_rows())


def _merge(
    connection: sa.Connection,
    batch: Batch,
    staging: str,
    rows_of: Mapping[BatchId, int],
    before_change: BeforeChange | None,
) -> CountsByBatch:
    sql = _Statements(batch.contract, staging)
    inserted = _written(connection, sql.insert_new, batch.batch_ids)
    met = _met(connection, sql) if sum(inserted.values()) < batch.rows else _Met()
    updated, superseded, confirmed = Counter[BatchId](), Counter[BatchId](), Counter[BatchId]()
    conflicts = _conflicts(connection, sql) if batch.contract.immutable and met.differing else {}
    if met.newer and not batch.contract.immutable:
        if before_change:
            before_change(connection, staging)
        updated = _written(connection, sql.update_changed, batch.batch_ids)
    if met.differing and not batch.contract.immutable:
        superseded = Counter(dict(map(tuple, connection.execute(sa.text(sql.count_superseded)))))
    if met.confirming:
        confirmed = _written(connection, sql.confirm_same, batch.batch_ids)
    counts = {}
    for number in batch.batch_ids:
        ended = inserted[number] + updated[number] + superseded[number] + len(conflicts.get(number, ()))
        counts[number] = UpsertCounts(
            inserted=inserted[number],
            updated=updated[number],
            unchanged=rows_of.get(number, 0) - ended,
            superseded=superseded[number],
            confirmed=confirmed[number],
            conflicts=conflicts.get(number, ()),
        )
        if ended > rows_of.get(number, 0):
            raise InvariantViolated(f"{batch.contract.table}: more rows were counted than staged for batch {number}")
    return counts


@dataclass(frozen=True)
class _Met:
    """The comparison of staged rows with the stored rows of the same keys.

    Attributes:
        differing: The number with different content.
        newer: The number of these that are newer.
        confirming: The number that are newer and have the same content.
    """

    differing: int = 0
    newer: int = 0
    confirming: int = 0


def _met(connection: sa.Connection, sql: "_Statements") -> _Met:
    return _Met(*(int(found) for found in connection.execute(sa.text(sql.compare)).one()))


def _conflicts(connection: sa.Connection, sql: "_Statements") -> dict[BatchId, tuple[int, ...]]:
    """Return by batch the origin_seq of the rows whose key is stored with different content."""
    found: dict[BatchId, tuple[int, ...]] = {}
    for number, origin_seq in connection.execute(sa.text(sql.differing)):
        found[number] = (*found.get(number, ()), origin_seq)
    return found


def _written(connection: sa.Connection, statement: str, batch_ids: Sequence[BatchId]) -> Counter[BatchId]:
    """Run a statement; return how many rows it wrote for each batch."""
    if len(batch_ids) == 1:
        return Counter({batch_ids[0]: connection.execute(sa.text(statement)).rowcount})
    if is_postgresql(connection):
        counted = (
            f"WITH written AS ({statement} RETURNING t.batch_id) SELECT batch_id, count(*) FROM written GROUP BY 1"
        )
        return Counter(dict(map(tuple, connection.execute(sa.text(counted)))))
    return Counter(connection.execute(sa.text(f"{statement} RETURNING batch_id")).scalars())


def _newest_of_each_content(contract: Contract, staging: str) -> str:
    """Return a subquery for the newest staged row of each key and content: an update has to meet a single row."""
    same = columns_list((*contract.business_key, "content_hash"))
    newest_first = f"ROW_NUMBER() OVER (PARTITION BY {same} ORDER BY origin_us DESC, origin_seq DESC)"
    return f"(SELECT * FROM (SELECT n.*, {newest_first} AS place FROM {staging} AS n) AS numbered WHERE place = 1)"


def _assigned(names: Iterable[str]) -> str:
    """Return the assignments of staged values to columns."""
    return ", ".join(f'"{name}" = s."{name}"' for name in names)


class _Statements:
    """The SQL of a merge; the same text runs on both engines."""

    def __init__(self, contract: Contract, staging: str) -> None:
        table = contract.table
        names = (*contract.stored_names, *ORIGIN_NAMES)
        key = columns_list(contract.business_key)
        same_key = " AND ".join(f't."{name}" = s."{name}"' for name in contract.business_key)
        version = "({0}.origin_us, {0}.origin_seq, {0}.content_hash)"
        newer = f"{version.format('s')} > {version.format('t')}"
        values = _assigned(name for name in names if name not in contract.business_key)
        origin = _assigned([*ORIGIN_NAMES, *({LATE} & {*names})])  # what a version has apart from its content
        newest = _newest_of_each_content(contract, staging) if contract.immutable else staging
        self.insert_new = (
            f"INSERT INTO {table} AS t ({columns_list(names)}) SELECT {columns_list(names)} FROM {staging} "
            f"WHERE true ORDER BY {key}, origin_us, origin_seq ON CONFLICT DO NOTHING"
        )
        self.update_changed = (
            f"UPDATE {table} AS t SET {values} FROM {staging} AS s "
            f"WHERE {same_key} AND {newer} AND s.content_hash <> t.content_hash"
        )
        self.confirm_same = (
            f"UPDATE {table} AS t SET {origin} FROM {newest} AS s "
            f"WHERE {same_key} AND {newer} AND s.content_hash = t.content_hash"
        )
        self.compare = (
            "SELECT count(CASE WHEN s.content_hash <> t.content_hash THEN 1 END), "
            f"count(CASE WHEN s.content_hash <> t.content_hash AND {newer} THEN 1 END), "
            f"count(CASE WHEN s.content_hash = t.content_hash AND {newer} THEN 1 END) "
            f"FROM {staging} AS s JOIN {table} AS t ON {same_key}"
        )
        differing = f"FROM {staging} AS s JOIN {table} AS t ON {same_key} WHERE s.content_hash <> t.content_hash"
        self.differing = f"SELECT s.batch_id, s.origin_seq {differing}"
        self.count_superseded = f"SELECT s.batch_id, count(*) {differing} GROUP BY s.batch_id"
