"""Listeners on a real Kafka: in this process for tests of their behaviour, and as processes that can be killed."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freight.care.reconcile import reconcile
from freight.simulator import Corridor, poisoned, transaction_messages
from freight.simulator.producer import send_messages
from freight.streaming import session
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenSettings, StopRules
from freight.streaming.micro_batch import BatchLimits
from freight.streaming.poison import PoisonLimits
from freight.streaming.session import listen, new_listener, open_stream_engine
from freight.streaming.status import Status
from freight.types import PasswordSource, RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, reading
from freight.warehouse.streams import Stream
from tests.lib.forks import Forked
from tests.lib.hostile_stream import hostile
from tests.lib.kafka import Broker, Delivered, new_topic, produce
from tests.lib.oracle import Produced, compare
from tests.lib.waiting import LIMIT_S, wait_until

DAY = date(2026, 2, 20)
# A group that drops a dead member soon, to keep tests short.
QUICK = {"session.timeout.ms": "3000", "heartbeat.interval.ms": "500", "topic.metadata.refresh.interval.ms": "1000"}
SMALL_BATCHES = BatchLimits(rows=500, age_s=0.05)
NO_LIMIT = PoisonLimits(share=1.0, run=10**9)


def event(number: int, volume: float | None = 12.5, at: str = "2026-03-01 08:00:00", **more: object) -> bytes:
    """Return a valid message; further fields may break it."""
    record = {
        "transaction_id": f"TRX-{number}",
        "machine_id": "MCH-001",
        "date": at,
        "volume_transferred": volume,
        "status_code": "OK",
        **more,
    }
    return json.dumps(record).encode()


def send(
    kafka: Broker, topic: str, values: Sequence[bytes | None], partition: int = 0, sent_ms: int = 0
) -> list[Delivered]:
    """Send values to one partition, a millisecond apart."""
    sent_ms = sent_ms or int(time.time() * 1000)
    return produce(kafka, topic, [(partition, None, value, sent_ms + i) for i, value in enumerate(values)])


@dataclass
class Listening:
    """A listener in a thread of this process."""

    url: str
    kafka: Broker
    topic: str
    group: str = ""
    settings: ListenSettings = field(default_factory=lambda: ListenSettings(SMALL_BATCHES, NO_LIMIT))
    client: Mapping[str, Any] = field(default_factory=dict)
    password: PasswordSource | None = None
    run_id: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    status: Status = field(default_factory=Status)
    why: str = ""
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.group = self.group or group_of(self.topic)

    @property
    def stream(self) -> Stream:
        """The stream to read."""
        return Stream("transactions", self.topic, self.group)

    def run(self) -> str:
        """Listen in this thread until a rule ends it; return the reason."""
        engine = open_stream_engine(self.url, self.stream, self.password)
        reader = KafkaReader(
            {"bootstrap.servers": self.kafka.bootstrap, **QUICK, **self.client}, self.topic, self.group
        )
        try:
            return listen(
                engine,
                self.stream,
                new_listener(RunId(self.run_id or f"run-{time.monotonic_ns()}")),
                reader,
                self.settings,
                started_by="tester@here",
                stop=self.stop,
                status=self.status,
            )
        finally:
            engine.dispose()

    @contextmanager
    def running(self, raises: type[BaseException] | None = None) -> Iterator[Listening]:
        """Listen in a thread until the context ends; then raise any unexpected error."""

        def run() -> None:
            try:
                self.why = self.run()
            except BaseException as error:
                self.error = error

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            self.stop.set()
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        if raises is None and self.error:
            raise self.error
        assert raises is None or isinstance(self.error, raises)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; the listener must not end before."""
        wait_until(lambda: condition() or self.error is not None)
        if self.error:
            raise self.error


def group_of(topic: str) -> str:
    """Return the group of the listeners to a topic: other tests on the same Kafka have groups of their own."""
    return f"readers of {topic}"


def rows(engine: Engine, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return the result of a query."""
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.text(query), values)]


@dataclass
class Battery:
    """A topic full of difficult messages, the oracle that knows all of them, and the warehouse that they load into.

    Attributes:
        topic: The name of the topic, by default a unique one.
    """

    kafka: Broker
    engine: Engine
    url: str
    topic: str = ""
    sent: int = 0

    def __post_init__(self) -> None:
        self.topic = new_topic(self.kafka, 4, name=self.topic)
        self.produced = Produced(datetime.now(UTC), self.topic)
        self.corridor = Corridor(machines=20)

    def produce(self, count: int, poison: float = 0.01) -> None:
        """Send some new events, with duplicates, late versions, disorder and poison."""
        messages = transaction_messages(self.corridor, DAY, self.sent, self.sent + count)
        seed = self.sent
        self.sent += count
        trouble = hostile(poisoned(messages, poison, seed), seed)
        servers = {"bootstrap.servers": self.kafka.bootstrap}
        send_messages(servers, self.topic, trouble, on_delivered=self.produced.take)

    @contextmanager
    def producing(self, count: int, rounds: int | None = None, ahead: int | None = None) -> Iterator[None]:
        """Send events in rounds during the context, and the rest of them at its end.

        With `ahead`, a round waits until no more than this number of messages is unread. Without `rounds`, rounds
        follow each other until the context ends.
        """
        is_over = threading.Event()

        def send_all() -> None:
            for number in itertools.count():
                if is_over.is_set() if rounds is None else number == rounds:
                    return
                while ahead is not None and self.produced.messages - self.read > ahead and not is_over.wait(0.1):
                    pass
                self.produce(count)

        thread = threading.Thread(target=send_all)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def listening(self, **more: Any) -> Listening:
        """Return a listener in this process."""
        return Listening(self.url, self.kafka, self.topic, **more)

    def process(self, log: Path, **options: object) -> Forked:
        """Start a listener in a process of its own."""
        told = [f"{name}={value}" for name, value in options.items()]
        return Forked(_listen, self.url, self.kafka.bootstrap, self.topic, *told, log=log)

    @property
    def read(self) -> int:
        """The number of offsets read so far."""
        return int(rows(self.engine, "SELECT COALESCE(SUM(next_offset), 0) FROM stream_positions")[0][0])

    @property
    def is_read(self) -> bool:
        """Return True if all produced messages have been read."""
        return self.read == self.produced.messages

    def read_to_the_end(self) -> None:
        """Let a listener read the remaining messages."""
        settings = ListenSettings(poison=NO_LIMIT, stop=StopRules(at_end=True))
        assert self.listening(settings=settings).run() == "everything is read"

    def assert_nothing_is_lost_or_doubled(self) -> None:
        """Compare the warehouse with the oracle and with itself."""
        assert compare(self.engine, self.produced) == []
        assert rows(self.engine, "SELECT * FROM v_streams WHERE balance <> 0") == []
        produced, _, bad = self.produced.totals()
        assert rows(self.engine, "SELECT SUM(read_rows), SUM(quarantined) FROM v_streams") == [(produced, bad)]
        refresh_aggregates(self.engine)
        assert reconcile(self.engine) == []


def _listen(url: str, bootstrap: str, topic: str, *options: str) -> None:
    """Listen until SIGTERM."""
    told = dict(option.split("=", 1) for option in options)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
    logging.getLogger("librdkafka").setLevel(logging.WARNING)
    stream = Stream(told.get("dataset", "transactions"), topic, group_of(topic))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    engine = open_stream_engine(url, stream)
    if when := told.get("dies"):
        _die(engine, when, int(told["at"]))
    session.HEARTBEAT_S = float(told.get("beats", session.HEARTBEAT_S))
    limits = BatchLimits(rows=int(told.get("rows", "500")), age_s=0.05)
    reader = KafkaReader({"bootstrap.servers": bootstrap, **QUICK}, topic, stream.group)
    listen(
        engine,
        stream,
        new_listener(RunId(f"run-{os.getpid()}-{datetime.now(UTC):%H%M%S%f}")),
        reader,
        ListenSettings(limits, NO_LIMIT),
        started_by="victim@here",
        stop=stop,
    )


def _die(engine: Engine, when: str, number: int) -> None:
    """Kill this process right before or right after its n-th COMMIT, or freeze it before."""
    commits = iter(range(1, 10**9))
    commit = engine.dialect.do_commit

    def fatal_commit(connection: Any) -> None:
        is_the_one = next(commits) == number
        if is_the_one and when != "after":
            os.kill(os.getpid(), signal.SIGKILL if when == "before" else signal.SIGSTOP)
        commit(connection)
        if is_the_one and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    engine.dialect.do_commit = fatal_commit  # type: ignore[assignment]
