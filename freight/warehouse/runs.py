"""A run recorded in the ledger: who started it, when, and how it ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from freight.types import RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.ledger import end_run, start_run
from freight.warehouse.migrate import require_current


@contextmanager
def noted_run(engine: Engine, run_id: RunId, started_by: str, clock: Callable[[], datetime]) -> Iterator[None]:
    """Record a run around the loads in the context, and refresh the daily statistics at its end.

    Raises:
        ConfigurationError: The warehouse has another schema version.
    """
    require_current(engine)
    with transaction(engine) as connection:
        start_run(connection, run_id, started_by, clock())
    outcome = "failed"
    try:
        yield
        refresh_aggregates(engine)
        outcome = "completed"
    finally:
        with transaction(engine) as connection:
            end_run(connection, run_id, outcome, clock())
