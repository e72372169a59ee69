"""A run: every source of the catalog, step by step. The caller's `Steps` decide how each step is carried out."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Protocol

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline.fallback import load_first_that_serves
from freight.pipeline.units import ConformedSpool, PlannedUnit, RawSpool, SourcePlan, UnitOutcome
from freight.readers import FILES_ONLY, Connections, SourceFile
from freight.spool import remove_spool
from freight.types import LoadCounts, RunId
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.migrate import require_current

log = logging.getLogger("freight")


@dataclass(frozen=True)
class Run:
    """The context that the steps of one run share.

    Attributes:
        engine: The engine of the warehouse.
        run_id: The name of the run.
        spool: The folder of the spool files of all runs.
        clock: Returns the current time.
        connections: Opens the places that the sources name.
    """

    engine: Engine
    run_id: RunId
    spool: Path
    clock: Callable[[], datetime]
    connections: Connections = FILES_ONLY


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
        """Number of files and sources that a fallback replaces."""
        return sum(outcome.state == "replaced" for outcome in self.outcomes)

    @property
    def waiting(self) -> int:
        """Number of files that are still being delivered and are left for the next run."""
        return sum(outcome.state == "waiting" for outcome in self.outcomes)

    @property
    def gone(self) -> int:
        """Number of files that failed before and were taken away."""
        return sum(outcome.state == "gone" for outcome in self.outcomes)

    @property
    def files(self) -> int:
        """Number of files and sources that were there."""
        return len(self.outcomes) - self.gone

    def counts(self, source: str | None = None) -> LoadCounts:
        """Return the summed counts of one source, or of all sources."""
        chosen = (outcome.counts for outcome in self.outcomes if source in (None, outcome.source))
        return reduce(LoadCounts.__add__, chosen, LoadCounts())

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in the order of loading."""
        return list(dict.fromkeys(outcome.source for outcome in self.outcomes))


class Steps(Protocol):
    """Carries out the steps of a run. Each is safe to repeat, and is retried after a transient error."""

    @property
    def catalog(self) -> Catalog:
        """The sources to load."""

    @property
    def run_id(self) -> RunId:
        """The name of the run."""

    def begin(self, started_by: str) -> None:
        """Check that the catalog fits the warehouse, and record the run."""

    def plan(self, source: Source) -> SourcePlan:
        """Find the units of a source that have to be loaded."""

    def extract(self, planned: PlannedUnit) -> RawSpool:
        """Read a unit as text into the spool."""

    def transform(self, planned: PlannedUnit, raw: RawSpool) -> ConformedSpool:
        """Type, validate and derive within the spool."""

    def load(self, planned: PlannedUnit, conformed: ConformedSpool) -> UnitOutcome:
        """Load a transformed unit in one transaction."""

    def fail(self, planned: PlannedUnit, error: SourceError) -> UnitOutcome:
        """Record why a unit is not loaded."""

    def archive(
        self, source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]
    ) -> list[UnitOutcome]:
        """Move the loaded files of a source into its archive; return the outcomes, with why any stay."""

    def refresh(self) -> int:
        """Recompute the daily statistics that the loads have marked; return how many rows changed."""

    def finish(self, report: RunReport) -> None:
        """Record how the run ended, and delete its spool files unless something failed."""


Tell = Callable[[UnitOutcome], None]
Watch = Callable[[int], AbstractContextManager[Tell]]


@contextmanager
def unwatched(_: int) -> Iterator[Tell]:
    """Ignore the progress of a run; see `run_catalog`."""
    yield lambda _: None


def run_catalog(steps: Steps, started_by: str, watch: Watch = unwatched) -> RunReport:
    """Load every source of a catalog; a bad source is reported and does not stop the others.

    Args:
        steps: Carries out each step.
        started_by: The user and machine that the ledger names.
        watch: A context manager opened with the number of planned units; it yields a function that gets each outcome.

    Raises:
        ConfigurationError: The warehouse has another schema version, or holds data of the other kind.
    """
    steps.begin(started_by)
    plans = {source.name: steps.plan(source) for source in steps.catalog.heads}
    with watch(sum(len(plan.units) for plan in plans.values())) as tell:

        def attempt(source: Source) -> list[UnitOutcome]:
            # A fallback is planned only when its turn comes: it is rarely needed.
            return _load_source(steps, source, plans.get(source.name) or steps.plan(source), tell)

        chains = map(steps.catalog.chain_of, steps.catalog.heads)
        outcomes = [outcome for chain in chains for outcome in load_first_that_serves(chain, attempt)]
    report = RunReport(steps.run_id, tuple(outcomes), steps.refresh())
    steps.finish(report)
    return report


def _load_source(steps: Steps, source: Source, plan: SourcePlan, tell: Tell) -> list[UnitOutcome]:
    outcomes = [*plan.ended]
    for planned in plan.units:
        outcomes.append(_load_unit(steps, planned))
        tell(outcomes[-1])
    return steps.archive(source, plan.files, outcomes) if source.archive else outcomes


def _load_unit(steps: Steps, planned: PlannedUnit) -> UnitOutcome:
    """Take one unit through extract, transform and load; a bad one becomes a failed outcome."""
    try:
        return steps.load(planned, steps.transform(planned, steps.extract(planned)))
    except SourceError as error:
        return steps.fail(planned, error.at(planned.unit.location))


def begin_run(run: Run, catalog: Catalog, started_by: str) -> None:
    """Check that this catalog may load into this warehouse, and record the run.

    Raises:
        ConfigurationError: The schema version differs, or simulated data would mix with real data.
    """
    require_current(run.engine)
    with transaction(run.engine) as connection:
        ledger.refuse_to_mix(connection, simulated=catalog.simulated)
        ledger.start_run(connection, run.run_id, started_by, run.clock())
    log.info("run %s started by %s, sources: %s", run.run_id, started_by, ", ".join(s.name for s in catalog.sources))


def finish_run(run: Run, report: RunReport) -> None:
    """Record how the run ended, and delete its spool files unless something failed: they show the input."""
    outcome = "failed" if report.failures else "completed"
    with transaction(run.engine) as connection:
        ledger.end_run(connection, run.run_id, outcome, run.clock())
    log.info("run %s %s: %s, %d daily statistics changed", run.run_id, outcome, report.counts(), report.changed_stats)
    if not report.failures:
        remove_spool(run.spool / run.run_id)
