"""The limits of a micro-batch, in rows, bytes and age; and the buffer that collects its messages."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import polars as pl

from freight.frames import PARTITION
from freight.streaming.conform import Received, Span
from freight.streaming.consumer import Polled
from freight.streaming.messages import MESSAGE_SCHEMA
from freight.warehouse.stream_load import MicroBatch


@dataclass(frozen=True)
class BatchLimits:
    """The limits of a micro-batch: it is committed when it reaches one of them.

    Attributes:
        rows: The number of messages.
        size_bytes: The size of the messages; a single message may be larger.
        age_s: The time since the arrival of its first message.
    """

    rows: int = 30_000
    size_bytes: int = 16 << 20
    age_s: float = 0.1


class Buffer:
    """Messages that wait for their commit, and the span that was read of each partition."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self._frames: list[pl.DataFrame] = []
        self._spans: dict[int, Span] = {}
        self._rows = 0
        self._size_bytes = 0
        self._since: float | None = None

    @property
    def room(self) -> int:
        """The number of messages until it is full."""
        return 0 if self._size_bytes >= self.limits.size_bytes else max(0, self.limits.rows - self._rows)

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to commit."""
        return all(span.from_offset == span.until_offset for span in self._spans.values())

    @property
    def partitions(self) -> set[int]:
        """The partitions that are read."""
        return set(self._spans)

    @property
    def topic_ids(self) -> set[str]:
        """The identities of the topics that are read: always one."""
        return {span.topic_id for span in self._spans.values()}

    def begin(self, partition: int, span: Span) -> None:
        """Start to buffer a partition at an offset."""
        self._spans[partition] = span

    def expects(self, partition: int) -> int | None:
        """Return the next offset of a partition; None if it is not read."""
        span = self._spans.get(partition)
        return span.until_offset if span else None

    def add(self, polled: Polled, now: float) -> None:
        """Buffer messages, except those of unknown partitions and those that were read before.

        Args:
            polled: The messages from the broker.
            now: The seconds of a monotonic clock.
        """
        messages, until = self._wanted(polled), polled.until
        moved = {p: offset for p, offset in until.items() if p in self._spans and offset > self._spans[p].until_offset}
        for partition, offset in moved.items():
            self._spans[partition] = replace(self._spans[partition], until_offset=offset)
        if messages.height:
            self._frames.append(messages)
            self._rows += messages.height
            self._size_bytes += int(messages["value"].bin.size().sum() or 0)
        if moved and self._since is None:
            self._since = now

    def _wanted(self, polled: Polled) -> pl.DataFrame:
        expected = {partition: self.expects(partition) for partition in polled.first}
        if all(offset is not None and polled.first[p] >= offset for p, offset in expected.items()):
            return polled.messages
        # A client may still deliver messages that it fetched before a seek.
        wanted = {partition: offset for partition, offset in expected.items() if offset is not None}
        least = pl.col(PARTITION).replace_strict(wanted, default=None, return_dtype=pl.Int64)
        return polled.messages.filter(pl.col("offset") >= least)

    def is_full(self) -> bool:
        """Return True if it has reached its limit of rows or bytes."""
        return self.room == 0

    def is_due(self, now: float) -> bool:
        """Return True if it has reached its limit of rows, bytes or age."""
        return self.is_full() or (self._since is not None and now - self._since >= self.limits.age_s)

    def due_in(self, now: float) -> float:
        """Return the seconds until it reaches its age limit; the whole limit while it is empty."""
        return self.limits.age_s if self._since is None else max(0.0, self._since + self.limits.age_s - now)

    def take(self) -> Received:
        """Return the waiting messages, and continue behind them."""
        moved = {p: span for p, span in self._spans.items() if span.from_offset < span.until_offset}
        frames = self._frames or [pl.DataFrame(schema=MESSAGE_SCHEMA)]
        received = Received(pl.concat(frames), moved)
        for partition, span in moved.items():
            self._spans[partition] = replace(span, from_offset=span.until_offset)
        self._empty()
        return received

    def note_newest(self, batch: MicroBatch) -> None:
        """Note the newest times of the partitions of a micro-batch; later messages are judged by them."""
        for offsets in batch.ranges:
            if offsets.partition in self._spans:
                self._spans[offsets.partition] = replace(self._spans[offsets.partition], newest=offsets.newest)

    def drop(self, partitions: Collection[int] | None = None) -> None:
        """Drop all waiting messages, since the other partitions are read again from their positions."""
        for partition in list(self._spans) if partitions is None else partitions:
            self._spans.pop(partition, None)
        self._empty()

    def _empty(self) -> None:
        self._frames, self._rows, self._size_bytes, self._since = [], 0, 0, None
