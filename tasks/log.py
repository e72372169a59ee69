"""What the core logs, in a file and shown with its run in Prefect. The core itself knows nothing of the latter."""

import logging
from pathlib import Path

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from freight.log import log_to_file


class _RunLog(APILogHandler):
    """Sends what is logged within a run to Prefect; outside there is no run to show it with."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


def log_run(folder: Path) -> Path:
    """Send what the core logs to `dpa.log` in a folder and to Prefect; calling it again changes nothing.

    A thread belongs to a run if it has the context of the one that made it, as those of the core have.
    """
    core = logging.getLogger("freight")
    if not any(isinstance(handler, _RunLog) for handler in core.handlers):
        core.addHandler(_RunLog())
    return log_to_file(folder)
