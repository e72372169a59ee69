"""Check: a dry run. It reads, validates and even loads everything; then it rolls the load back."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4

import polars as pl

from freight.catalog import Source
from freight.errors import QuarantineLimitExceeded, SourceError
from freight.frames import bad_rows
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.load import ended_by, try_conformed
from freight.pipeline.plan import first_unit, plan_source
from freight.pipeline.run import Run
from freight.pipeline.transform import transform_unit
from freight.pipeline.units import PlannedUnit, UnitOutcome
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
    """

    outcome: UnitOutcome
    first_bad_rows: pl.DataFrame = field(default_factory=bad_rows, repr=False)
    read_as: str = ""


class Preview(NamedTuple):
    """The first rows of a source.

    Attributes:
        location: Their location.
        rows: The rows, with the columns of the contract.
        bad_rows: The number of rows that break the contract.
        read_as: How the source is read, in words.
    """

    location: str
    rows: pl.DataFrame
    bad_rows: int
    read_as: str


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
        checks = [Check(outcome) for outcome in plan.ended]
        return checks + [_check_unit(run, planned) for planned in plan.units]


def preview_source(source: Source, now: datetime, rows: int, connections: Connections = FILES_ONLY) -> Preview:
    """Return the first rows of a source as the warehouse would store them, without a connection to it.

    Args:
        source: The source to look at.
        now: The instant of the load.
        rows: The number of rows.
        connections: Opens the places that the source names.

    Raises:
        SourceError: The source cannot be read.
    """
    with TemporaryDirectory(prefix="dpa-preview-") as scratch:
        planned = first_unit(source, now, connections, Path(scratch))
        spool = transform_unit(planned, extract_unit(planned, Path(scratch) / "unit"), now)
        columns = [column.name for column in source.contract.columns]
        first = next(iter(read_spool(spool.conformed_path)), pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
        shown = first.select(columns).head(rows)
        return Preview(planned.unit.location, shown, spool.quarantined, str(spool.raw.read_as))


def _check_unit(run: Run, planned: PlannedUnit) -> Check:
    try:
        spool = transform_unit(planned, extract_unit(planned, spool_folder(run.spool, planned)), run.clock())
        outcome = with_retries(partial(try_conformed, run, planned, spool))
        return Check(outcome, spool.first_bad_rows, str(spool.raw.read_as))
    except QuarantineLimitExceeded as error:
        return Check(ended_by(planned.unit, error), error.first_bad_rows)
    except SourceError as error:
        return Check(ended_by(planned.unit, error.at(planned.unit.location)))
