"""Writes the report after a load. A report that cannot be written never harms the load."""

import logging
from datetime import datetime
from pathlib import Path

from freight.errors import DpaError
from freight.reports.workbook import WORKBOOK_NAME, write_workbook
from freight.warehouse.connect import Engine

log = logging.getLogger("freight")


def report_or_reason(engine: Engine, folder: Path, *, simulated: bool, now: datetime) -> Path | str:
    """Write the report of a warehouse into a folder; return its path, or the reason why there is none.

    Args:
        engine: The engine of the warehouse.
        folder: The folder of the workbook.
        simulated: Whether the data is the simulator's.
        now: The instant that the report names.
    """
    try:
        return write_workbook(engine, folder / WORKBOOK_NAME, simulated=simulated, now=now)
    except DpaError as error:
        log.error("no report was written: %s", error)
        return f"not written: {error}"
    except Exception as error:  # the data is loaded and proved; an error in the report must not fail the run
        log.exception("no report was written")
        return f"not written: {type(error).__name__}: {error}"
