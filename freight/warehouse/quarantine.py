"""The way back from quarantine: find rows, mark them when they are loaded, and record people's corrections."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import batched

import sqlalchemy as sa

from freight.errors import PositionFenced
from freight.notation.evidence import ReadAs
from freight.types import BatchId, Number
from freight.warehouse.schema import batches, corrections, quarantine, stream_batches

IDS_PER_STATEMENT = 1_000


@dataclass(frozen=True)
class QuarantinedRow:
    """A bad row: its location, its fault, and its text as JSON bytes (or as bytes that could not be cut).

    For a stream, `row_number` is the offset, `origin_us` its origin, and `raw` the message.
    `source_row` is the row of the file from which a source's own function has made the row.
    """

    quarantine_id: int
    batch_id: BatchId
    source: str
    dataset: str
    location: str
    row_number: int
    origin_us: int | None
    column_name: str | None
    reason: str
    detail: str | None
    raw: bytes
    broken_rules: str | None
    source_row: int | None
    replayed_batch_id: BatchId | None

    @property
    def row_in_file(self) -> int:
        """The number by which people find the row in its file."""
        return self.source_row or self.row_number

    @property
    def record(self) -> dict[str, object]:
        """The delivered values by header or field, numbers with all their digits; empty if the row is not a record."""
        try:
            record = json.loads(self.raw, parse_int=Number, parse_float=Number)
        except (ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}


@dataclass(frozen=True)
class QuarantinedFile:
    """A batch of a file or a stream that has bad rows, with the origin that they keep when they are replayed."""

    batch_id: BatchId
    source: str
    dataset: str
    location: str
    content_id: str
    size_bytes: int
    as_of: datetime
    decimal_mark: str
    read_as: str | None
    simulated: bool
    is_stream: bool

    @property
    def was_read_as(self) -> ReadAs:
        """How the file was read."""
        return ReadAs.of(self.decimal_mark, self.read_as)


@dataclass(frozen=True)
class Correction:
    """A cell of a quarantined row that a person has changed.

    Attributes:
        quarantine_id, row_number: The numbers of the row.
        column_name: The column of the cell.
        old_value, new_value: The values as text; None for an empty cell.
        corrected_by: The person who changed it.
        workbook, workbook_hash: The workbook with the change; the hash is the SHA-256 of its bytes.
    """

    quarantine_id: int
    row_number: int
    column_name: str
    old_value: str | None
    new_value: str | None
    corrected_by: str
    workbook: str
    workbook_hash: str


_ROW = tuple(quarantine.c[field.name] for field in fields(QuarantinedRow))


def waiting_files(connection: sa.Connection, source: str | None = None) -> list[QuarantinedFile]:
    """Return the files that have quarantined rows not yet replayed, oldest batch first."""
    waiting = sa.select(quarantine.c.batch_id).where(quarantine.c.replayed_batch_id.is_(None))
    return _files(connection, batches.c.batch_id.in_(waiting) & _of(batches.c.source, source))


def file_of(connection: sa.Connection, batch_id: BatchId) -> QuarantinedFile:
    """Return the file of a batch."""
    (file,) = _files(connection, batches.c.batch_id == batch_id)
    return file


def _files(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> list[QuarantinedFile]:
    is_stream = sa.exists().where(stream_batches.c.batch_id == batches.c.batch_id).label("is_stream")
    columns = [is_stream if field.name == "is_stream" else batches.c[field.name] for field in fields(QuarantinedFile)]
    query = sa.select(*columns).where(wanted).order_by(batches.c.batch_id)
    return [QuarantinedFile(*row) for row in connection.execute(query)]


def _of(column: sa.Column[str], source: str | None) -> sa.ColumnElement[bool]:
    return sa.true() if source is None else column == source


def has_loaded(connection: sa.Connection, source: str) -> bool:
    """Whether anything was loaded from a source."""
    return (
        connection.execute(sa.select(batches.c.batch_id).where(batches.c.source == source).limit(1)).first() is not None
    )


def waiting_rows(connection: sa.Connection, batch_id: BatchId, after_id: int, limit: int) -> list[QuarantinedRow]:
    """Return the next rows of a batch that have not been replayed yet, in the order of their ids."""
    query = sa.select(*_ROW).where(
        quarantine.c.batch_id == batch_id,
        quarantine.c.replayed_batch_id.is_(None),
        quarantine.c.quarantine_id > after_id,
    )
    return _rows(connection, query.order_by(quarantine.c.quarantine_id).limit(limit))


def newest_waiting_rows(connection: sa.Connection, source: str | None, limit: int) -> tuple[list[QuarantinedRow], int]:
    """Return the newest rows of a source, or of all, that have not been replayed yet, and their total number."""
    waiting = quarantine.c.replayed_batch_id.is_(None) & _of(quarantine.c.source, source)
    count = connection.execute(sa.select(sa.func.count()).select_from(quarantine).where(waiting)).scalar_one()
    newest = sa.select(*_ROW).where(waiting).order_by(quarantine.c.quarantine_id.desc()).limit(limit)
    return _rows(connection, newest), count


def read_as_of(connection: sa.Connection, batch_ids: Iterable[BatchId]) -> dict[BatchId, ReadAs]:
    """Return how the files of batches were read; a purged batch is left out."""
    query = sa.select(batches.c.batch_id, batches.c.decimal_mark, batches.c.read_as)
    found = (
        connection.execute(query.where(batches.c.batch_id.in_(ids))) for ids in batched(batch_ids, IDS_PER_STATEMENT)
    )
    return {batch_id: ReadAs.of(decimal_mark, read_as) for rows in found for batch_id, decimal_mark, read_as in rows}


@dataclass(frozen=True)
class WaitingGroup:
    """Rows of one file or partition that wait in quarantine for the same reason.

    Attributes:
        source, dataset, location: The source or topic, its dataset, and the file or partition.
        column_name, reason: The column of the fault, and its code.
        rows: The number of rows.
        since: The instant at which the oldest of them was quarantined.
        first_rows: The first of them.
    """

    source: str
    dataset: str
    location: str
    column_name: str | None
    reason: str
    rows: int
    since: datetime
    first_rows: tuple[QuarantinedRow, ...]


_GROUP = tuple(quarantine.c[name] for name in ("source", "dataset", "location", "column_name", "reason"))


def waiting_groups(connection: sa.Connection, source: str | None, first_rows: int) -> list[WaitingGroup]:
    """Return the rows that wait in quarantine by file and reason, the largest groups first.

    Args:
        connection: The connection to the warehouse.
        source: The source or topic of the rows; None for all.
        first_rows: The number of first rows of each group to return.
    """
    waiting = quarantine.c.replayed_batch_id.is_(None) & _of(quarantine.c.source, source)
    count = sa.func.count().label("rows")
    query = (
        sa.select(*_GROUP, count, sa.func.min(batches.c.loaded_at).label("since"))
        .join(batches, batches.c.batch_id == quarantine.c.batch_id)
        .where(waiting)
        .group_by(*_GROUP)
        .order_by(count.desc(), *_GROUP)
    )
    first = _first_of_groups(connection, waiting, first_rows)
    return [
        WaitingGroup(**row._mapping, first_rows=tuple(first[tuple(row)[: len(_GROUP)]]))
        for row in connection.execute(query)
    ]


def _first_of_groups(
    connection: sa.Connection, waiting: sa.ColumnElement[bool], limit: int
) -> defaultdict[tuple[object, ...], list[QuarantinedRow]]:
    place = sa.func.row_number().over(partition_by=_GROUP, order_by=quarantine.c.row_number).label("place")
    numbered = sa.select(quarantine.c.quarantine_id, place).where(waiting).subquery()
    query = (
        sa.select(*_ROW)
        .join(numbered, numbered.c.quarantine_id == quarantine.c.quarantine_id)
        .where(numbered.c.place <= limit)
        .order_by(quarantine.c.row_number)
    )
    found: defaultdict[tuple[object, ...], list[QuarantinedRow]] = defaultdict(list)
    for row in _rows(connection, query):
        found[tuple(getattr(row, column.name) for column in _GROUP)].append(row)
    return found


def rows_by_id(connection: sa.Connection, quarantine_ids: Iterable[int]) -> dict[int, QuarantinedRow]:
    """Return the quarantined rows with these ids, replayed or not."""
    found = (
        _rows(connection, sa.select(*_ROW).where(quarantine.c.quarantine_id.in_(ids)))
        for ids in batched(quarantine_ids, IDS_PER_STATEMENT)
    )
    return {row.quarantine_id: row for rows in found for row in rows}


def _rows(connection: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[QuarantinedRow]:
    rows = connection.execute(query).mappings()
    return [QuarantinedRow(**{**row, "raw": bytes(row["raw"])}) for row in rows]


def mark_replayed(connection: sa.Connection, quarantine_ids: Sequence[int], batch_id: BatchId) -> None:
    """Record that quarantined rows have been loaded; a row is loaded once.

    Raises:
        PositionFenced: Another process has loaded one of them.
    """
    for ids in batched(quarantine_ids, IDS_PER_STATEMENT):
        waiting = quarantine.c.quarantine_id.in_(ids) & quarantine.c.replayed_batch_id.is_(None)
        marked = connection.execute(quarantine.update().where(waiting).values(replayed_batch_id=batch_id)).rowcount
        if marked != len(ids):
            raise PositionFenced("another replay or import has taken some of these rows")


def note_corrections(
    connection: sa.Connection, corrected: Iterable[Correction], batch_id: BatchId, now: datetime
) -> None:
    """Record who changed which cells."""
    rows = [{**asdict(one), "batch_id": batch_id, "corrected_at": now} for one in corrected]
    if rows:
        connection.execute(corrections.insert(), rows)
