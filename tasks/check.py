"""The dry run of a source as a task; repeating it is safe, since it writes nothing."""

from datetime import UTC, datetime

from prefect import task

from blocks.places import BlockConnections
from freight import pipeline
from freight.catalog import Source
from freight.pipeline import Check
from freight.warehouse.migrate import require_current
from tasks.load import RETRY, warehouse


@task(name="check", task_run_name="check-{source.name}", **RETRY)
def check(block: str | None, source: Source) -> list[Check]:
    """Return the outcome that each load unit of a source would have now."""
    engine = warehouse(block)
    require_current(engine)
    return pipeline.check_source(engine, source, datetime.now(UTC), BlockConnections())
