"""The facts about a run in the tests' Prefect server."""

import re
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from tests.lib.waiting import wait_until


def logged_within(prefect: SyncPrefectClient, run_id: UUID, last: str) -> list[str]:
    """Return the log of a run, once its last line has arrived: Prefect stores logs in batches."""
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    messages: list[str] = []

    def arrived() -> bool:
        messages[:] = [log.message for log in prefect.read_logs(wanted)]
        return any(re.match(last, message) for message in messages)

    wait_until(arrived, told=f"no log line like {last!r} arrived")
    return messages
