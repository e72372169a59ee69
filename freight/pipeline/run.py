"""A run: every source of the catalog, step by step, without Prefect; the tasks compose the same steps."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial, reduce
from pathlib import Path

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline.archive import archive_loaded
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.fallback import load_first_that_serves
from freight.pipeline.load import fail_unit, load_conformed
from freight.pipeline.plan import plan_source
from freight.pipeline.transform import transform_unit
from freight.pipeline.units import PlannedUnit, UnitOutcome
from freight.readers import FILES_ONLY, Connections
from freight.retry import with_retries
from freight.types import LoadCounts, RunId
from freight.warehouse import ledger
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.migrate import require_current

log = logging.getLogger("freight")


@dataclass(frozen=True)
class RunReport:
    """How a run ended: the outcome of every file, and the daily statistics that changed."""

    run_id: RunId
    outcomes: tuple[UnitOutcome, ...]
    changed_stats: int = 0

    @property
    def failures(self) -> list[UnitOutcome]:
        """Files and sources that failed in this run."""
        return [outcome for outcome in self.outcomes if outcome.state == "failed"]

    @property
    def parked(self) -> int:
        """Number of files that failed before and wait for `dpa retry`."""
        return sum(outcome.state == "parked" for outcome in self.outcomes)

    @property
    def replaced(self) -> int:
        """Number of files and sources in whose place a fallback serves."""
        return sum(outcome.state == "replaced" for outcome in self.outcomes)

    @property
    def waiting(self) -> int:
        """Number of files that are still being delivered, and left for the next run."""
        return sum(outcome.state == "waiting" for outcome in self.outcomes)

    def counts(self, source: str | None = None) -> LoadCounts:
        """Return the summed counts of a source, or of all."""
        chosen = (outcome.counts for outcome in self.outcomes if source in (None, outcome.source))
        return reduce(LoadCounts.__add__, chosen, LoadCounts())

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in the order of loading."""
        return list(dict.fromkeys(outcome.source for outcome in self.outcomes))


def run_catalog(
    engine: Engine,
    catalog: Catalog,
    *,
    run_id: RunId,
    spool: Path,
    started_by: str,
    clock: Callable[[], datetime],
    connections: Connections = FILES_ONLY,
) -> RunReport:
    """Load every source without Prefect; a bad source is reported and does not stop the others.

    Raises:
        ConfigurationError: the warehouse has another schema version, or holds data of the other kind.
    """
    plan_of = partial(plan_source, engine, catalog, connections=connections, spool=spool)
    with_retries(lambda: begin_run(engine, catalog, run_id, started_by, clock()))

    def attempt(source: Source) -> list[UnitOutcome]:
        plan = with_retries(partial(plan_of, source, run_id, clock()))
        loaded = [load_planned(engine, planned, spool_folder(spool, planned), clock) for planned in plan.units]
        outcomes = [*plan.ended, *loaded]
        return archive_loaded(catalog.folder, source, plan.files, outcomes) if source.archive else outcomes

    outcomes = [o for head in catalog.heads for o in load_first_that_serves(catalog.chain_of(head), attempt)]
    changed = with_retries(lambda: refresh_aggregates(engine))
    report = RunReport(run_id, tuple(outcomes), changed)
    with_retries(lambda: finish_run(engine, report, clock()))
    return report


def begin_run(engine: Engine, catalog: Catalog, run_id: RunId, started_by: str, now: datetime) -> None:
    """Check that this catalog may load into this warehouse, and note the run.

    Raises:
        ConfigurationError: another schema version, or simulated data would mix with real data.
    """
    require_current(engine)
    with transaction(engine) as connection:
        ledger.refuse_to_mix(connection, simulated=catalog.simulated)
        ledger.start_run(connection, run_id, started_by, now)
    log.info("run %s started by %s, sources: %s", run_id, started_by, ", ".join(s.name for s in catalog.sources))


def finish_run(engine: Engine, report: RunReport, now: datetime) -> None:
    """Note how the run ended."""
    outcome = "failed" if report.failures else "completed"
    with transaction(engine) as connection:
        ledger.end_run(connection, report.run_id, outcome, now)
    log.info(
        "run %s %s: %s, %d daily statistics changed", report.run_id, outcome, report.counts(), report.changed_stats
    )


def load_planned(engine: Engine, planned: PlannedUnit, folder: Path, clock: Callable[[], datetime]) -> UnitOutcome:
    """Take one unit through extract, transform and load; a bad file becomes a failed outcome."""
    try:
        raw = extract_unit(planned, folder)
        conformed = transform_unit(planned, raw, clock())
        return with_retries(lambda: load_conformed(engine, planned, conformed, clock()))
    except SourceError as error:
        return fail_unit(engine, planned.unit, error.at(planned.unit.location), clock())
