"""The facts about a run in the tests' Prefect server."""

import re
import time
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from tests.lib.waiting import LIMIT_S


def logged_within(prefect: SyncPrefectClient, run_id: UUID, last: str) -> list[str]:
    """Return the log of a run, once its last line has arrived: Prefect stores logs in batches."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        messages = [log.message for log in prefect.read_logs(wanted)]
        if any(re.match(last, message) for message in messages):
            return messages
        time.sleep(0.1)
    raise AssertionError(f"no log line like {last!r} arrived")
