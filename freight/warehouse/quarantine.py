"""Quarantined rows on their way back: found by file, and marked when they have been replayed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import batched

import sqlalchemy as sa

from freight.errors import PositionFenced
from freight.types import BatchId
from freight.warehouse.schema import batches, quarantine, stream_batches

IDS_PER_STATEMENT = 1_000


@dataclass(frozen=True)
class QuarantinedRow:
    """A bad row: its number in the file, and its text as JSON bytes (or as bytes that could not be cut).

    Of a stream: the offset, when the message was sent, and the message.
    """

    quarantine_id: int
    row_number: int
    origin_us: int | None
    raw: bytes


@dataclass(frozen=True)
class QuarantinedFile:
    """A batch that has bad rows which wait for a replay, with the origin that a replay keeps; or one of a stream."""

    batch_id: BatchId
    source: str
    dataset: str
    location: str
    file_hash: str
    size_bytes: int
    as_of: datetime
    decimal_mark: str
    simulated: bool
    is_stream: bool


def waiting_files(connection: sa.Connection, source: str | None = None) -> list[QuarantinedFile]:
    """Return the files that have rows in quarantine which were not replayed yet, oldest batch first."""
    waiting = quarantine.c.replayed_batch_id.is_(None)
    is_stream = sa.exists().where(stream_batches.c.batch_id == batches.c.batch_id).label("is_stream")
    columns = [is_stream if field.name == "is_stream" else batches.c[field.name] for field in fields(QuarantinedFile)]
    query = sa.select(*columns).where(batches.c.batch_id.in_(sa.select(quarantine.c.batch_id).where(waiting)))
    if source:
        query = query.where(batches.c.source == source)
    return [QuarantinedFile(*row) for row in connection.execute(query.order_by(batches.c.batch_id))]


def has_loaded(connection: sa.Connection, source: str) -> bool:
    """Whether anything was loaded from a source."""
    return (
        connection.execute(sa.select(batches.c.batch_id).where(batches.c.source == source).limit(1)).first() is not None
    )


def waiting_rows(connection: sa.Connection, batch_id: BatchId, after_id: int, limit: int) -> list[QuarantinedRow]:
    """Return the next rows of a batch that were not replayed yet, in the order of their ids."""
    names = ("quarantine_id", "row_number", "origin_us", "raw")
    query = sa.select(*(quarantine.c[name] for name in names)).where(
        quarantine.c.batch_id == batch_id,
        quarantine.c.replayed_batch_id.is_(None),
        quarantine.c.quarantine_id > after_id,
    )
    rows = connection.execute(query.order_by(quarantine.c.quarantine_id).limit(limit))
    return [QuarantinedRow(number, row, origin_us, bytes(raw)) for number, row, origin_us, raw in rows]


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
