"""What a warehouse and its installation need from time to time: nothing of it changes what people read."""

from datetime import datetime, timedelta
from pathlib import Path

from freight.spool import remove_old_spools
from freight.warehouse.connect import Engine
from freight.warehouse.migrate import require_current
from freight.warehouse.purge import Retention, purge
from freight.warehouse.upkeep import refresh_statistics

SPOOL_DAYS = 7  # the files of a failed run help to find out why


def maintain(engine: Engine, spool: Path, retention: Retention, spool_days: int, now: datetime) -> dict[str, int]:
    """Make partitions that are needed soon, delete what is beyond its retention, refresh the planner's statistics.

    Args:
        engine: of the warehouse.
        spool: folder of the spool files.
        retention: how long rows are kept.
        spool_days: how long the spool files of failed runs are kept.
        now: counts the ages.

    Returns:
        Deleted rows by table, and under `spool` the deleted folders.

    Raises:
        ConfigurationError: the warehouse has another schema version.
    """
    require_current(engine)
    deleted = purge(engine, retention, now)
    refresh_statistics(engine)
    return {**deleted, "spool": remove_old_spools(spool, now - timedelta(days=spool_days))}
