"""The history of deliveries: what was loaded when, with counts, and what failed, with the reason."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby, islice
from typing import Any, Literal

import sqlalchemy as sa

from freight.types import Cause, LoadCounts
from freight.warehouse.schema import COUNT_NAMES, batches, load_attempt_rows, load_attempts, runs

SHOWN_BAD_ROWS = 3
PLACED = re.compile(r"row (?P<place>\d+ of sheet [^:]+): (?P<fault>.+)", re.S)  # no name of a sheet has a colon


@dataclass(frozen=True)
class AttemptRow:
    """A bad row of a delivery that was refused: its number or place, such as `5 of sheet 'Mars'`, column and fault."""

    row: int | str
    column: str | None
    fault: str


@dataclass(frozen=True)
class HistoryEntry:
    """One load of a delivery, or one attempt at it.

    Attributes:
        at: The instant of the load or attempt; of a stream, of the last micro-batch.
        source, location: The source or topic, and the file or partition.
        outcome: Whether it was loaded.
        number: The number of the batch, or of the attempt.
        cause: The reason for a load; always load for an attempt.
        counts: The results of its rows.
        fault, reason: The code of the fault, and the fault and remedy in words; empty if it was loaded.
        released_at: The instant of `dpa retry`, if it was released.
        run, started_by: The run, and the person or machine that started it.
        first_bad_rows: The first bad rows of a refused delivery.
    """

    at: datetime
    source: str
    location: str
    outcome: Literal["loaded", "failed"]
    number: int
    cause: Cause = "load"
    counts: LoadCounts = field(default_factory=LoadCounts)
    fault: str = ""
    reason: str = ""
    released_at: datetime | None = None
    run: str = ""
    started_by: str | None = None
    first_bad_rows: tuple[AttemptRow, ...] = ()


def history(connection: sa.Connection, wanted: str | None, limit: int) -> list[HistoryEntry]:
    """Return the newest loads and attempts, the newest first.

    Args:
        connection: The connection to the warehouse.
        wanted: A source or topic, the location of a file, or its name; None for all.
        limit: The largest number of entries.
    """
    both = [*_loads(connection, wanted, limit), *_attempts(connection, wanted, limit)]
    newest = sorted(both, key=lambda entry: entry.at, reverse=True)[:limit]
    bad_rows = _first_bad_rows(connection, [entry.number for entry in newest if entry.outcome == "failed"])
    return [replace(e, first_bad_rows=bad_rows.get(e.number, ())) if e.outcome == "failed" else e for e in newest]


def _loads(connection: sa.Connection, wanted: str | None, limit: int) -> list[HistoryEntry]:
    columns = [batches.c[name] for name in ("loaded_at", "source", "location", "batch_id", "cause", *COUNT_NAMES)]
    query = _newest(batches, columns, wanted, limit).order_by(batches.c.batch_id.desc())
    return [
        HistoryEntry(at, source, location, "loaded", number, cause, LoadCounts(*counts), run=run, started_by=person)
        for at, source, location, number, cause, *counts, run, person in connection.execute(query)
    ]


def _attempts(connection: sa.Connection, wanted: str | None, limit: int) -> list[HistoryEntry]:
    names = ("attempted_at", "source", "location", "attempt_id", "fault", "message", "released_at")
    columns = [load_attempts.c[name] for name in (*names, "read_rows", "quarantined")]
    query = _newest(load_attempts, columns, wanted, limit).order_by(load_attempts.c.attempt_id.desc())
    return [_attempt(row) for row in connection.execute(query)]


def _attempt(row: sa.Row[Any]) -> HistoryEntry:
    return HistoryEntry(
        *(row.attempted_at, row.source, row.location, "failed", row.attempt_id),
        counts=LoadCounts(read=row.read_rows, quarantined=row.quarantined),
        fault=row.fault,
        reason=row.message,
        released_at=row.released_at,
        run=row.run_id,
        started_by=row.started_by,
    )


def _newest(table: sa.Table, columns: Iterable[sa.Column[Any]], wanted: str | None, limit: int) -> sa.Select[Any]:
    joined = table.outerjoin(runs, runs.c.run_id == table.c.run_id)
    query = sa.select(*columns, table.c.run_id, runs.c.started_by).select_from(joined).limit(limit)
    return query if wanted is None else query.where(_is_wanted(table, wanted))


def _is_wanted(table: sa.Table, wanted: str) -> sa.ColumnElement[bool]:
    inside = table.c.location.endswith(f"/{wanted}", autoescape=True)
    return sa.or_(table.c.source == wanted, table.c.location == wanted, inside)


def _first_bad_rows(connection: sa.Connection, attempts: Iterable[int]) -> dict[int, tuple[AttemptRow, ...]]:
    table = load_attempt_rows
    query = sa.select(table).where(table.c.attempt_id.in_([*attempts])).order_by(table.c.attempt_id, table.c.row_number)
    by_attempt = groupby(connection.execute(query), key=lambda row: row.attempt_id)
    return {number: tuple(map(_bad_row, islice(rows, SHOWN_BAD_ROWS))) for number, rows in by_attempt}


def _bad_row(row: sa.Row[Any]) -> AttemptRow:
    if placed := PLACED.fullmatch(row.detail or ""):
        return AttemptRow(placed["place"], row.column_name, placed["fault"])
    return AttemptRow(row.source_row or row.row_number, row.column_name, row.detail or row.reason)
