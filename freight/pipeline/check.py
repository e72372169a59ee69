"""Check: a dry run. Everything is read and validated, even loaded; then the load is taken back."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import polars as pl

from freight.catalog import Catalog, Source
from freight.errors import QuarantineLimitExceeded, SourceError
from freight.frames import bad_rows
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.load import ended_by, try_conformed
from freight.pipeline.plan import first_unit, plan_source
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
        outcome: its counts are the difference to what is in the warehouse.
        first_bad_rows: the first rows that would be quarantined; `BAD_ROWS_SCHEMA`.
    """

    outcome: UnitOutcome
    first_bad_rows: pl.DataFrame = field(default_factory=bad_rows, repr=False)


def check_source(
    engine: Engine, catalog: Catalog, source: Source, now: datetime, connections: Connections = FILES_ONLY
) -> list[Check]:
    """Tell how each file of a source would end if it were loaded now; the warehouse stays as it is.

    Rows that are loaded and taken back are locked meanwhile, as in a load.

    Args:
        engine: of the warehouse.
        catalog: that the source is of.
        source: to look at.
        now: the instant of the load.
        connections: opens what the source names.

    Raises:
        TransientError: the warehouse is away, or another run loads the same.
    """
    run_id = RunId(f"check-{uuid4()}")
    with TemporaryDirectory(prefix="dpa-check-") as scratch:
        plan = plan_source(
            engine,
            catalog,
            source,
            run_id,
            now,
            connections=connections,
            spool=Path(scratch),
            fail=lambda _, unit, error, __: ended_by(unit, error),
        )
        checks = [Check(outcome) for outcome in plan.ended]
        return checks + [_check_unit(engine, planned, Path(scratch), now) for planned in plan.units]


def preview_source(
    catalog: Catalog, source: Source, now: datetime, rows: int, connections: Connections = FILES_ONLY
) -> tuple[str, pl.DataFrame, int]:
    """Return the first rows of a source as the warehouse would have them; it is not asked.

    Args:
        catalog: that the source is of.
        source: to look at.
        now: the instant of the load.
        rows: how many.
        connections: opens what the source names.

    Returns:
        Where they are from, the rows with the columns of the contract, and how many others break it.

    Raises:
        SourceError: it cannot be read.
    """
    with TemporaryDirectory(prefix="dpa-preview-") as scratch:
        planned = first_unit(catalog, source, now, connections, Path(scratch))
        spool = transform_unit(planned, extract_unit(planned, Path(scratch) / "unit"), now)
        columns = [column.name for column in source.contract.columns]
        first = next(iter(read_spool(spool.conformed_path)), pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
        return planned.unit.location, first.select(columns).head(rows), spool.quarantined


def _check_unit(engine: Engine, planned: PlannedUnit, scratch: Path, now: datetime) -> Check:
    try:
        spool = transform_unit(planned, extract_unit(planned, spool_folder(scratch, planned)), now)
        return Check(with_retries(partial(try_conformed, engine, planned, spool, now)), spool.first_bad_rows)
    except QuarantineLimitExceeded as error:
        return Check(ended_by(planned.unit, error), error.first_bad_rows)
    except SourceError as error:
        return Check(ended_by(planned.unit, error.at(planned.unit.location)))
