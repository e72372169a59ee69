"""A listener's traffic with Prefect: a heartbeat event twice a minute, one artifact, and a check for cancellation.

It runs in a thread of its own and cannot harm the data: Prefect may be away for any time.
"""

import logging
import re
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.events import Event, emit_event

from freight.outward import markdown
from freight.streaming.status import Snapshot, Status
from freight.streaming.threads import daemon
from freight.warehouse.streams import Stream
from tasks.api import impatient_client
from tasks.news import WELL_S, tell_listening

log = logging.getLogger("freight")

EVENT = "dpa.listener.heartbeat"
ENDED = "dpa.listener.ended"  # replaces the last heartbeat, so that no alert waits for more
WAITS = "dpa.stream.waits"
GOES_ON = "dpa.stream.goes-on"
BEAT_S = 30.0
WAITING_S = 120.0  # a wait beyond this is told to people
SHOW_S = 60.0  # between two updates of the artifact
LAST_BEAT_S = 3.0  # for the last one, when the listener ends


def artifact_key(topic: str) -> str:
    """Return the key of a topic's artifact: Prefect allows lower-case letters, digits and dashes."""
    return "listen-" + re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")


def stream_resource(stream: Stream) -> dict[str, str]:
    """Return the Prefect resource of a stream's events."""
    return {
        "prefect.resource.id": f"dpa.stream.{stream.group}.{stream.topic}",
        "prefect.resource.name": stream.topic,
        "dpa.dataset": stream.dataset,
        "dpa.group": stream.group,
    }


class Waiting:
    """Decides what people hear of a listener that waits for a system."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._is_told = False

    def note(self, state: str, now: float) -> str | None:
        """Take note of a listener's state.

        Args:
            state: The state.
            now: The time on a clock that only goes forward, in seconds.

        Returns:
            The event that people should hear of: it has waited for a while, or goes on after that. A listener that
            just ends does not go on. Otherwise None.
        """
        if state.startswith("waiting"):
            return self._wait(now)
        goes_on = self._is_told and state == "listening"
        self._since, self._is_told = None, False
        return GOES_ON if goes_on else None

    def _wait(self, now: float) -> str | None:
        self._since = now if self._since is None else self._since
        if self._is_told or now - self._since < WAITING_S:
            return None
        self._is_told = True
        return WAITS


class Heartbeat:
    """Reports a listener's state while the context lasts, and stops the listener when its run is cancelled.

    Whatever started the run usually does the latter at once, but not always: Prefect's workers stop watching a run
    for cancellations for good once the server was away for half a minute.

    Attributes:
        is_cancelled: True once the run was found cancelled.
    """

    def __init__(self, stream: Stream, listener_id: str, run_id: UUID, status: Status, stop: threading.Event) -> None:
        self._stream, self._listener_id, self._run_id, self._status = stream, listener_id, run_id, status
        self._stop, self.is_cancelled = stop, False
        self._artifact_id: UUID | None = None
        self._before: Event | None = None
        self._shown_at = float("-inf")
        self._is_away = self._is_well = False
        self._waiting = Waiting()
        self._ended = threading.Event()
        self._thread = daemon("heartbeat", self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(LAST_BEAT_S)

    def _run(self) -> None:
        self._beat()
        while not self._ended.wait(BEAT_S):
            self._beat()
        self._shown_at = float("-inf")  # so the first one is always shown
        self._beat(ENDED)

    def _beat(self, event: str = EVENT) -> None:
        try:
            snapshot = self._status.now()
            with impatient_client() as prefect:
                if time.monotonic() - self._shown_at >= SHOW_S:
                    self._show(prefect, snapshot)
                    self._shown_at = time.monotonic()
                self._end_if_cancelled(prefect)
            self._tell_if_well(snapshot)
            self._tell_if_waiting(snapshot)
            self._emit(event, snapshot)  # only if Prefect answers: it would log each event that it cannot send
            self._is_away = False
        except Exception as error:  # whatever it is, the data flow continues
            if not self._is_away:
                log.warning("Prefect does not get the listener's state: %s: %s", type(error).__name__, error)
            self._is_away = True

    def _end_if_cancelled(self, prefect: SyncPrefectClient) -> None:
        state = prefect.read_flow_run(self._run_id).state
        if state is not None and state.is_cancelling():
            self.is_cancelled = True
            self._stop.set()

    def _tell_if_well(self, snapshot: Snapshot) -> None:
        """Tell once that this listener works, which is news if an earlier one failed."""
        listens_for = datetime.now(UTC) - snapshot.started_at
        if not self._is_well and snapshot.state == "listening" and listens_for.total_seconds() >= WELL_S:
            tell_listening(self._run_id)
            self._is_well = True

    def _tell_if_waiting(self, snapshot: Snapshot) -> None:
        if event := self._waiting.note(snapshot.state, time.monotonic()):
            reason = snapshot.state if event == WAITS else "its listener has what it waited for"
            emit_event(event, stream_resource(self._stream), payload={"reason": reason})

    def _emit(self, event: str, snapshot: Snapshot) -> None:
        """Pass an event to Prefect's sending thread."""
        resource = stream_resource(self._stream)
        figures = {"listener": self._listener_id, **_figures(snapshot)}
        # The server handles two events at a time: only an event that `follows` another one surely comes after it. If a
        # heartbeat were lost, its followers would wait long, so only the last event follows one.
        self._before = emit_event(event, resource, payload=figures, follows=self._before if event == ENDED else None)

    def _show(self, prefect: SyncPrefectClient, snapshot: Snapshot) -> None:
        """Create or update the artifact of this run."""
        if self._artifact_id:
            prefect.update_artifact(self._artifact_id, ArtifactUpdate(data=self._table(snapshot)))
            return
        key, title = artifact_key(self._stream.topic), f"{self._stream.topic}, group {self._stream.group}"
        artifact = ArtifactCreate(
            key=key, type="markdown", description=title, data=self._table(snapshot), flow_run_id=self._run_id
        )
        self._artifact_id = prefect.create_artifact(artifact).id

    def _table(self, snapshot: Snapshot) -> str:
        figures = {"listener": self._listener_id, **_figures(snapshot)}
        rows = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in figures.items()]
        return "\n".join(["| | |", "|---|---|", *rows])


def _figures(snapshot: Snapshot) -> dict[str, Any]:
    """Return the figures for people and automations."""
    return {
        "state": snapshot.state,
        "lag": snapshot.lag,
        "rate": round(snapshot.rate, 1),
        "latency_s": None if snapshot.latency_s is None else round(snapshot.latency_s, 3),
        "partitions": snapshot.partitions,
        "messages": snapshot.messages,
        "quarantined": snapshot.counts.quarantined,
        "committed_at": _instant(snapshot.committed_at),
        "polled_at": _instant(snapshot.polled_at),
        "started_at": _instant(snapshot.started_at),
    }


def _instant(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, (int, float)) else markdown(str(value))
