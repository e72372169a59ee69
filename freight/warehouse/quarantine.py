"""Quarantined rows on their way back: found by file, and marked when they have been replayed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched

import sqlalchemy as sa

from freight.errors import PositionFenced
from freight.types import BatchId
from freight.warehouse.schema import batches, quarantine

IDS_PER_STATEMENT = 1_000


@dataclass(frozen=True)
class QuarantinedRow:
    """A bad row: its number in the file, and its text as JSON bytes (or as bytes that could not be cut)."""

    quarantine_id: int
    row_number: int
    raw: bytes


@dataclass(frozen=True)
class QuarantinedFile:
    """The bad rows of one batch that wait for a replay, with the origin that a replay keeps."""

    source: str
    dataset: str
    location: str
    file_hash: str
    size_bytes: int
    as_of: datetime
    decimal_mark: str
    simulated: bool
    rows: tuple[QuarantinedRow, ...]


def waiting_files(connection: sa.Connection, source: str | None = None) -> list[QuarantinedFile]:
    """Return the files that have rows in quarantine which were not replayed yet, oldest batch first."""
    waiting = quarantine.c.replayed_batch_id.is_(None)
    query = sa.select(batches).where(batches.c.batch_id.in_(sa.select(quarantine.c.batch_id).where(waiting)))
    if source:
        query = query.where(batches.c.source == source)
    found = connection.execute(query.order_by(batches.c.batch_id)).all()
    return [
        QuarantinedFile(
            source=batch.source,
            dataset=batch.dataset,
            location=batch.location,
            file_hash=batch.file_hash,
            size_bytes=batch.size_bytes,
            as_of=batch.as_of,
            decimal_mark=batch.decimal_mark,
            simulated=batch.simulated,
            rows=_waiting_rows(connection, batch.batch_id),
        )
        for batch in found
    ]


def _waiting_rows(connection: sa.Connection, batch_id: int) -> tuple[QuarantinedRow, ...]:
    query = sa.select(quarantine.c.quarantine_id, quarantine.c.row_number, quarantine.c.raw).where(
        quarantine.c.batch_id == batch_id, quarantine.c.replayed_batch_id.is_(None)
    )
    rows = connection.execute(query.order_by(quarantine.c.row_number))
    return tuple(QuarantinedRow(number, row, bytes(raw)) for number, row, raw in rows)


def mark_replayed(connection: sa.Connection, quarantine_ids: Sequence[int], batch_id: BatchId) -> None:
    """Note that rows have been loaded by a replay; a row is replayed once.

    Raises:
        PositionFenced: another replay has taken one of them.
    """
    for ids in batched(quarantine_ids, IDS_PER_STATEMENT):
        waiting = quarantine.c.quarantine_id.in_(ids) & quarantine.c.replayed_batch_id.is_(None)
        marked = connection.execute(quarantine.update().where(waiting).values(replayed_batch_id=batch_id)).rowcount
        if marked != len(ids):
            raise PositionFenced("another replay has taken some of these rows")
