"""The loop of a listener: poll, batch, parse, and hand over to the commit thread; never lose, never double.

One thread turns the loop, and only this thread talks to the broker; another one commits. A listener may drop everything
that it holds in memory at any time, since the warehouse holds the positions: after every doubt (a fence, a rebalance,
an unknown outcome) it drops everything, reads the positions again and seeks.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from freight.errors import PositionFenced, QuarantineLimitExceeded, TransientError
from freight.streaming.commits import CommitCancelled, Commits, Outcome
from freight.streaming.conform import Span, conform
from freight.streaming.consumer import Polled, TopicReader
from freight.streaming.micro_batch import BatchLimits, Buffer
from freight.streaming.poison import PoisonLimits, PoisonWatch
from freight.streaming.status import Status
from freight.streaming.trouble import Trouble
from freight.validation import Locale
from freight.warehouse.connect import Engine
from freight.warehouse.stream_load import MicroBatch, StreamLoader
from freight.warehouse.streams import ListenerRef, Stream, free_frozen_listeners, take_positions

log = logging.getLogger("freight")

POLL_S = 0.25  # the longest wait for messages, and so the longest delay of a request to stop
BACKPRESSURE_S = 0.5  # a commit that takes longer pauses the partitions, and polling continues
REVOKE_BUDGET_S = 8.0  # for the commit in progress, before a partition is given away
DRAIN_BUDGET_S = 13.0  # for the messages read so far, when the listener stops
CANCEL_BUDGET_S = 5.0
POSITIONS_WAIT_S = 5.0  # until the next request for positions, after the warehouse or the broker was away
LAG_EVERY_S = 1.0
IDENTITY_EVERY_S = 30.0  # a topic may be deleted and made again while it is read


@dataclass(frozen=True)
class StopRules:
    """The rules by which a listener ends by itself; without one it listens forever.

    Attributes:
        max_run_s: The seconds after which it ends.
        idle_s: The seconds without a message after which it ends.
        at_end: True to end when the partitions are read to the end.
    """

    max_run_s: float | None = None
    idle_s: float | None = None
    at_end: bool = False


@dataclass(frozen=True)
class ListenSettings:
    """The settings of a listener.

    Attributes:
        limits: The limits of a micro-batch.
        poison: The limits of bad messages.
        stop: The rules by which it ends by itself.
        from_end: True if a new group starts at the end of the topic instead of its beginning.
    """

    limits: BatchLimits = field(default_factory=BatchLimits)
    poison: PoisonLimits = field(default_factory=PoisonLimits)
    stop: StopRules = field(default_factory=StopRules)
    from_end: bool = False


class ListenerLoop:
    """Reads a topic into the warehouse until it has to stop."""

    def __init__(
        self,
        engine: Engine,
        stream: Stream,
        listener: ListenerRef,
        reader: TopicReader,
        settings: ListenSettings,
        status: Status,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        thread: Executor | None = None,
    ) -> None:
        self._engine, self._stream, self._listener = engine, stream, listener
        self._reader, self._settings, self._status, self._clock = reader, settings, status, clock
        self._locale = Locale(stream.notation, stream.time_zone)
        self._trouble = Trouble(f"{stream.topic} reads on")
        self._buffer = Buffer(settings.limits)
        self._watch = PoisonWatch(settings.poison)
        loader = StreamLoader(engine, stream, listener, clock)
        self._commits = Commits(loader.load, loader.cancel, self._note_trouble, thread)
        self._ready: MicroBatch | None = None
        self._unpositioned: set[int] = set()
        self._ended: dict[int, int] = {}
        self._paused = self._broker_is_away = False
        self._retry_positions_at = 0.0
        self._lag_at = 0.0
        self._identity_at = 0.0
        self._started_at = self._came_at = time.monotonic()

    def run(self, stop: threading.Event) -> str:
        """Listen until a request or a rule ends it; return the reason.

        Raises:
            QuarantineLimitExceeded: There were too many bad messages; none of them was committed.
            OffsetGap: Messages that were never read are gone.
            ConfigurationError: The broker or the warehouse refuses us.
        """
        self.join()
        try:
            while (why := self._why_stop(stop)) is None:
                self.turn()
            self.drain()
            return why
        finally:
            self.leave()

    def join(self) -> None:
        """Join the group."""
        self._reader.subscribe(self._on_assigned, self._on_revoked, self._on_lost)

    def leave(self) -> None:
        """Leave the group; the commit in progress may end first, within a budget."""
        try:
            self._settle_within(CANCEL_BUDGET_S)
        finally:
            self._reader.close()
            self._commits.close()

    def _why_stop(self, stop: threading.Event) -> str | None:
        rules, now = self._settings.stop, time.monotonic()
        if stop.is_set():
            return "told to stop"
        if rules.max_run_s is not None and now - self._started_at >= rules.max_run_s:
            return f"the time limit of {rules.max_run_s:g} s is over"
        if self._commits.busy or not self._buffer.is_empty:
            self._came_at = now  # a wait for the warehouse does not count as idle
        if rules.idle_s is not None and now - self._came_at >= rules.idle_s:
            return f"no message arrived for {rules.idle_s:g} s"
        if rules.at_end and self._is_at_end():
            return "everything is read"
        return None

    def _is_at_end(self) -> bool:
        read = {partition: self._buffer.expects(partition) for partition in self._buffer.partitions}
        return bool(read) and not self._unpositioned and all(self._ended.get(p) == offset for p, offset in read.items())

    def turn(self) -> None:
        """Turn the loop once; this takes as long as a wait for messages."""
        self._status.polled(self._commits.under_way_s)
        self._settle(self._commits.take())
        self._check_identity()
        self._take_positions()
        self._hand_over(is_due=self._is_due())
        self._receive()

    def _receive(self) -> None:
        """Poll; without room, wait for the commit, and during a long one keep polling with all partitions paused."""
        room = self._buffer.room
        if room == 0 and self._ready is None:
            return  # the next micro-batch can be made while the last one is committed
        if room == 0:
            outcome = self._commits.take(BACKPRESSURE_S)
            if outcome is None:
                self._pause()
                self._take_in(self._reader.poll(1, 0.0))
            self._settle(outcome)
            return
        self._resume()
        self._take_in(self._reader.poll(room, self._wait_s()))

    def _wait_s(self) -> float:
        """Return the longest wait for messages."""
        if self._commits.busy or self._ready:
            return 0.01
        return min(POLL_S, self._buffer.due_in(time.monotonic()))

    def _pause(self) -> None:
        if not self._paused:
            self._reader.pause(self._buffer.partitions)
            self._paused = True

    def _resume(self) -> None:
        if self._paused:
            self._reader.resume(self._buffer.partitions)
            self._paused = False

    def _take_in(self, polled: Polled) -> None:
        now = time.monotonic()
        if polled.doubtful:
            self._reset("the broker lacks the expected messages at our positions")
            return
        if polled.messages.height:
            self._came_at = now
        self._buffer.add(polled, now)
        self._ended.update(polled.ended)
        if now - self._lag_at >= LAG_EVERY_S:
            self._lag_at = now
            read = {partition: self._buffer.expects(partition) or 0 for partition in self._buffer.partitions}
            self._status.tell(lag=self._reader.lag(read), partitions=len(read))

    def _is_due(self) -> bool:
        """Return True to make a micro-batch; one that is old but not full keeps growing during the previous commit."""
        return self._buffer.is_full() if self._commits.busy else self._buffer.is_due(time.monotonic())

    def _hand_over(self, *, is_due: bool) -> None:
        """Make a micro-batch if one is due, and commit it once the previous one is committed."""
        if self._ready is None and is_due:
            self._ready = self._make()
        if self._ready and not self._commits.busy:
            self._commits.submit(self._ready)
            self._ready = None

    def _make(self) -> MicroBatch:
        batch = conform(self._buffer.take(), self._stream.contract, self._locale, self._clock())
        if why := self._watch.judge(batch):
            raise self._too_much_poison(why, batch)
        self._buffer.note_newest(batch)
        return batch

    def _too_much_poison(self, why: str, batch: MicroBatch) -> QuarantineLimitExceeded:
        return QuarantineLimitExceeded(
            f"{why}; the listener stopped without advancing",
            location=self._stream.topic,
            read_rows=batch.messages,
            reason_counts=dict(batch.bad_rows["reason"].value_counts().iter_rows()),
            first_bad_rows=batch.bad_rows,
            remedy="correct the producer or the contract, then `dpa retry`; to quarantine them anyway, raise the "
            f"limit of the listener; `dpa history {self._stream.topic}` shows the first bad messages",
        )

    def _settle(self, outcome: Outcome | None) -> None:
        """Process the outcome of a commit."""
        if outcome is None:
            return
        match outcome.error:
            case None:
                self._note_commit(outcome)
            case PositionFenced() | CommitCancelled():
                self._reset(str(outcome.error))
            case error:
                raise error

    def _note_commit(self, outcome: Outcome) -> None:
        ranges = outcome.batch.ranges
        self._reader.commit({offsets.partition: offsets.until_offset for offsets in ranges})
        self._watch.add(max(0, outcome.counts.quarantined - outcome.batch.bad_rows.height))
        span = sum(offsets.until_offset - offsets.from_offset for offsets in ranges)
        oldest = min((offsets.oldest_sent_us for offsets in ranges if offsets.messages), default=0)
        self._trouble.over()
        self._status.committed(outcome.counts, span - outcome.batch.messages, oldest, outcome.took_s)

    def _note_trouble(self, trouble: str) -> None:
        self._trouble.note(f"{self._stream.topic} waits: {trouble}")
        self._status.tell(state=f"waiting: {trouble}")

    def _take_positions(self) -> None:
        """Read the positions of new partitions, and start them."""
        if not self._unpositioned or self._broker_is_away or time.monotonic() < self._retry_positions_at:
            return  # a second question in one turn would delay a request to stop
        try:
            logs = self._reader.logs()
            positions = take_positions(
                self._engine,
                self._stream,
                self._listener,
                logs,
                self._unpositioned,
                self._clock(),
                from_end=self._settings.from_end,
            )
            self._reader.start({partition: position.next_offset for partition, position in positions.items()})
        except TransientError as error:
            self._note_trouble(str(error))
            with suppress(TransientError):
                free_frozen_listeners(self._engine, self._stream)
            self._retry_positions_at = time.monotonic() + POSITIONS_WAIT_S * random.uniform(0.5, 1.5)
            return
        for partition, position in positions.items():
            start = position.next_offset
            self._buffer.begin(partition, Span(position.topic_id, start, start, position.newest))
        log.info("%s reads %s", self._stream.topic, {p: position.next_offset for p, position in positions.items()})
        self._unpositioned.clear()
        self._note_end_of_trouble()

    def _note_end_of_trouble(self) -> None:
        self._trouble.over()
        self._status.tell(state="listening")

    def _check_identity(self) -> None:
        """Notice a topic that was deleted or made again, even if it has messages at our offsets.

        The request also shows that the broker is there: the client itself waits for it silently.
        """
        if time.monotonic() < self._identity_at:
            return
        self._identity_at = time.monotonic() + IDENTITY_EVERY_S
        try:
            if self._buffer.topic_ids - {self._reader.topic_id()}:
                self._reset("the topic was created again")
            if self._broker_is_away:
                self._note_end_of_trouble()
            self._broker_is_away = False
        except TransientError as error:
            self._note_trouble(str(error))
            self._broker_is_away = True
            self._identity_at = time.monotonic() + min(POSITIONS_WAIT_S, IDENTITY_EVERY_S)

    def _on_assigned(self, partitions: Sequence[int]) -> None:
        self._unpositioned |= set(partitions)
        self._retry_positions_at = 0.0

    def _on_revoked(self, partitions: Sequence[int]) -> None:
        """Give partitions away: finish the commit in progress, and leave the rest to their next owner."""
        self._settle_within(REVOKE_BUDGET_S)
        self._on_lost(partitions)

    def _on_lost(self, partitions: Sequence[int]) -> None:
        """Forget partitions that another member owns already; the fence will stop a commit in progress."""
        self._unpositioned -= set(partitions)
        self._buffer.drop(partitions)
        self._reset(f"partitions {sorted(partitions)} were revoked")

    def _settle_within(self, budget_s: float) -> None:
        """Wait for the commit in progress; beyond the budget break it off, and treat its outcome as unknown."""
        outcome = self._commits.take(budget_s)
        if outcome is None and self._commits.busy:
            self._commits.cancel()
            outcome = self._commits.take(CANCEL_BUDGET_S)
        if outcome is None or isinstance(outcome.error, (PositionFenced, CommitCancelled)):
            return  # the caller drops everything anyway
        self._settle(outcome)

    def _reset(self, why: str) -> None:
        """Drop uncommitted messages, and read the positions again."""
        if self._buffer.partitions:
            log.info("%s reads its positions again: %s", self._stream.topic, why)
        self._reader.pause(self._buffer.partitions)
        self._unpositioned |= self._buffer.partitions
        self._buffer.drop()
        self._ready = None
        self._paused = False
        self._ended.clear()
        self._watch = PoisonWatch(self._settings.poison)
        self._status.tell(partitions=0)

    def drain(self) -> None:
        """Commit the messages read so far, within the budget; uncommitted ones will be read again."""
        self._status.tell(state="draining")
        deadline = time.monotonic() + DRAIN_BUDGET_S
        while (self._commits.busy or self._ready or not self._buffer.is_empty) and time.monotonic() < deadline:
            self._settle(self._commits.take(0.1))
            self._hand_over(is_due=not self._buffer.is_empty)
