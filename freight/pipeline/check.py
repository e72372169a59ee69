"""Check: a dry run. It reads, validates and even loads everything; then it rolls the load back."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import polars as pl

from freight.catalog import Source
from freight.contracts import Contract
from freight.errors import QuarantineLimitExceeded, SourceError
from freight.frames import bad_rows
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.load import ended_by, try_conformed
from freight.pipeline.plan import first_unit, plan_source
from freight.pipeline.run import Run
from freight.pipeline.transform import transform_unit
from freight.pipeline.units import PlannedUnit, SourcePlan, UnitOutcome
from freight.readers import FILES_ONLY, Connections
from freight.retry import with_retries
from freight.spool import read_spool
from freight.types import RunId
from freight.warehouse.connect import Engine


@dataclass(frozen=True)
class Check:
    """How one file would end.

    Attributes:
        outcome: The outcome; its counts are the changes that the load would make to the warehouse.
        first_bad_rows: The first rows that would be quarantined; `BAD_ROWS_SCHEMA`.
        read_as: How the file is read, in words; empty if it is not read.
        speaks_for: The instant that the file stands for, and what it follows from; empty if it is no file.
        ties: The other files of the source that stand for the same instant.
        contract: The contract of its rows; None if it is not read.
    """

    outcome: UnitOutcome
    first_bad_rows: pl.DataFrame = field(default_factory=bad_rows, repr=False)
    read_as: str = ""
    speaks_for: str = ""
    ties: tuple[str, ...] = ()
    contract: Contract | None = None


class Preview(NamedTuple):
    """The first rows of a source.

    Attributes:
        location: Their location.
        rows: The rows, with the columns of the contract.
        bad_rows: The number of rows that break the contract.
        read_as: How the source is read, in words.
        speaks_for: See `Check`.
    """

    location: str
    rows: pl.DataFrame
    bad_rows: int
    read_as: str
    speaks_for: str


def check_source(engine: Engine, source: Source, now: datetime, connections: Connections = FILES_ONLY) -> list[Check]:
    """Return how each file of a source would end if it were loaded now; the warehouse does not change.

    The rows are locked until the rollback, as in a load.

    Args:
        engine: The engine of the warehouse.
        source: The source to look at.
        now: The instant of the load.
        connections: Opens the places that the source names.

    Raises:
        TransientError: The warehouse is unavailable, or another run is loading the same files.
    """
    with TemporaryDirectory(prefix="dpa-check-") as scratch:
        run = Run(engine, RunId(f"check-{uuid4()}"), Path(scratch), lambda: now, connections)
        plan = plan_source(run, source, fail=lambda _, unit, error: ended_by(unit, error))
        alike = _by_instant(plan)
        checks = [Check(outcome) for outcome in plan.ended]
        return checks + [_dated(_check_unit(run, planned), planned, alike) for planned in plan.units]


def _by_instant(plan: SourcePlan) -> Mapping[datetime, Sequence[str]]:
    """Return the locations of a source by the instant that they stand for."""
    alike: defaultdict[datetime, list[str]] = defaultdict(list)
    for planned in plan.units:
        alike[planned.unit.as_of].append(planned.unit.location)
    for outcome in plan.ended:
        if outcome.as_of:
            alike[outcome.as_of].append(outcome.location)
    return alike


def _dated(check: Check, planned: PlannedUnit, alike: Mapping[datetime, Sequence[str]]) -> Check:
    """Return a check with the instant that its file stands for, and the files that stand for the same one."""
    if not planned.content.evidence:
        return check
    others = (location for location in alike[planned.unit.as_of] if location != planned.unit.location)
    return replace(check, speaks_for=_speaks_for(planned), ties=tuple(others))


def _speaks_for(planned: PlannedUnit) -> str:
    zone, evidence = planned.source.time_zone, planned.content.evidence
    return (
        f"{planned.unit.as_of.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} in {zone}, by {evidence}" if evidence else ""
    )


def preview_source(
    source: Source, now: datetime, rows: int, connections: Connections = FILES_ONLY, engine: Engine | None = None
) -> Preview:
    """Return the first rows of a source as the warehouse would store them, without a connection to it if possible.

    Args:
        source: The source to look at.
        now: The instant of the load.
        rows: The number of rows.
        connections: Opens the places that the source names.
        engine: The engine of the warehouse, which only the lookups of a function need.

    Raises:
        SourceError: The source cannot be read.
    """
    with TemporaryDirectory(prefix="dpa-preview-") as scratch:
        planned = first_unit(source, now, connections, Path(scratch), engine)
        spool = transform_unit(planned, extract_unit(planned, Path(scratch) / "unit"), now)
        columns = [column.name for column in source.contract.columns]
        first = next(iter(read_spool(spool.conformed_path)), pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
        shown = first.select(columns).head(rows)
        read_as = "; ".join(filter(None, [str(spool.raw.read_as), *spool.raw.remarks]))
        return Preview(planned.unit.location, shown, spool.quarantined, read_as, _speaks_for(planned))


def _check_unit(run: Run, planned: PlannedUnit) -> Check:
    try:
        spool = transform_unit(planned, extract_unit(planned, spool_folder(run.spool, planned)), run.clock())
        outcome = with_retries(partial(try_conformed, run, planned, spool))
        return Check(outcome, spool.first_bad_rows, str(spool.raw.read_as), contract=planned.source.contract)
    except QuarantineLimitExceeded as error:
        return Check(ended_by(planned.unit, error), error.first_bad_rows, contract=planned.source.contract)
    except SourceError as error:
        return Check(ended_by(planned.unit, error.at(planned.unit.location)))
