"""Finds the nightly loads that Prefect still waits for."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType

from freight.care.overdue import Night, Overdue

DONE = [StateType.COMPLETED, StateType.FAILED]  # a Failed run has raised an alert itself, and has loaded what it could


def overdue_nightlies(flow: str, night: Night) -> list[Overdue]:
    """Return the scheduled deployments of a flow that have had no finished run since the start of a night.

    Deployments created during the night or later do not count. The source is Prefect and not the warehouse: Prefect
    knows the schedules, and which run is a nightly one.

    Args:
        flow: The name of the flow.
        night: The span in which a run had to begin and end.
    """
    with get_client(sync_client=True) as prefect:
        waiting = [
            name for name, known in _scheduled(prefect, flow, night.begin) if not _is_done(prefect, known, night)
        ]
    reason = f"no run ended since {night.begin:%H:%M}, it was due by {night.end:%Y-%m-%d %H:%M} ({night.end.tzname()})"
    return [Overdue(f"nightly.{name}", name, reason) for name in waiting]


def _scheduled(prefect: SyncPrefectClient, flow: str, before: datetime) -> Iterator[tuple[str, UUID]]:
    """Yield the deployments of a flow whose schedule has been active for some time."""
    named = FlowFilter.model_validate({"name": {"any_": [flow]}})
    for found in prefect.read_deployments(flow_filter=named):
        is_active = not found.paused and any(schedule.active for schedule in found.schedules)
        if is_active and found.created and found.created < before:
            yield f"{flow}/{found.name}", found.id


def _is_done(prefect: SyncPrefectClient, deployment_id: UUID, night: Night) -> bool:
    ended = {"end_time": {"after_": night.begin}, "state": {"type": {"any_": DONE}}}
    runs = prefect.read_flow_runs(
        deployment_filter=DeploymentFilter.model_validate({"id": {"any_": [deployment_id]}}),
        flow_run_filter=FlowRunFilter.model_validate(ended),
        limit=1,
    )
    return bool(runs)
