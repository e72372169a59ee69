"""Sends the core's log to a file and to the run in Prefect; the core itself does not know Prefect."""

import logging
from pathlib import Path

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from freight.log import log_to_file


class _RunLog(APILogHandler):
    """Sends the log records of a run to Prefect, and drops those outside a run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


def log_run(folder: Path) -> Path:
    """Send the core's log to `dpa.log` in a folder and to Prefect; calling it again changes nothing.

    A thread belongs to a run if it inherits the context of its creator, as the core's threads do.
    """
    core = logging.getLogger("freight")
    if not any(isinstance(handler, _RunLog) for handler in core.handlers):
        core.addHandler(_RunLog())
    return log_to_file(folder)
