"""Regular maintenance of a warehouse and its installation; it never changes what people read."""

from datetime import datetime, timedelta
from pathlib import Path

from freight.spool import remove_old_spools
from freight.types import Retention
from freight.warehouse.connect import Engine
from freight.warehouse.migrate import require_current
from freight.warehouse.purge import purge
from freight.warehouse.upkeep import refresh_statistics


def maintain(engine: Engine, spool: Path, retention: Retention, now: datetime) -> dict[str, int]:
    """Create the partitions for the near future, delete rows past their retention, refresh the planner's statistics.

    Args:
        engine: The engine of the warehouse.
        spool: The folder of the spool files.
        retention: The time to keep rows and spool files.
        now: The instant from which ages count.

    Returns:
        The number of deleted rows by table, and under `spool` that of deleted folders.

    Raises:
        ConfigurationError: The warehouse has another schema version.
    """
    require_current(engine)
    deleted = purge(engine, retention, now)
    refresh_statistics(engine)
    return {**deleted, "spool": remove_old_spools(spool, now - timedelta(days=retention.spool_days))}
