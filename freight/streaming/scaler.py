"""Scales streams: looks at their listeners and backlogs again and again, asks the policy, and acts on its decision."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Literal, Protocol

from freight.errors import ConfigurationError, TransientError
from freight.streaming.consumer import TopicReader
from freight.streaming.roll import MEMORY_S, START_LIMIT_S, Roll, RunSeen, Settling, Sightings, call_roll, sighted
from freight.streaming.scaling import Decision, ScalingLimits, StreamState, decide
from freight.types import RunId
from freight.warehouse.connect import Engine, reading
from freight.warehouse.migrate import require_current
from freight.warehouse.scaling import (
    ListenerLife,
    hand_over,
    note_lost,
    read_listeners,
    remember,
    request_drain,
    take_over,
)
from freight.warehouse.streams import PartitionLog, Stream, StreamPosition, read_positions

log = logging.getLogger("freight")

GONE_LOOKS = 3.0  # a scaler that has missed this many looks is gone

AlertKind = Literal["lost", "lagging"]


class Orchestrator(Protocol):
    """The program that starts listeners and knows their runs.

    Every call may raise `TransientError`: the orchestrator is away, and may or may not have done its work.
    """

    def runs(self, since: datetime) -> Sequence[RunSeen]:
        """Return the runs of the stream's listeners that have not ended, and those that ended since an instant."""

    def start(self) -> None:
        """Start a listener."""

    def settle(self, settling: Settling) -> None:
        """Set the state of a run that no other program will set, unless it has ended meanwhile."""

    def alert(self, kind: AlertKind, reason: str) -> None:
        """Send an alert to people."""


@dataclass(frozen=True)
class _Progress:
    """The progress of a stream: sums over its partitions."""

    at: datetime
    partitions: int
    end: int
    next: int

    @property
    def lag(self) -> int:
        return self.end - self.next


@dataclass(frozen=True)
class Look:
    """The result of one look at a stream: its state, and the decision."""

    seen: StreamState
    decision: Decision
    lost: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> str:
        """The decision and its reason, in one line."""
        steps = [f"{len(self.lost)} lost" if self.lost else ""]
        steps += [
            f"{n} {done}" for n, done in ((self.decision.start, "started"), (self.decision.drain, "drained")) if n
        ]
        return "; ".join([self.decision.why, *filter(None, steps)])


class Scaler:
    """Scales the listeners of one stream."""

    def __init__(
        self,
        engine: Engine,
        stream: Stream,
        reader: TopicReader,
        orchestrator: Orchestrator,
        limits: ScalingLimits,
        run_id: RunId,
        period_s: float,
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        """Prepare a scaler.

        Args:
            engine: The engine of the warehouse; an embedded one allows one listener only.
            stream: The stream to scale.
            reader: The reader that asks the broker for the topic's offsets; it never joins the group.
            orchestrator: The program that starts listeners.
            limits: The limits of the policy.
            run_id: The id of the scaler's run.
            period_s: The seconds between two looks.
            start_limit_s: The seconds that a listener may take to start.
        """
        self.stream = stream
        self._engine, self._reader, self._orchestrator = engine, reader, orchestrator
        self._limits, self._run_id, self._period_s, self._start_limit_s = limits, run_id, period_s, start_limit_s
        self._sightings: Sightings = {}
        self._before: _Progress | None = None
        self._group: frozenset[str] = frozenset()
        self._last_logged = ""
        self._is_checked = False

    def look(self, now: datetime) -> Look | None:
        """Look once, and act; return None while another scaler is in charge.

        Raises:
            TransientError: A system is away, so nothing is decided.
            ConfigurationError: The topic does not exist, the broker or the warehouse refuses us, or the schema of the
                warehouse is another.
        """
        try:
            return self._look(now)
        except (TransientError, ConfigurationError):
            self._sightings, self._before = (
                {},
                None,
            )  # a silent listener may have been cut off like us
            raise

    def _look(self, now: datetime) -> Look | None:
        if not self._is_checked:
            require_current(self._engine)
            self._is_checked = True
        gone = now - timedelta(seconds=GONE_LOOKS * self._period_s)
        memory = take_over(self._engine, self.stream, self._run_id, now, gone)
        if memory is None:
            self._sightings, self._before = {}, None
            return None
        roll, progress = self._roll(now), self._progress(now)
        lost = self._reap(roll, now)
        seen = self._state(roll, progress, now)
        decision = decide(self._limits, memory, seen)
        look = Look(seen, decision, lost)
        if remember(self._engine, self.stream, self._run_id, decision.memory, look.summary):
            self._tell(look, roll)
            self._act(decision, roll, now)
        return look

    def _roll(self, now: datetime) -> Roll:
        since = now - timedelta(seconds=MEMORY_S)
        runs = self._orchestrator.runs(since)
        with reading(self._engine) as connection:
            lives = read_listeners(connection, self.stream, since)
        self._sightings = sighted(self._sightings, lives, now)
        return call_roll(lives, runs, self._sightings, now, self._start_limit_s)

    def _progress(self, now: datetime) -> _Progress:
        self._reader.poll(1, 0.0)  # returns nothing: it lets the client renew its token and report its errors
        logs = self._reader.logs()
        with reading(self._engine) as connection:
            positions = read_positions(connection, self.stream)
        return _progress(logs, positions, now)

    def _reap(self, roll: Roll, now: datetime) -> tuple[str, ...]:
        """Note the listeners that are gone, so that others can replace them; return their names."""
        lost = tuple(life.listener_id for life in roll.lost if note_lost(self._engine, life, now))
        for life in roll.stuck:
            request_drain(self._engine, life.listener_id, now)  # its process ends although its loop does not turn
        came_back = {life.run_id for life in roll.lost if life.listener_id not in lost}
        for settling in roll.settlings:
            if settling.run_id not in came_back:
                self._orchestrator.settle(settling)
        for name in lost:
            self._orchestrator.alert("lost", f"the listener {name} shows no signs of life")
        for settling in roll.unborn:
            self._orchestrator.alert("lost", f"run {settling.run_id}: {settling.reason}")
        return lost

    def _state(self, roll: Roll, progress: _Progress, now: datetime) -> StreamState:
        before, self._before = self._before, progress
        seconds = (progress.at - before.at).total_seconds() if before else 0.0
        group_before, self._group = self._group, frozenset(life.listener_id for life in (*roll.live, *roll.draining))
        commits = [life.commit_s for life in roll.live if life.commit_s is not None]
        return StreamState(
            now=now,
            partitions=progress.partitions,
            lag=progress.lag,
            live=len(roll.live),
            starting=roll.starting,
            draining=len(roll.draining),
            lag_before=before.lag if before else None,
            produced=max(0, progress.end - before.end) / seconds if before and seconds else 0.0,
            read=max(0, progress.next - before.next) / seconds if before and seconds else 0.0,
            are_same=self._group == group_before,
            commit_s=median(commits) if commits else None,
            failures=roll.failures,
        )

    def _tell(self, look: Look, roll: Roll) -> None:
        decision = look.decision
        if look.summary != self._last_logged:
            log.info("%s: %s (%s)", self.stream.topic, look.summary, in_figures(look.seen))
        self._last_logged = look.summary
        if decision.is_lagging:
            self._orchestrator.alert("lagging", f"{look.seen.lag:,} messages wait; {decision.why}")
        if decision.is_stopped:
            self._orchestrator.alert("lost", decision.why)
        if roll.overdue:
            log.warning("%s: a run has waited too long for a worker: is one running?", self.stream.topic)

    def _act(self, decision: Decision, roll: Roll, now: datetime) -> None:
        for _ in range(decision.start):
            self._orchestrator.start()
        for life in sorted(roll.live, key=_worth)[: decision.drain]:
            request_drain(self._engine, life.listener_id, now)

    def close(self) -> None:
        """Close the connection to the broker, and let another scaler take over at once."""
        self._reader.close()
        try:
            hand_over(self._engine, self.stream, self._run_id)
        except TransientError as error:
            log.warning("%s: the next scaler has to wait: %s", self.stream.topic, error)


def _worth(life: ListenerLife) -> tuple[int, float]:
    """Order listeners by the loss when they leave: few partitions first, then a short time."""
    return life.partitions, -life.started_at.timestamp()


def _progress(logs: Sequence[PartitionLog], positions: Sequence[StreamPosition], now: datetime) -> _Progress:
    """Sum over the partitions; one without a position will be read from its start."""
    places = {(position.partition, position.topic_id): position.next_offset for position in positions}
    read = [max(log.start, min(log.end, places.get((log.partition, log.topic_id), log.start))) for log in logs]
    return _Progress(now, len(logs), sum(log.end for log in logs), sum(read))


def in_figures(seen: StreamState) -> str:
    """Return the state of a stream in words."""
    others = [f"{n} {what}" for n, what in ((seen.starting, "starting"), (seen.draining, "draining")) if n]
    commit = "" if seen.commit_s is None else f", commits take {seen.commit_s:.2f} s"
    listeners = ", ".join([f"{seen.live} listen", *others])
    return f"{listeners}; lag {seen.lag:,}, {seen.produced:,.0f} arrive and {seen.read:,.0f} are read a second{commit}"


Show = Callable[[Stream, Look], None]


def keep_scaled(
    scalers: Sequence[Scaler], stop: threading.Event, period_s: float, until: datetime | None, show: Show
) -> str:
    """Look at each stream again and again; return the reason for the end.

    Args:
        scalers: The scalers, one for each stream.
        stop: The event that ends it.
        period_s: The seconds between two rounds.
        until: The instant at which to end; None for never.
        show: The function that receives each look.

    Raises:
        ConfigurationError: None of the streams can be scaled.
    """
    rounds = _Rounds(scalers, show)
    while True:
        started = time.monotonic()
        rounds.go()
        rest = max(0.0, period_s - (time.monotonic() - started))
        if until is not None and datetime.now(UTC) + timedelta(seconds=rest) >= until:
            return "its time is over"
        if stop.wait(rest):
            return "told to stop"


class _Rounds:
    """Looks at each stream in turn; an error of one does not affect the others, and is logged once."""

    def __init__(self, scalers: Sequence[Scaler], show: Show) -> None:
        self._scalers, self._show = scalers, show
        self._troubles: dict[str, str] = {}

    def go(self) -> None:
        """Look at each stream once."""
        refused = [error for scaler in self._scalers if isinstance(error := self._go(scaler), ConfigurationError)]
        if len(refused) == len(self._scalers):
            raise refused[0]

    def _go(self, scaler: Scaler) -> Exception | None:
        topic, error = scaler.stream.topic, None
        try:
            if look := scaler.look(datetime.now(UTC)):
                self._show(scaler.stream, look)
        except (TransientError, ConfigurationError) as trouble:
            error = trouble
        kind = type(error).__name__ if error else ""
        if error and self._troubles.get(topic) != kind:
            log.warning("%s: no decision: %s", topic, error)
        self._troubles[topic] = kind
        return error
