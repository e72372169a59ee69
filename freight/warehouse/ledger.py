"""The ledger: runs, loaded units, the counts of their rows, and the position of each source.

The central idea: functions that write take a connection inside the transaction that also writes the data.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

import polars as pl
import sqlalchemy as sa

from freight.contracts import Contract, contract_for
from freight.errors import ConfigurationError, PositionFenced
from freight.notation.evidence import ReadAs
from freight.types import BatchId, Cause, Fingerprint, LoadCounts, Position, Reshaped, RunId, origin_us_of
from freight.warehouse.bulk import append, insert_missing
from freight.warehouse.schema import (
    COUNT_NAMES,
    batches,
    file_positions,
    load_attempt_reasons,
    load_attempt_rows,
    load_attempts,
    purges,
    quarantine,
    reshapes,
    runs,
    stream_batches,
)

# Faults of the location, not of the content: the same content may load next time, so it is not parked.
GONE: Final = "gone"  # of a file that failed and was taken away
OF_THE_PLACE = ("missing", "unreadable", "changed_while_reading")
PASSING_FAULTS = (*OF_THE_PLACE, GONE)
ATTEMPT_ROWS = 100  # bad rows kept for a refused unit: enough to see the fault, not a second copy of the file


@dataclass(frozen=True)
class LoadUnit:
    """A file, or another unit of a source, on its way into the warehouse.

    Attributes:
        run_id: The run that loads it.
        source, dataset: The names in the catalog.
        location: The path as the ledger names it.
        fingerprint: The identity of its content.
        as_of: The instant that its content stands for; orders its rows against those of other files.
        contract_version: The version of the contract that validated it.
        simulated: Whether the simulator made it.
        cause: The reason for the load.
        profile: The profile of its columns, as text; None if they were not profiled.
        function_version: The version of the function that reshapes it; None without one.
    """

    run_id: RunId
    source: str
    dataset: str
    location: str
    fingerprint: Fingerprint
    as_of: datetime
    contract_version: int
    simulated: bool = False
    cause: Cause = "load"
    profile: str | None = None
    function_version: str | None = None

    @property
    def contract(self) -> Contract:
        """The contract of the dataset."""
        return contract_for(self.dataset)

    @property
    def origin_us(self) -> int:
        """`as_of` in microseconds since 1970, UTC."""
        return origin_us_of(self.as_of)


def start_run(connection: sa.Connection, run_id: RunId, started_by: str, now: datetime) -> None:
    """Record the start of a run and who started it; a second call does nothing."""
    if connection.execute(sa.select(runs.c.run_id).where(runs.c.run_id == run_id)).first() is None:
        connection.execute(runs.insert().values(run_id=run_id, started_by=started_by, started_at=now))


def end_run(connection: sa.Connection, run_id: RunId, outcome: str, now: datetime) -> None:
    """Record how a run ended."""
    connection.execute(runs.update().where(runs.c.run_id == run_id).values(ended_at=now, outcome=outcome))


def position_of(connection: sa.Connection, source: str, location: str) -> Position | None:
    """Return the position of a location, or None if nothing was loaded from it yet."""
    names = [field.name for field in fields(Fingerprint)]
    others = ("contract_version", "origin_us", "batch_id", "function_version")
    columns = [file_positions.c[name] for name in (*others, *names)]
    here = (file_positions.c.source == source) & (file_positions.c.location == location)
    row = connection.execute(sa.select(*columns).where(here)).first()
    return Position(Fingerprint(*row[len(others) :]), *row[: len(others)]) if row else None


def open_batch(connection: sa.Connection, unit: LoadUnit, read_as: ReadAs, now: datetime) -> BatchId:
    """Make the lineage row of a unit; its counts are filled in by `close_batch`."""
    values = {
        "run_id": unit.run_id,
        "source": unit.source,
        "dataset": unit.dataset,
        "cause": unit.cause,
        "contract_version": unit.contract_version,
        "location": unit.location,
        "content_id": unit.fingerprint.content_id,
        "size_bytes": unit.fingerprint.size_bytes,
        "as_of": unit.as_of,
        "decimal_mark": str(read_as.notation.numbers),
        "read_as": read_as.as_json(),
        "simulated": unit.simulated,
        "profile": unit.profile,
        "loaded_at": now,
        **dict.fromkeys(COUNT_NAMES, 0),
    }
    return BatchId(connection.execute(batches.insert().values(values).returning(batches.c.batch_id)).scalar_one())


def copy_partition(connection: sa.Connection, from_batch: BatchId, to_batch: BatchId) -> None:
    """Assign a batch to the partition of another batch, if that one belongs to a stream."""
    _copy(connection, stream_batches, from_batch, to_batch)


def note_reshaped(connection: sa.Connection, batch_id: BatchId, reshaped: Reshaped) -> None:
    """Record what a source's own function did with the rows of a batch."""
    connection.execute(reshapes.insert().values(batch_id=batch_id, **asdict(reshaped)))


def copy_reshaped(connection: sa.Connection, from_batch: BatchId, to_batch: BatchId) -> None:
    """Record for rows that come from another batch what a function did when it made them, if one did."""
    _copy(connection, reshapes, from_batch, to_batch)


def _copy(connection: sa.Connection, table: sa.Table, from_batch: BatchId, to_batch: BatchId) -> None:
    names = [column for column in table.c if column.name != "batch_id"]
    same = sa.select(sa.literal(to_batch), *names).where(table.c.batch_id == from_batch)
    connection.execute(table.insert().from_select(["batch_id", *names], same))


def advance(connection: sa.Connection, unit: LoadUnit, expected: Position | None, batch_id: BatchId) -> None:
    """Move the position of the unit's location from the expected one to this unit.

    Raises:
        PositionFenced: The position has changed meanwhile; the caller must roll back.
    """
    values = {
        **asdict(unit.fingerprint),
        "contract_version": unit.contract_version,
        "function_version": unit.function_version,
        "origin_us": unit.origin_us,
        "batch_id": batch_id,
    }
    if expected is None:
        position = {"source": unit.source, "location": unit.location, **values}
        moved = insert_missing(connection, file_positions, [position])
    else:
        here = (file_positions.c.source == unit.source) & (file_positions.c.location == unit.location)
        unmoved = file_positions.c.batch_id == expected.batch_id
        moved = connection.execute(file_positions.update().where(here, unmoved).values(values)).rowcount
    if moved != 1:
        raise PositionFenced(f"{unit.source} {unit.location}: another run has loaded it")


def close_batch(
    connection: sa.Connection, batch_id: BatchId, counts: LoadCounts, row_range: tuple[int, int] | None
) -> None:
    """Fill in how the rows of a batch ended."""
    first, last = row_range or (None, None)
    connection.execute(
        batches.update()
        .where(batches.c.batch_id == batch_id)
        .values(first_row=first, last_row=last, **count_values(counts))
    )


def counts_of(connection: sa.Connection, batch_id: BatchId) -> tuple[str, LoadCounts]:
    """Return the run and the counts of a batch."""
    row = connection.execute(
        sa.select(batches.c.run_id, *(batches.c[name] for name in COUNT_NAMES)).where(batches.c.batch_id == batch_id)
    ).one()
    return row[0], LoadCounts(*row[1:])


def profiles_of(connection: sa.Connection, source: str, contract_version: int, from_rows: int, limit: int) -> list[str]:
    """Return the profiles of the units loaded from a source, the newest first.

    Args:
        connection: The connection to the warehouse.
        source: The source of the units.
        contract_version: The contract version of the units.
        from_rows: The fewest rows outside quarantine that a unit must have.
        limit: The most profiles to return.
    """
    usable_rows = batches.c.read_rows - batches.c.quarantined
    query = sa.select(batches.c.profile).where(
        batches.c.source == source,
        batches.c.contract_version == contract_version,
        batches.c.profile.is_not(None),
        usable_rows >= from_rows,
    )
    return list(connection.execute(query.order_by(batches.c.batch_id.desc()).limit(limit)).scalars())


def write_quarantine(
    connection: sa.Connection, unit: LoadUnit, batch_id: BatchId, frames: Iterable[pl.DataFrame]
) -> int:
    """Store bad rows (`frames.BAD_ROWS_SCHEMA`, and `origin_us` where rows have their own); return their number."""
    named = (
        _with_origin(frame, unit).with_columns(
            pl.lit(batch_id).alias("batch_id"),
            pl.lit(unit.source).alias("source"),
            pl.lit(unit.dataset).alias("dataset"),
            pl.lit(unit.location).alias("location"),
        )
        for frame in frames
    )
    return append(connection, quarantine.name, named)


def _with_origin(frame: pl.DataFrame, unit: LoadUnit) -> pl.DataFrame:
    return frame if "origin_us" in frame.columns else frame.with_columns(pl.lit(unit.origin_us).alias("origin_us"))


def record_attempt(
    connection: sa.Connection,
    unit: LoadUnit,
    *,
    fault: str,
    message: str,
    now: datetime,
    read_rows: int = 0,
    reason_counts: Mapping[str, int] | None = None,
    first_bad_rows: pl.DataFrame | None = None,
) -> None:
    """Record a unit that was not loaded, and why."""
    attempt = load_attempts.insert().values(
        run_id=unit.run_id,
        source=unit.source,
        dataset=unit.dataset,
        location=unit.location,
        content_id=unit.fingerprint.content_id,
        contract_version=unit.contract_version,
        function_version=unit.function_version,
        fault=fault,
        message=message,
        read_rows=read_rows,
        quarantined=sum((reason_counts or {}).values()),
        attempted_at=now,
    )
    attempt_id = connection.execute(attempt.returning(load_attempts.c.attempt_id)).scalar_one()
    for reason, bad_rows in (reason_counts or {}).items():
        connection.execute(
            load_attempt_reasons.insert().values(attempt_id=attempt_id, reason=reason, bad_rows=bad_rows)
        )
    if first_bad_rows is not None and not first_bad_rows.is_empty():
        kept = first_bad_rows.head(ATTEMPT_ROWS).with_columns(pl.lit(attempt_id).alias("attempt_id"))
        append(connection, load_attempt_rows.name, [kept])


@dataclass(frozen=True)
class Parked:
    """The newest attempt to load content that failed, and that nobody has released.

    Attributes:
        source, location: The source and the file.
        fault: The code of the fault; `GONE` if the file was taken away afterwards.
        message: The fault and its remedy in words, as it was reported.
        since: The instant of the attempt.
    """

    source: str
    location: str
    fault: str
    message: str
    since: datetime

    @property
    def is_gone(self) -> bool:
        """Whether the file was taken away since it failed."""
        return self.fault == GONE


def _newest_attempts() -> sa.Select[Any]:
    names = ("source", "location", "fault", "message")
    columns = [*(load_attempts.c[name] for name in names), load_attempts.c.attempted_at.label("since")]
    return sa.select(*columns).where(load_attempts.c.released_at.is_(None)).order_by(load_attempts.c.attempt_id.desc())


def parked(connection: sa.Connection, unit: LoadUnit) -> Parked | None:
    """Return how the same content failed before under the same contract and function; None if it may be tried.

    A file that was taken away and is delivered again may be tried, even with the same content.
    """
    later = load_attempts.alias()
    was_gone = sa.exists().where(
        later.c.source == load_attempts.c.source,
        later.c.location == load_attempts.c.location,
        later.c.attempt_id > load_attempts.c.attempt_id,
        later.c.fault == GONE,
    )
    found = _newest_attempts().where(
        _is_of_content(unit),
        load_attempts.c.fault.not_in(PASSING_FAULTS),
        load_attempts.c.contract_version == unit.contract_version,
        load_attempts.c.function_version.is_not_distinct_from(unit.function_version),
        ~was_gone,
    )
    row = connection.execute(found.limit(1)).first() if unit.fingerprint.content_id else None
    return Parked(**row._mapping) if row else None


def all_parked(connection: sa.Connection, source: str | None = None) -> list[Parked]:
    """Return the files of a source, or of all, that failed and were not loaded since; the newest first.

    Files that were taken away afterwards are among them; those that may load next time are not.
    """
    return _not_loaded(connection, source, load_attempts.c.fault.not_in(OF_THE_PLACE))


def is_known_source(connection: sa.Connection, name: str) -> bool:
    """Whether anything was ever loaded from a source or a topic, or failed."""
    here = (sa.select(sa.literal(1)).where(table.c.source == name).limit(1) for table in (batches, load_attempts))
    return any(connection.execute(query).first() for query in here)


def failed_files(connection: sa.Connection, source: str) -> list[Parked]:
    """Return the files of a source that failed, parked or not, and were neither loaded nor told to be gone since."""
    return [one for one in _not_loaded(connection, source, sa.true()) if not one.is_gone]


def _not_loaded(connection: sa.Connection, source: str | None, wanted: sa.ColumnElement[bool]) -> list[Parked]:
    """Return the newest wanted attempt at each file that was not loaded since, the newest first."""
    loaded = sa.select(batches.c.batch_id).where(
        batches.c.source == load_attempts.c.source,
        batches.c.location == load_attempts.c.location,
        batches.c.loaded_at > load_attempts.c.attempted_at,
    )
    query = _newest_attempts().where(wanted, ~loaded.exists())
    rows = connection.execute(query.where(load_attempts.c.source == source) if source else query)
    newest: dict[tuple[str, str], Parked] = {}
    for row in rows:
        newest.setdefault((row.source, row.location), Parked(**row._mapping))
    return [*newest.values()]


def is_accepted(connection: sa.Connection, unit: LoadUnit, fault: str) -> bool:
    """Whether the same content failed with this fault and a person has released it."""
    found = sa.select(load_attempts.c.attempt_id).where(
        _is_of_content(unit),
        load_attempts.c.fault == fault,
        load_attempts.c.released_at.is_not(None),
    )
    return connection.execute(found.limit(1)).first() is not None


def _is_of_content(unit: LoadUnit) -> sa.ColumnElement[bool]:
    """Return the condition of the attempts to load the content of a unit from its location."""
    return sa.and_(
        load_attempts.c.source == unit.source,
        load_attempts.c.location == unit.location,
        load_attempts.c.content_id == unit.fingerprint.content_id,
    )


def release(connection: sa.Connection, source: str | None, now: datetime) -> int:
    """Release parked files of one source or of all, so that the next run retries them; return how many there are."""
    files = [one for one in all_parked(connection, source) if not one.is_gone]
    failed = load_attempts.update().where(load_attempts.c.released_at.is_(None)).values(released_at=now)
    connection.execute(failed.where(load_attempts.c.source == source) if source else failed)
    return len(files)


def holds_simulated_data(connection: sa.Connection) -> bool | None:
    """Whether the loaded data is the simulator's; None if nothing is loaded yet."""
    # A purge leaves the batch of each position, so there is a row as long as anything is loaded.
    row = connection.execute(sa.select(batches.c.simulated).limit(1)).first()
    return None if row is None else bool(row[0])


def refuse_to_mix(connection: sa.Connection, *, simulated: bool) -> None:
    """Check that data of this kind may go into the warehouse.

    Raises:
        ConfigurationError: The warehouse holds data of the other kind.
    """
    held = holds_simulated_data(connection)
    if held is not None and held != simulated:
        kind = {True: "simulated", False: "real"}
        raise ConfigurationError(
            f"the warehouse holds {kind[held]} data and this load would add {kind[simulated]} data: use another "
            "warehouse, or `dpa reset` to start clean"
        )


def record_purge(
    connection: sa.Connection,
    table: str,
    source: str,
    dataset: str,
    cause: str,
    rows: int,
    counts: LoadCounts,
    now: datetime,
) -> None:
    """Record that rows were deleted on purpose, with the counts that were deleted with them."""
    connection.execute(
        purges.insert().values(
            table_name=table,
            source=source,
            dataset=dataset,
            cause=cause,
            purged_rows=rows,
            purged_at=now,
            **count_values(counts),
        )
    )


def count_values(counts: LoadCounts) -> dict[str, int]:
    """Return counts by the names of their columns."""
    values = asdict(counts)
    return {"read_rows": values.pop("read"), **values}
