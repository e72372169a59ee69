"""A broker in memory: partitions, one group, and rebalances on a test's command."""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from freight.streaming.consumer import Partitions, Polled
from freight.streaming.messages import MESSAGE_SCHEMA
from freight.types import origin_us_of
from freight.warehouse.streams import PartitionLog


@dataclass
class MemoryBroker:
    """Logs of (sent_us, value); an offset is a place in the list."""

    partitions: int = 3
    topic_id: str = "first"
    logs: dict[int, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    committed: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.logs = {partition: [] for partition in range(self.partitions)}

    def produce(self, partition: int, messages: Iterable[tuple[int, bytes | None]]) -> None:
        """Append messages."""
        self.logs[partition] += messages

    def delete_before(self, partition: int, offset: int) -> None:
        """Let retention delete messages."""
        self.starts[partition] = offset


class MemoryReader:
    """A member of the group. The test assigns and revokes partitions; the member is notified when it polls."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self._next: dict[int, int] = {}
        self._flowing: set[int] = set()
        self._news: list[tuple[str, list[int]]] = []
        self._handlers: dict[str, Partitions] = {}

    def give(self, partitions: Collection[int]) -> None:
        """Assign partitions."""
        self._news.append(("assigned", sorted(partitions)))

    def take(self, partitions: Collection[int], *, lost: bool = False) -> None:
        """Revoke partitions."""
        self._news.append(("lost" if lost else "revoked", sorted(partitions)))

    def subscribe(self, assigned: Partitions, revoked: Partitions, lost: Partitions) -> None:
        """See `TopicReader`."""
        self._handlers = {"assigned": assigned, "revoked": revoked, "lost": lost}

    def hear(self) -> None:
        """Notify the member of the changes in the group."""
        while self._news:
            kind, partitions = self._news.pop(0)
            if kind == "assigned":
                self._next.update(dict.fromkeys(partitions, 0))
            else:
                partitions = [partition for partition in partitions if partition in self._next]
            self._handlers[kind](partitions)
            if kind != "assigned":
                for partition in partitions:
                    self._next.pop(partition)
                self._flowing -= set(partitions)

    def poll(self, limit: int, timeout_s: float) -> Polled:  # noqa: ARG002 - nothing comes by waiting
        """See `TopicReader`."""
        self.hear()
        rows: list[tuple[Any, ...]] = []
        ended, doubtful = {}, set()
        for partition in sorted(self._flowing):
            offset, log = self._next[partition], self.broker.logs[partition]
            if not self.broker.starts.get(partition, 0) <= offset <= len(log):
                doubtful.add(partition)
                continue
            taken = log[offset : offset + limit - len(rows)]
            rows += [(partition, offset + i, *message) for i, message in enumerate(taken)]
            self._next[partition] = offset + len(taken)
            if self._next[partition] == len(log):
                ended[partition] = len(log)
        first = {row[0]: row[1] for row in reversed(rows)}
        until = {**{row[0]: row[1] + 1 for row in rows}, **ended}
        return Polled(pl.DataFrame(rows, schema=MESSAGE_SCHEMA, orient="row"), first, until, ended, doubtful)

    def start(self, offsets: Mapping[int, int]) -> None:
        """See `TopicReader`."""
        self._next.update(offsets)
        self._flowing |= set(offsets)

    def pause(self, partitions: Collection[int]) -> None:
        """See `TopicReader`."""
        self._flowing -= set(partitions)

    def resume(self, partitions: Collection[int]) -> None:
        """See `TopicReader`."""
        self._flowing |= set(partitions) & self._next.keys()

    def logs(self) -> list[PartitionLog]:
        """See `TopicReader`."""
        return [
            PartitionLog(
                partition,
                self.broker.topic_id,
                self.broker.starts.get(partition, 0),
                len(log),
                self.broker.committed.get(partition),
            )
            for partition, log in self.broker.logs.items()
        ]

    def offsets_at(self, instant: datetime) -> dict[int, int]:
        """See `TopicReader`."""
        sent_us = origin_us_of(instant)
        return {p: sum(message[0] < sent_us for message in log) for p, log in self.broker.logs.items()}

    def topic_id(self) -> str:
        """See `TopicReader`."""
        return self.broker.topic_id

    def lag(self, offsets: Mapping[int, int]) -> int:
        """See `TopicReader`."""
        return sum(len(self.broker.logs[partition]) - offset for partition, offset in offsets.items())

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `TopicReader`."""
        self.broker.committed.update(offsets)

    def close(self) -> None:
        """See `TopicReader`."""
        self.take(list(self._next))
        self.hear()


class Deferred(Executor):
    """An executor that runs its work on the test's command: until then the work is in progress."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Future[Any], Any]] = []
        self.holds = False

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """Queue a call."""
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: call(*arguments, **named)))
        if not self.holds:
            self.work()
        return future

    def work(self) -> None:
        """Run the waiting call."""
        while self._waiting:
            future, call = self._waiting.pop(0)
            future.set_result(call())
