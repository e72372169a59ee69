"""The dry run of a source as a task; it is safe to repeat, since it writes nothing."""

from datetime import UTC, datetime

from prefect import task

from blocks.places import BlockConnections
from freight import pipeline
from freight.catalog import Catalog, Source
from freight.pipeline import Check
from freight.warehouse.migrate import require_current
from tasks.load import RETRY, warehouse


@task(name="check", task_run_name="check-{source.name}", **RETRY)
def check(block: str | None, catalog: Catalog, source: Source) -> list[Check]:
    """Tell how each file of a source, or what else is new in it, would end if it were loaded now."""
    engine = warehouse(block)
    require_current(engine)
    return pipeline.check_source(engine, catalog, source, datetime.now(UTC), BlockConnections())
