"""The steps of the batch load as tasks. Each is safe to repeat; only transient errors are retried."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from prefect import State, Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun

from blocks.places import BlockConnections, open_warehouse
from freight import pipeline
from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline import ConformedSpool, PlannedUnit, RawSpool, Run, RunReport, SourcePlan, UnitOutcome
from freight.readers import SourceFile
from freight.retry import JITTER, STEP, may_pass
from freight.settings import load_settings
from freight.types import RunId
from freight.warehouse import aggregates
from freight.warehouse.connect import Engine


def _may_pass(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Let Prefect retry only errors that may pass."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and may_pass(error)


RETRY: dict[str, Any] = {
    "retries": STEP.retries,
    "retry_delay_seconds": [*STEP.pauses()],
    "retry_jitter_factor": JITTER,
    "retry_condition_fn": _may_pass,
    "cache_policy": NO_CACHE,  # these tasks have side effects
    "persist_result": False,  # a planned file holds the function that opens it
}


@cache
def warehouse(block: str | None = None) -> Engine:
    """Return the engine of a block's warehouse, or of this installation's; only the name is a task parameter."""
    return open_warehouse(block, load_settings())


@task(name="begin-run", task_run_name="begin-run", **RETRY)
def begin_run(block: str | None, catalog: Catalog, run_id: RunId, started_by: str) -> None:
    """Check that the catalog fits the warehouse, and note the run."""
    pipeline.begin_run(_run(block, run_id), catalog, started_by)


@task(name="plan", task_run_name="plan-{source.name}", **RETRY)
def plan(block: str | None, source: Source, run_id: RunId) -> SourcePlan:
    """Find the load units of a source."""
    return pipeline.plan_source(_run(block, run_id), source)


@task(name="extract", task_run_name="extract-{planned.unit.location}", **RETRY)
def extract(planned: PlannedUnit) -> RawSpool:
    """Read a file as text into the spool."""
    folder = pipeline.spool_folder(load_settings().spool, planned)
    return pipeline.extract_unit(planned, folder)


@task(name="transform", task_run_name="transform-{planned.unit.location}", **RETRY)
def transform(planned: PlannedUnit, raw: RawSpool) -> ConformedSpool:
    """Type, validate and derive in the spool."""
    return pipeline.transform_unit(planned, raw, _now())


@task(name="load", task_run_name="load-{planned.unit.location}", **RETRY)
def load(block: str | None, planned: PlannedUnit, spool: ConformedSpool) -> UnitOutcome:
    """Load a transformed file in one transaction."""
    return pipeline.load_conformed(_run(block, planned.unit.run_id), planned, spool)


@task(name="record-failure", task_run_name="record-failure-{planned.unit.location}", **RETRY)
def record_failure(block: str | None, planned: PlannedUnit, error: SourceError) -> UnitOutcome:
    """Record why nothing of a file was loaded."""
    return pipeline.fail_unit(_run(block, planned.unit.run_id), planned.unit, error)


@task(name="archive", task_run_name="archive-{source.name}", **RETRY)
def archive(source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]) -> list[UnitOutcome]:
    """Move a source's loaded files into its archive; return the outcomes, including the files that stay and why."""
    return pipeline.archive_loaded(source, files, outcomes)


@task(name="refresh-aggregates", task_run_name="refresh-aggregates", **RETRY)
def refresh_aggregates(block: str | None) -> int:
    """Recompute the daily statistics that the loads have marked; return the number of changed rows."""
    return aggregates.refresh_aggregates(warehouse(block))


@task(name="finish-run", task_run_name="finish-run", **RETRY)
def finish_run(block: str | None, report: RunReport) -> None:
    """Record the end of the run, and delete its spool files unless something failed."""
    pipeline.finish_run(_run(block, report.run_id), report)


@dataclass(frozen=True)
class TaskSteps:
    """Carries out the steps of a run as tasks; see `Steps`.

    Attributes:
        block: The name of a Freight Warehouse block; None for the warehouse of this installation.
        catalog: The sources to load.
        run_id: The name of the run.
    """

    block: str | None
    catalog: Catalog
    run_id: RunId

    def begin(self, started_by: str) -> None:
        """Run the task `begin-run`."""
        begin_run(self.block, self.catalog, self.run_id, started_by)

    def plan(self, source: Source) -> SourcePlan:
        """Run the task `plan`."""
        return plan(self.block, source, self.run_id)

    def extract(self, planned: PlannedUnit) -> RawSpool:
        """Run the task `extract`."""
        return extract(planned)

    def transform(self, planned: PlannedUnit, raw: RawSpool) -> ConformedSpool:
        """Run the task `transform`."""
        return transform(planned, raw)

    def load(self, planned: PlannedUnit, conformed: ConformedSpool) -> UnitOutcome:
        """Run the task `load`."""
        return load(self.block, planned, conformed)

    def fail(self, planned: PlannedUnit, error: SourceError) -> UnitOutcome:
        """Run the task `record-failure`."""
        return record_failure(self.block, planned, error)

    def archive(
        self, source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]
    ) -> list[UnitOutcome]:
        """Run the task `archive`."""
        return archive(source, files, outcomes)

    def refresh(self) -> int:
        """Run the task `refresh-aggregates`."""
        return refresh_aggregates(self.block)

    def finish(self, report: RunReport) -> None:
        """Run the task `finish-run`."""
        finish_run(self.block, report)


def _run(block: str | None, run_id: RunId) -> Run:
    return Run(warehouse(block), run_id, load_settings().spool, _now, BlockConnections())


def _now() -> datetime:
    return datetime.now(UTC)
