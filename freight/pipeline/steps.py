"""The steps of a run, as the core carries them out: in this process, each again while its error may pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from freight.catalog import Catalog, Source
from freight.errors import SourceError
from freight.pipeline.archive import archive_loaded
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.load import fail_unit, load_conformed
from freight.pipeline.plan import plan_source
from freight.pipeline.run import RunReport, begin_run, finish_run
from freight.pipeline.transform import transform_unit
from freight.pipeline.units import ConformedSpool, PlannedUnit, RawSpool, SourcePlan, UnitOutcome
from freight.readers import FILES_ONLY, Connections, SourceFile
from freight.retry import with_retries
from freight.types import RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine


@dataclass(frozen=True)
class CoreSteps:
    """Carries out the steps of a run without Prefect; see `Steps`.

    Attributes:
        engine: The engine of the warehouse.
        catalog: The sources to load.
        run_id: The number of the run.
        spool: The folder of the spool files of all runs.
        clock: Tells the time.
        connections: Opens what the sources name.
    """

    engine: Engine
    catalog: Catalog
    run_id: RunId
    spool: Path
    clock: Callable[[], datetime]
    connections: Connections = FILES_ONLY

    def begin(self, started_by: str) -> None:
        """See `begin_run`."""
        with_retries(lambda: begin_run(self.engine, self.catalog, self.run_id, started_by, self.clock()))

    def plan(self, source: Source) -> SourcePlan:
        """See `plan_source`."""
        return with_retries(
            lambda: plan_source(
                self.engine,
                self.catalog,
                source,
                self.run_id,
                self.clock(),
                connections=self.connections,
                spool=self.spool,
            )
        )

    def extract(self, planned: PlannedUnit) -> RawSpool:
        """See `extract_unit`."""
        return with_retries(lambda: extract_unit(planned, spool_folder(self.spool, planned)))

    def transform(self, planned: PlannedUnit, raw: RawSpool) -> ConformedSpool:
        """See `transform_unit`."""
        return with_retries(lambda: transform_unit(planned, raw, self.clock()))

    def load(self, planned: PlannedUnit, conformed: ConformedSpool) -> UnitOutcome:
        """See `load_conformed`."""
        return with_retries(lambda: load_conformed(self.engine, planned, conformed, self.clock()))

    def fail(self, planned: PlannedUnit, error: SourceError) -> UnitOutcome:
        """See `fail_unit`."""
        return with_retries(lambda: fail_unit(self.engine, planned.unit, error, self.clock()))

    def archive(
        self, source: Source, files: Sequence[SourceFile], outcomes: Sequence[UnitOutcome]
    ) -> list[UnitOutcome]:
        """See `archive_loaded`."""
        return with_retries(lambda: archive_loaded(self.catalog.folder, source, files, outcomes))

    def refresh(self) -> int:
        """See `refresh_aggregates`."""
        return with_retries(lambda: refresh_aggregates(self.engine))

    def finish(self, report: RunReport) -> None:
        """See `finish_run`."""
        with_retries(lambda: finish_run(self.engine, report, self.clock(), self.spool))
