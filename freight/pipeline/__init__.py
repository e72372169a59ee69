"""The batch load: plan, extract, transform, load. `run_catalog` runs the steps in order for any implementation.

Each step is safe to repeat. A `SourceError` ends only its unit; after a `TransientError` the step is worth a retry.
"""

from freight.pipeline.archive import archive_loaded
from freight.pipeline.check import Check, check_source, preview_source
from freight.pipeline.days import DayPlan, plan_days
from freight.pipeline.extract import extract_unit, spool_folder
from freight.pipeline.load import fail_unit, load_conformed
from freight.pipeline.plan import plan_source
from freight.pipeline.run import Run, RunReport, begin_run, finish_run, run_catalog
from freight.pipeline.steps import CoreSteps
from freight.pipeline.ties import tied_sources
from freight.pipeline.transform import transform_unit
from freight.pipeline.units import ConformedSpool, PlannedUnit, RawSpool, SourcePlan, UnitOutcome, UnitState

__all__ = [
    "Check",
    "ConformedSpool",
    "CoreSteps",
    "DayPlan",
    "PlannedUnit",
    "RawSpool",
    "Run",
    "RunReport",
    "SourcePlan",
    "UnitOutcome",
    "UnitState",
    "archive_loaded",
    "begin_run",
    "check_source",
    "extract_unit",
    "fail_unit",
    "finish_run",
    "load_conformed",
    "plan_days",
    "plan_source",
    "preview_source",
    "run_catalog",
    "spool_folder",
    "tied_sources",
    "transform_unit",
]
