"""Days of files as runs of the deployment `load-day`: starts them and waits for them, some at a time."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from freight.errors import ConfigurationError

DEPLOYMENT = "load-nightly/load-day"
LOOK_S = 2.0

log = logging.getLogger("freight")


@dataclass(frozen=True)
class DayRun:
    """The result of a day's run."""

    day: date
    run: str
    state: str
    message: str

    @property
    def is_loaded(self) -> bool:
        """Whether all files of the day are in the warehouse."""
        return self.state == StateType.COMPLETED

    def __str__(self) -> str:
        return f"{self.day}: {self.run} {self.state}: {self.message.partition('\n')[0]}"


def run_days(parameters: Mapping[date, Mapping[str, Any]], at_once: int) -> list[DayRun]:
    """Run the days in order and wait for them; if a run of a day is already active, wait for that one.

    Args:
        parameters: The parameters of the flow `load_nightly` for each day, without the day itself.
        at_once: The number of days to run at the same time.

    Raises:
        ConfigurationError: The deployment does not exist.
    """
    waiting, under_way, ended = list(parameters), dict[date, UUID](), list[DayRun]()
    with get_client(sync_client=True) as client:
        deployment_id = _deployment(client)
        while waiting or under_way:
            while waiting and len(under_way) < at_once:
                day = waiting.pop(0)
                under_way[day] = _start(client, deployment_id, day, parameters[day])
            time.sleep(LOOK_S)
            for run in _ended(client, under_way):
                day = next(day for day, run_id in under_way.items() if run_id == run.id)
                del under_way[day]
                ended.append(_ending(day, run))
                log.info("backfill: %s; %d days wait", ended[-1], len(waiting))
    return sorted(ended, key=lambda run: run.day)


def _deployment(client: SyncPrefectClient) -> UUID:
    try:
        return client.read_deployment_by_name(DEPLOYMENT).id
    except ObjectNotFound:
        raise ConfigurationError(f"there is no deployment {DEPLOYMENT}: deploy prefect.yaml") from None


def _start(client: SyncPrefectClient, deployment_id: UUID, day: date, parameters: Mapping[str, Any]) -> UUID:
    tag = f"day:{day}"
    going = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(
            {
                "deployment_id": {"any_": [deployment_id]},
                "tags": {"all_": [tag]},
                "state": {"type": {"not_any_": list(TERMINAL_STATES)}},
            }
        )
    )
    if going:
        return going[0].id
    run = client.create_flow_run_from_deployment(
        deployment_id, parameters={**parameters, "day": day.isoformat()}, tags=[tag], name=f"load {day}"
    )
    return run.id


def _ended(client: SyncPrefectClient, under_way: Mapping[date, UUID]) -> list[FlowRun]:
    chosen = FlowRunFilter.model_validate(
        {"id": {"any_": list(under_way.values())}, "state": {"type": {"any_": list(TERMINAL_STATES)}}}
    )
    return client.read_flow_runs(flow_run_filter=chosen)


def _ending(day: date, run: FlowRun) -> DayRun:
    assert run.state
    return DayRun(day, run.name, run.state.type.value, run.state.message or "")
