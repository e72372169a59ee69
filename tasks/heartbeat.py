"""What a listener tells Prefect, an event twice a minute and one artifact that is kept up to date, and what it asks.

All of it happens in a thread of its own, and none of it may harm the data: Prefect may be away for as long as it likes.
"""

import logging
import re
import threading
import time
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.events import Event, emit_event

from freight.outward import markdown
from freight.streaming.background import daemon
from freight.streaming.status import Snapshot, Status
from freight.warehouse.streams import Stream
from tasks.api import impatient_client

log = logging.getLogger("freight")

EVENT = "dpa.listener.heartbeat"
ENDED = "dpa.listener.ended"  # in place of the last one, so that nobody waits for more
BEAT_S = 30.0
SHOW_S = 60.0  # between two changes of the artifact
LAST_BEAT_S = 3.0  # for the last one, when the listener ends


def artifact_key(topic: str) -> str:
    """Return the key of the artifact of a topic: Prefect allows small letters, digits and dashes."""
    return "listen-" + re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")


def stream_resource(stream: Stream) -> dict[str, str]:
    """Return the resource that events of a stream are about."""
    return {
        "prefect.resource.id": f"dpa.stream.{stream.group}.{stream.topic}",
        "prefect.resource.name": stream.topic,
        "dpa.dataset": stream.dataset,
        "dpa.group": stream.group,
    }


class Heartbeat:
    """Tells how a listener does, as long as the context lasts, and ends it when its run is cancelled.

    Those who started the run do the latter at once, but not all of them: Prefect's workers give up to listen for
    cancellations of a run for ever when the server was away for half a minute.

    Attributes:
        is_cancelled: whether the run was found to be cancelled.
    """

    def __init__(self, stream: Stream, listener_id: str, run_id: UUID, status: Status, stop: threading.Event) -> None:
        self._stream, self._listener_id, self._run_id, self._status = stream, listener_id, run_id, status
        self._stop, self.is_cancelled = stop, False
        self._artifact_id: UUID | None = None
        self._before: Event | None = None
        self._shown_at = float("-inf")
        self._is_away = False
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
        self._shown_at = float("-inf")  # the last one is shown in any case
        self._beat(ENDED)

    def _beat(self, event: str = EVENT) -> None:
        try:
            told = self._status.now()
            with impatient_client() as prefect:
                if time.monotonic() - self._shown_at >= SHOW_S:
                    self._show(prefect, told)
                    self._shown_at = time.monotonic()
                self._end_if_cancelled(prefect)
            self._emit(event, told)  # only if Prefect is there: it would log each event that it cannot send
            self._is_away = False
        except Exception as error:  # whatever it is, the data go on
            if not self._is_away:
                log.warning("Prefect is not told how the listener does: %s: %s", type(error).__name__, error)
            self._is_away = True

    def _end_if_cancelled(self, prefect: SyncPrefectClient) -> None:
        state = prefect.read_flow_run(self._run_id).state
        if state is not None and state.is_cancelling():
            self.is_cancelled = True
            self._stop.set()

    def _emit(self, event: str, told: Snapshot) -> None:
        """Hand an event to the thread that sends events."""
        resource = stream_resource(self._stream)
        figures = {"listener": self._listener_id, **_figures(told)}
        # The server works on two events at a time: only one that follows another is certain to come after it. Were one
        # heartbeat lost, those that follow it would wait for long, so only the end does.
        self._before = emit_event(event, resource, payload=figures, follows=self._before if event == ENDED else None)

    def _show(self, prefect: SyncPrefectClient, told: Snapshot) -> None:
        """Make the artifact of this run, or change it."""
        if self._artifact_id:
            prefect.update_artifact(self._artifact_id, ArtifactUpdate(data=self._table(told)))
            return
        key, title = artifact_key(self._stream.topic), f"{self._stream.topic}, group {self._stream.group}"
        artifact = ArtifactCreate(
            key=key, type="markdown", description=title, data=self._table(told), flow_run_id=self._run_id
        )
        self._artifact_id = prefect.create_artifact(artifact).id

    def _table(self, told: Snapshot) -> str:
        figures = {"listener": self._listener_id, **_figures(told)}
        rows = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in figures.items()]
        return "\n".join(["| | |", "|---|---|", *rows])


def _figures(told: Snapshot) -> dict[str, Any]:
    """Return what people and automations want to know."""
    return {
        "state": told.state,
        "lag": told.lag,
        "rate": round(told.rate, 1),
        "latency_s": None if told.latency_s is None else round(told.latency_s, 3),
        "partitions": told.partitions,
        "messages": told.messages,
        "quarantined": told.counts.quarantined,
        "committed_at": _instant(told.committed_at),
        "polled_at": _instant(told.polled_at),
        "started_at": _instant(told.started_at),
    }


def _instant(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, (int, float)) else markdown(str(value))
