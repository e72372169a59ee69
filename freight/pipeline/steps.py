"""The steps of a run, as the core carries them out: in this process, with retries after transient errors."""

from collections.abc import Sequence
from dataclasses import dataclass

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline.archive import archive_loaded
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.load import fail_unit, load_conformed
from freight.pipeline.plan import plan_source
from freight.pipeline.run import Run, RunReport, begin_run, finish_run
from freight.pipeline.transform import transform_unit
from freight.pipeline.units import ConformedSpool, PlannedUnit, RawSpool, SourcePlan, UnitOutcome
from freight.readers import SourceFile
from freight.retry import with_retries
from freight.types import RunId
from freight.warehouse.aggregates import refresh_aggregates


@dataclass(frozen=True)
class CoreSteps:
    """Carries out the steps of a run without Prefect; see `Steps`.

    Attributes:
        run: The run, with the context that its steps share.
        catalog: The sources to load.
    """

    run: Run
    catalog: Catalog

    @property
    def run_id(self) -> RunId:
        """See `Steps`."""
        return self.run.run_id

    def begin(self, started_by: str) -> None:
        """See `begin_run`."""
        with_retries(lambda: begin_run(self.run, self.catalog, started_by))

    def plan(self, source: Source) -> SourcePlan:
        """See `plan_source`."""
        return with_retries(lambda: plan_source(self.run, source))

    def extract(self, planned: PlannedUnit) -> RawSpool:
        """See `extract_unit`."""
        return with_retries(lambda: extract_unit(planned, spool_folder(self.run.spool, planned)))

    def transform(self, planned: PlannedUnit, raw: RawSpool) -> ConformedSpool:
        """See `transform_unit`."""
        return with_retries(lambda: transform_unit(planned, raw, self.run.clock()))

    def load(self, planned: PlannedUnit, conformed: ConformedSpool) -> UnitOutcome:
        """See `load_conformed`."""
        return with_retries(lambda: load_conformed(self.run, planned, conformed))

    def fail(self, planned: PlannedUnit, error: SourceError) -> UnitOutcome:
        """See `fail_unit`."""
        return with_retries(lambda: fail_unit(self.run, planned.unit, error))

    def archive(
        self, source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]
    ) -> list[UnitOutcome]:
        """See `archive_loaded`."""
        return with_retries(lambda: archive_loaded(source, files, outcomes))

    def refresh(self) -> int:
        """See `refresh_aggregates`."""
        return with_retries(lambda: refresh_aggregates(self.run.engine))

    def finish(self, report: RunReport) -> None:
        """See `finish_run`."""
        with_retries(lambda: finish_run(self.run, report))
