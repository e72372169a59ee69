"""The transactional load: commit a unit's rows, quarantine, lineage and position together, or nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import sqlalchemy as sa

from freight.notation.evidence import READ_AS_USUAL, ReadAs
from freight.types import BatchId, LoadCounts, Position, Reshaped
from freight.warehouse.connect import Engine, taken_back, transaction
from freight.warehouse.datasets import RowWriter
from freight.warehouse.ledger import (
    LoadUnit,
    advance,
    close_batch,
    copy_partition,
    copy_reshaped,
    note_reshaped,
    open_batch,
    start_run,
    write_quarantine,
)
from freight.warehouse.quarantine import Correction, mark_replayed, note_corrections
from freight.warehouse.refused import refused_rows
from freight.warehouse.upsert import Batch


@dataclass(frozen=True)
class UnitContent:
    """The validated rows of a unit.

    Attributes:
        frames: Returns the conformed rows, from the start at each call; a business key occurs once.
        rows: The number of rows that `frames` returns.
        quarantined: Returns the bad rows, from the start at each call.
        read: The number of rows in the source.
        superseded: The number of rows left out because the unit itself holds a newer version of their key.
        row_range: The first and last row number; None without rows.
        read_as: The way in which the source was read; a replay reads it the same way.
        reshaped: What the source's own function did with the rows; None without one.
    """

    frames: Callable[[], Iterable[pl.DataFrame]]
    rows: int
    quarantined: Callable[[], Iterable[pl.DataFrame]]
    read: int
    superseded: int
    row_range: tuple[int, int] | None
    read_as: ReadAs = READ_AS_USUAL
    reshaped: Reshaped | None = None


def load_unit(
    engine: Engine,
    unit: LoadUnit,
    content: UnitContent,
    expected: Position | None,
    now: datetime,
    *,
    keep: bool = True,
) -> LoadCounts:
    """Load one unit in one transaction.

    Args:
        engine: The engine of the warehouse.
        unit: The unit to load.
        content: Its rows.
        expected: The position that was read when the unit was planned.
        now: The instant that becomes loaded_at.
        keep: Whether to commit; otherwise everything is rolled back, and only the counts show the effect.

    Raises:
        PositionFenced: Another run has loaded this location since; nothing was written.
        TransientError: The whole call may be retried; it wrote nothing or everything (then the retry is fenced).
    """
    with (transaction if keep else taken_back)(engine) as connection:
        if not keep:
            start_run(connection, unit.run_id, "", now)  # the lineage refers to it
        batch_id = open_batch(connection, unit, content.read_as, now)
        advance(connection, unit, expected, batch_id)
        if content.reshaped:
            note_reshaped(connection, batch_id, content.reshaped)
        counts, _ = _write(connection, unit, content, batch_id)
        close_batch(connection, batch_id, counts, content.row_range)
    return counts


def load_replay(
    engine: Engine,
    unit: LoadUnit,
    content: UnitContent,
    quarantine_ids: Mapping[int, int],
    now: datetime,
    replayed_batch: BatchId,
    corrections: Sequence[Correction] = (),
) -> tuple[LoadCounts, set[int]]:
    """Load rows from quarantine and mark them as replayed, in one transaction.

    A row that contradicts a stored row that never changes stays in quarantine; it is not counted.

    Args:
        engine: The engine of the warehouse.
        unit: The unit to replay.
        content: Its rows.
        quarantine_ids: The numbers of the rows in quarantine by row number.
        now: The instant that becomes loaded_at.
        replayed_batch: The batch that put the rows into quarantine.
        corrections: The cells that a person has changed; noted for rows that load.

    Returns:
        The counts of the rows, and the numbers of those that stay in quarantine.

    Raises:
        PositionFenced: Another replay has loaded one of them; nothing was written.
        RowsRefused: See `refused_row_numbers`; nothing was written.
    """
    with transaction(engine) as connection:
        batch_id = open_batch(connection, unit, content.read_as, now)
        copy_partition(connection, replayed_batch, batch_id)
        copy_reshaped(connection, replayed_batch, batch_id)
        counts, conflicts = _write(connection, unit, content, batch_id)
        ids = [number for row, number in quarantine_ids.items() if row not in conflicts]
        mark_replayed(connection, ids, batch_id)
        loaded = set(ids)
        note_corrections(connection, (one for one in corrections if one.quarantine_id in loaded), batch_id, now)
        close_batch(connection, batch_id, counts, content.row_range)
    return counts, conflicts


def refused_row_numbers(engine: Engine, unit: LoadUnit, content: UnitContent) -> set[int]:
    """Return the row numbers that the warehouse itself refuses; none if single rows are not the cause."""
    writer, nowhere = RowWriter(), BatchId(0)

    def write(rows: pl.DataFrame) -> None:
        writer.write(connection, Batch((nowhere,), unit.contract, lambda: [rows], rows.height))

    with transaction(engine) as connection:
        frames = (_with_origin(frame, unit, nowhere) for frame in content.frames())
        refused = refused_rows(connection, frames, write)
    return set() if refused is None else set(refused["origin_seq"])


def _write(
    connection: sa.Connection, unit: LoadUnit, content: UnitContent, batch_id: BatchId
) -> tuple[LoadCounts, set[int]]:
    """Write the rows of a unit; return their counts, and the row numbers of uncounted rows that conflict."""

    def with_origin() -> Iterable[pl.DataFrame]:
        return (_with_origin(frame, unit, batch_id) for frame in content.frames())

    written = RowWriter().write(connection, Batch((batch_id,), unit.contract, with_origin, content.rows))[batch_id]
    counts = written.load_counts(
        f"{unit.source} {unit.location}",
        read=content.read - len(written.conflicts),
        superseded=content.superseded,
        quarantined=write_quarantine(connection, unit, batch_id, content.quarantined()),
    )
    return counts, set(written.conflicts)


def _with_origin(frame: pl.DataFrame, unit: LoadUnit, batch_id: BatchId) -> pl.DataFrame:
    """Add the origin columns; messages have their own time of sending."""
    origin_us = pl.col("origin_us") if "origin_us" in frame.columns else pl.lit(unit.origin_us, pl.Int64)
    return frame.rename({"row_number": "origin_seq"}).with_columns(
        origin_us.alias("origin_us"), pl.lit(batch_id, pl.Int64).alias("batch_id")
    )
