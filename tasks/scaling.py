"""Prefect for the scaler: the runs of a deployment of `listen`, events, and an artifact that shows decisions."""

import inspect
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from prefect import Flow, State
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Crashed

from freight.errors import ConfigurationError, TransientError
from freight.outward import markdown
from freight.streaming.roll import Phase, RunSeen, Settling
from freight.streaming.scaler import AlertKind, Look, in_figures
from freight.types import RunId
from freight.warehouse.streams import Stream
from tasks.api import impatient_client
from tasks.heartbeat import stream_resource

EVENTS: dict[AlertKind, str] = {"lost": "dpa.listener.lost", "lagging": "dpa.stream.lagging"}
PHASES: dict[StateType, Phase] = {
    StateType.SCHEDULED: "waiting",
    StateType.PENDING: "submitted",
    StateType.RUNNING: "running",
    StateType.CANCELLING: "ending",
    StateType.PAUSED: "waiting",
    StateType.COMPLETED: "ended",
    StateType.CANCELLED: "ended",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
}
UNFINISHED = [state for state, phase in PHASES.items() if phase not in ("ended", "failed")]
SAME_STREAM = ("dataset", "topic", "group")  # a run of the deployment may have been started for another stream
DUE = timedelta(minutes=1)  # a run that is scheduled for later does not count
KEY = "scale-listeners"
SHOW_S = 60.0  # between two updates of the artifact without a step
SHOWN = 20  # steps in the artifact


@dataclass(frozen=True)
class ListenDeployment:
    """A deployment of `listen`.

    Attributes:
        parameters: The parameters of its runs, defaults included.
    """

    deployment_id: UUID
    parameters: Mapping[str, Any]


def read_deployment(name: str, flow: Flow[..., Any]) -> ListenDeployment:
    """Return a deployment of a flow by its name, `flow/deployment`.

    Raises:
        ConfigurationError: The deployment does not exist.
        TransientError: Prefect does not answer.
    """
    with _our_errors(f"the deployment {name}"), impatient_client() as prefect:
        found = prefect.read_deployment_by_name(name)
    bound = inspect.signature(flow.fn).bind(**found.parameters)
    bound.apply_defaults()
    return ListenDeployment(found.id, dict(bound.arguments))


@contextmanager
def _our_errors(what: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFound:
        raise ConfigurationError(f"Prefect does not have {what}: deploy it, or correct the name") from None
    except (httpx.HTTPError, PrefectException, OSError) as error:
        raise TransientError(f"Prefect does not answer: {type(error).__name__}: {error}") from error


class PrefectRuns:
    """The runs of listeners of one stream; see `Orchestrator`."""

    def __init__(self, deployment: ListenDeployment, stream: Stream) -> None:
        self._deployment, self._stream = deployment, stream

    def runs(self, since: datetime) -> Sequence[RunSeen]:
        """See `Orchestrator`."""
        states = {"type": {"any_": UNFINISHED}}
        wanted = {"operator": "or_", "state": states, "end_time": {"after_": since}}
        unfinished_or_new = FlowRunFilter.model_validate(wanted)
        mine = DeploymentFilter(id=DeploymentFilterId(any_=[self._deployment.deployment_id]))
        with _our_errors("the runs of listeners"), impatient_client() as prefect:
            found = prefect.read_flow_runs(
                flow_run_filter=unfinished_or_new, deployment_filter=mine, sort=FlowRunSort.START_TIME_DESC
            )
        return [_seen(run) for run in found if self._is_mine(run)]

    def _is_mine(self, run: FlowRun) -> bool:
        parameters = {**self._deployment.parameters, **run.parameters}
        is_due = run.expected_start_time is None or run.expected_start_time <= datetime.now(UTC) + DUE
        return is_due and all(parameters[name] == self._deployment.parameters[name] for name in SAME_STREAM)

    def start(self) -> None:
        """See `Orchestrator`."""
        with _our_errors(f"the deployment of {self._stream.topic}"), impatient_client() as prefect:
            prefect.create_flow_run_from_deployment(self._deployment.deployment_id)

    def settle(self, settling: Settling) -> None:
        """See `Orchestrator`; Prefect itself lets no run crash that has ended."""
        state: State[Any] = (
            Cancelled(message=settling.reason) if settling.cancelled else Crashed(message=settling.reason)
        )
        with _our_errors(f"the run {settling.run_id}"), impatient_client() as prefect:
            prefect.set_flow_run_state(UUID(settling.run_id), state)

    def alert(self, kind: AlertKind, reason: str) -> None:
        """See `Orchestrator`."""
        emit_event(EVENTS[kind], stream_resource(self._stream), payload={"reason": reason})


def _seen(run: FlowRun) -> RunSeen:
    assert run.state is not None  # the filter is by states
    times = [run.state.timestamp, run.expected_start_time or run.state.timestamp]
    since = max(times) if run.state.is_scheduled() else run.state.timestamp
    return RunSeen(RunId(str(run.id)), PHASES[run.state.type], since)


class Board:
    """Shows the scaling of all streams in one artifact of the run: the state of each, and the latest steps."""

    def __init__(self, run_id: UUID) -> None:
        self._run_id = run_id
        self._artifact_id: UUID | None = None
        self._looks: dict[str, Look] = {}
        self._steps: deque[str] = deque(maxlen=SHOWN)
        self._said: dict[str, str] = {}
        self._shown_at = float("-inf")

    def show(self, stream: Stream, look: Look) -> None:
        """Show a check; if Prefect is away, a later one is shown."""
        self._looks[stream.topic] = look
        is_news = self._said.get(stream.topic) != look.summary
        self._said[stream.topic] = look.summary
        if is_news:
            self._steps.appendleft(f"{look.seen.now:%H:%M:%S} {stream.topic}: {look.summary}")
        if is_news or time.monotonic() - self._shown_at >= SHOW_S:
            with suppress(TransientError), _our_errors("the artifact of this run"), impatient_client() as prefect:
                self._write(prefect)
                self._shown_at = time.monotonic()

    def _write(self, prefect: SyncPrefectClient) -> None:
        if self._artifact_id:
            prefect.update_artifact(self._artifact_id, ArtifactUpdate(data=self._text()))
            return
        new = ArtifactCreate(key=KEY, type="markdown", data=self._text(), flow_run_id=self._run_id)
        self._artifact_id = prefect.create_artifact(new).id

    def _text(self) -> str:
        rows = [
            f"| {markdown(topic)} | {markdown(look.summary)} | {in_figures(look.seen)} |"
            for topic, look in self._looks.items()
        ]
        steps = [f"- {markdown(step)}" for step in self._steps]
        return "\n".join(["| topic | decision | seen |", "|---|---|---|", *rows, "", "Latest steps (UTC):", "", *steps])
