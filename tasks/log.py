"""What the core logs, shown with its run in Prefect. The core itself knows nothing of it."""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler


class _RunLog(APILogHandler):
    """Sends what is logged within a run to Prefect; outside there is no run to show it with."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        if FlowRunContext.get() or TaskRunContext.get():
            super().emit(record)


def log_to_prefect() -> None:
    """Send what the core logs to Prefect as well; calling it again changes nothing."""
    core = logging.getLogger("freight")
    if not any(isinstance(handler, _RunLog) for handler in core.handlers):
        core.addHandler(_RunLog())
