"""Which nightly loads Prefect still waits for, and how it is told of what is overdue."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.events import emit_event

from freight.care.overdue import Night, Overdue

OVERDUE = "dpa.overdue"
DONE = [StateType.COMPLETED, StateType.FAILED]  # a run that Failed has told so, and has loaded what it could


def overdue_nightlies(flow: str, night: Night) -> list[Overdue]:
    """Return the deployments of a flow that have a schedule and of which no run ended in a night or since.

    Those that were made during the night or after it do not count. Prefect is asked and not the warehouse: it knows
    what is scheduled, and which run is a nightly one.

    Args:
        flow: name of the flow.
        night: when a run had to begin and to end.
    """
    with get_client(sync_client=True) as prefect:
        waiting = [
            name for name, known in _scheduled(prefect, flow, night.begin) if not _is_done(prefect, known, night)
        ]
    reason = f"no run ended since {night.begin:%H:%M}, it was due by {night.end:%Y-%m-%d %H:%M} ({night.end.tzname()})"
    return [Overdue(f"nightly.{name}", name, reason) for name in waiting]


def _scheduled(prefect: SyncPrefectClient, flow: str, before: datetime) -> Iterator[tuple[str, UUID]]:
    """Give the deployments of a flow that have started by themselves for some time."""
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


def tell(findings: Sequence[Overdue]) -> None:
    """Send an event for each thing that is overdue; an alert waits for them, and tells the same thing once in hours."""
    for found in findings:
        resource = {"prefect.resource.id": f"dpa.overdue.{found.key}", "prefect.resource.name": found.name}
        emit_event(OVERDUE, resource, payload={"reason": found.reason})
