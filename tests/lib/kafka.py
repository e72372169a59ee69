"""Topics and messages on a local Kafka."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from tests.lib.kafka_under_test import KafkaUnderTest
from tests.lib.waiting import LIMIT_S, wait_until

POLL_EVERY = 1000  # messages between looks at the delivery reports

# partition, key, value (None is a tombstone), timestamp in ms (None is now)
Sent = tuple[int, bytes | str | None, bytes | None, int | None]


class Delivered(NamedTuple):
    """The place of a message, and its timestamp."""

    partition: int
    offset: int
    timestamp_ms: int


class Broker(Protocol):
    """A broker for clients: a `SharedKafka`, a `KafkaUnderTest` or an `EmbeddedKafka`."""

    @property
    def bootstrap(self) -> str:
        """The host:port of the listener without TLS or logins."""


class OwnKafka(Protocol):
    """The type of the fixture `own_kafka`: a call starts a broker."""

    def __call__(self, options: Mapping[str, str] | None = ...) -> KafkaUnderTest: ...


_numbers = itertools.count()


def new_topic(kafka: Broker, partitions: int = 4, settings: Mapping[str, str] | None = None, *, name: str = "") -> str:
    """Make a topic and return its name, by default a unique one."""
    topic = name or f"topic-{os.getpid()}-{next(_numbers)}"
    admin = _admin(kafka)
    _wait(admin.create_topics([NewTopic(topic, partitions, 1, config=dict(settings or {}))]).values())
    _until(lambda: _leaders(admin, topic) == [1] * partitions)
    return topic


def add_partitions(kafka: Broker, topic: str, partitions: int) -> None:
    """Add partitions to a topic."""
    admin = _admin(kafka)
    _wait(admin.create_partitions([NewPartitions(topic, partitions)]).values())
    _until(lambda: _leaders(admin, topic) == [1] * partitions)
    _producer.cache_clear()  # it would notice them only after minutes


def delete_topic(kafka: Broker, topic: str) -> None:
    """Delete a topic with its messages."""
    admin = _admin(kafka)
    _wait(admin.delete_topics([topic]).values())
    _until(lambda: topic not in admin.list_topics(timeout=LIMIT_S).topics)


def delete_records_before(kafka: Broker, topic: str, offsets: Mapping[int, int]) -> None:
    """Delete the messages before an offset in each given partition, as retention does."""
    wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    admin = _admin(kafka)
    _wait(admin.delete_records(wanted).values())


def produce(kafka: Broker, topic: str, messages: Sequence[Sent]) -> list[Delivered]:
    """Send messages and return their places, in the given order."""
    reports: dict[int, list[Delivered]] = {}

    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:  # the check below notices failed messages
            delivered = Delivered(message.partition(), message.offset(), message.timestamp()[1])  # type: ignore[arg-type]
            reports.setdefault(delivered.partition, []).append(delivered)

    producer = _producer(kafka.bootstrap)
    for number, (partition, key, value, timestamp_ms) in enumerate(messages):
        producer.produce(topic, value, key, partition, note, timestamp=timestamp_ms or 0)
        if number % POLL_EVERY == 0:
            producer.poll(0)
    producer.flush(LIMIT_S)
    delivered = sum(map(len, reports.values()))
    if delivered < len(messages):
        _producer.cache_clear()  # its remaining messages must not arrive later
        raise AssertionError(f"only {delivered} of {len(messages)} messages were delivered")
    # An idempotent producer keeps the order of each partition.
    in_order = {partition: iter(report) for partition, report in reports.items()}
    return [next(in_order[partition]) for partition, *_ in messages]


@lru_cache(maxsize=8)
def _producer(bootstrap: str) -> Producer:
    """Return a shared producer: a new one needs half a second to get its id from the broker."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 0,  # unlimited, up to the memory
            "queue.buffering.max.kbytes": 2_000_000,
            "message.timeout.ms": int(LIMIT_S * 1000),
            "reconnect.backoff.max.ms": 200,  # a killed broker comes back soon
            "log_level": 0,
        }
    )


def _admin(kafka: Broker) -> AdminClient:
    """Return a client; it must be kept until its requests are done."""
    return AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})


def _leaders(admin: AdminClient, topic: str) -> list[int]:
    """Return the node that leads each partition."""
    return [
        partition.leader for partition in admin.list_topics(topic, timeout=LIMIT_S).topics[topic].partitions.values()
    ]


def _wait(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.result(LIMIT_S)


def _until(condition: Callable[[], bool]) -> None:
    """Wait until the broker reports a change to every client."""
    wait_until(condition, told="the broker does not tell of it")
