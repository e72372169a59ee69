"""Sends the simulated stream to Kafka: a given list of messages, or live events until stopped.

Producers are idempotent and wait for all replicas, so an acknowledged message is in its topic exactly once.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from freight.errors import ConfigurationError, TransientError
from freight.simulator.events import Corridor
from freight.simulator.poison import poisoned
from freight.simulator.stream import Message, Messages, first_live_number, live_terminal_events, live_transactions

LIVE: dict[str, Callable[[Corridor, int, int, datetime], Messages]] = {
    "transactions": live_transactions,
    "terminal_events": live_terminal_events,
}
FLUSH_TIMEOUT_S = 60.0
TOPICS_TIMEOUT_S = 30.0

_TICK_S = 0.05
_POLL_EVERY = 500
_BACKLOG_S = 1.0  # the longest backlog that a stalled stream catches up on; the rest is skipped


class Delivered(NamedTuple):
    """A message that all replicas have, and its position."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None


OnDelivered = Callable[[Delivered], None]


def send_messages(
    settings: Mapping[str, Any],
    topic: str,
    messages: Iterable[Message],
    *,
    on_delivered: OnDelivered | None = None,
    flush_timeout_s: float = FLUSH_TIMEOUT_S,
) -> int:
    """Send messages in order, wait until all are acknowledged, and return their number.

    Args:
        settings: The settings of the client, such as `bootstrap.servers`.
        topic: The topic.
        messages: The messages; the key determines the partition.
        on_delivered: A function that is called with each acknowledged message.
        flush_timeout_s: The longest wait for the last acknowledgements.

    Raises:
        ConfigurationError: The client refuses its settings.
        TransientError: A message was not acknowledged.
        KafkaException: The client refuses a message.
    """
    sender = _Sender(settings, on_delivered)
    try:
        for message in messages:
            sender.send(topic, message)
    finally:
        sender.flush(flush_timeout_s)
    sender.check()
    return sender.acknowledged[topic]


def make_topics(settings: Mapping[str, Any], topics: Iterable[str]) -> None:
    """Create topics on a broker that creates them on first use, and wait until they exist.

    Args:
        settings: The settings of the client, such as `bootstrap.servers`.
        topics: The names of the topics; existing ones do not change.

    Raises:
        TransientError: The broker does not answer, or has not created a topic in time.
    """
    client = Producer(dict(settings))
    deadline = time.monotonic() + TOPICS_TIMEOUT_S
    for topic in topics:
        while not _has_leaders(client, topic):
            if time.monotonic() > deadline:
                raise TransientError(f"the broker has not created the topic {topic} within {TOPICS_TIMEOUT_S:.0f} s")
            time.sleep(_TICK_S)


def _has_leaders(client: Producer, topic: str) -> bool:
    """Ask for a topic, which creates it; return whether it can be used."""
    try:
        found = client.list_topics(topic, timeout=TOPICS_TIMEOUT_S).topics[topic]
    except KafkaException as error:
        raise TransientError(f"Kafka does not answer: {error}") from error
    return bool(found.partitions) and all(partition.leader >= 0 for partition in found.partitions.values())


class Terminals:
    """Terminals that send live events in a thread, from `start` to `stop`, or as a context manager.

    Attributes:
        first_number: The number of the first event of each topic; see `first_live_number`.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        corridor: Corridor,
        topics: Mapping[str, str],
        *,
        rate: float = 100.0,
        poison_share: float = 0.0,
        on_delivered: OnDelivered | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Set up the terminals; nothing is sent yet.

        Args:
            settings: The settings of the client, such as `bootstrap.servers`.
            corridor: The corridor whose machines report.
            topics: The topic of each dataset to send; the datasets must be in `LIVE`.
            rate: The number of events per second of each topic.
            poison_share: The probability that an event is replaced by poison, 0..1.
            on_delivered: A function that is called in the thread with each acknowledged message.
            clock: A function that returns the current instant, with a zone.

        Raises:
            ConfigurationError: A dataset, the rate or the share is impossible, or the client refuses its settings.
        """
        if not topics or not topics.keys() <= LIVE.keys():
            raise ConfigurationError(f"terminals send {', '.join(LIVE)}, not {', '.join(topics) or 'nothing'}")
        if not rate > 0 or not 0 <= poison_share <= 1:
            raise ConfigurationError(f"a rate must be over 0 and a share in 0..1, not {rate} and {poison_share}")
        self._corridor, self._topics, self._clock = corridor, dict(topics), clock
        self._rate, self._poison_share = rate, poison_share
        self._sender = _Sender(settings, on_delivered)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="terminals", daemon=True)
        self._error: Exception | None = None
        self.first_number = first_live_number(clock())

    @property
    def acknowledged(self) -> dict[str, int]:
        """The number of acknowledged messages by topic, so far."""
        return {topic: self._sender.acknowledged[topic] for topic in self._topics.values()}

    @property
    def sending(self) -> bool:
        """Whether the terminals are sending; if an error has ended them, `stop` raises it."""
        return self._thread.is_alive()

    def start(self) -> Self:
        """Start sending."""
        self._thread.start()
        return self

    def stop(self, flush_timeout_s: float = FLUSH_TIMEOUT_S) -> dict[str, int]:
        """Stop sending, wait for the last acknowledgements, and return their number by topic.

        Raises:
            TransientError: A message was not acknowledged.
            Exception: An error has ended the thread.
        """
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._sender.flush(flush_timeout_s)
        if self._error:
            raise self._error
        self._sender.check()
        return self.acknowledged

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            self._send_until_stopped()
        except Exception as error:
            self._error = error

    def _send_until_stopped(self) -> None:
        number, before, owed = self.first_number, time.monotonic(), 0.0
        while not self._stopping.wait(_TICK_S):
            now = time.monotonic()
            owed += min(now - before, _BACKLOG_S) * self._rate
            before = now
            count = int(owed)
            if count:
                self._send(number, count)
            number, owed = number + count, owed - count
            self._sender.poll()

    def _send(self, number: int, count: int) -> None:
        for dataset, topic in self._topics.items():
            made = LIVE[dataset](self._corridor, number, count, self._clock())
            for message in poisoned(made, self._poison_share, (self._corridor.seed, dataset, number)):
                if not self._sender.send(topic, message, until=self._stopping.is_set):
                    return


class _Sender:
    """An idempotent producer that counts acknowledged and lost messages."""

    def __init__(self, settings: Mapping[str, Any], on_delivered: OnDelivered | None) -> None:
        ours = {"enable.idempotence": True, "acks": "all"}
        try:
            self._producer = Producer({"linger.ms": 5, **settings, **ours})
        except KafkaException as error:
            raise ConfigurationError(f"Kafka's client refuses its settings: {error}") from error
        self._on_delivered = on_delivered
        self._first_failure = ""
        self._sent = 0
        self.acknowledged: Counter[str] = Counter()

    def send(self, topic: str, message: Message, until: Callable[[], bool] = lambda: False) -> bool:
        """Hand a message to the client; while the queue is full, wait for room or until `until()` returns true."""
        report = partial(self._reported, message)
        while True:
            try:
                self._producer.produce(
                    topic, message.value, message.key, on_delivery=report, timestamp=message.timestamp_ms
                )
            except BufferError:
                if until():
                    return False
                self._producer.poll(_TICK_S)
            else:
                self._sent += 1
                if self._sent % _POLL_EVERY == 0:
                    self.poll()
                return True

    def poll(self) -> None:
        """Process the acknowledgements that have arrived."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> None:
        """Wait until each message is acknowledged or has failed."""
        self._producer.flush(timeout_s)

    def check(self) -> None:
        """Check that each message was acknowledged.

        Raises:
            TransientError: One was not.
        """
        missing = self._sent - self.acknowledged.total()
        if missing:
            reason = self._first_failure or "no answer in time"
            raise TransientError(f"{missing:,} of {self._sent:,} messages were not acknowledged: {reason}")

    def _reported(self, message: Message, error: KafkaError | None, report: Report) -> None:
        if error is not None:
            self._first_failure = self._first_failure or str(error)
            return
        topic, partition, offset = report.topic() or "", report.partition() or 0, report.offset() or 0
        self.acknowledged[topic] += 1
        if self._on_delivered:
            self._on_delivered(Delivered(topic, partition, offset, message.timestamp_ms, message.value))
