"""The broker as a listener needs it, and Kafka behind it; the only module that consumes with confluent_kafka.

Where a listener reads is decided by its positions in the warehouse. What Kafka keeps of a group's offsets is a hint
for people and their lag monitors.
"""

import gc
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import polars as pl
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from freight.errors import ConfigurationError, TransientError
from freight.frames import PARTITION
from freight.streaming.messages import MESSAGE_SCHEMA
from freight.streaming.password import PASSWORD_CB, ChangingPassword, Untold
from freight.warehouse.streams import PartitionLog

log = logging.getLogger("freight")

ANSWER_S = 5.0  # how long the broker has to answer a question

# Azure Event Hubs cuts connections that are idle for 4 minutes and knows no sessions shorter than 6 s; these settings
# suit it, and any other broker.
LIVENESS = {
    "socket.keepalive.enable": "true",
    "connections.max.idle.ms": "180000",
    "metadata.max.age.ms": "180000",
    "session.timeout.ms": "30000",
    "heartbeat.interval.ms": "3000",
    "socket.timeout.ms": "60000",
    "max.poll.interval.ms": "300000",
    "topic.metadata.refresh.interval.ms": "30000",  # partitions that are added are noticed within this
}
READING = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",  # the warehouse says where to read; a jump would be a silent loss
    "enable.partition.eof": "true",  # tells how far transaction markers reach, and that all is read
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    "fetch.queue.backoff.ms": "20",  # the default of 1 s halves the rate
    "queued.min.messages": "100000",
    "queued.max.messages.kbytes": "16384",  # of memory for what is fetched ahead
}

# After these it is not certain what lies at our offsets.
DOUBTS = {
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_ID,
}
REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}
LOGIN_REFUSED = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
# How the client says that there is no token, now or in time; with the code of a refused login.
NO_TOKEN = ("Failed to acquire SASL OAUTHBEARER token", "OAuth token not set")


@dataclass(frozen=True)
class Polled:
    """What came since the last time.

    Attributes:
        messages: columns of `MESSAGE_SCHEMA`, in the order of the offsets of each partition.
        first: offset of the first message of each partition.
        until: for partitions that were read on: the offset after the last one.
        ended: offset of the end of partitions of which everything is read.
        doubtful: partitions of which the broker does not have what we expect.
    """

    messages: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MESSAGE_SCHEMA))
    first: Mapping[int, int] = field(default_factory=dict)
    until: Mapping[int, int] = field(default_factory=dict)
    ended: Mapping[int, int] = field(default_factory=dict)
    doubtful: Collection[int] = ()

    def before(self, ends: Mapping[int, int]) -> "Polled":
        """Return what lies before an offset of each partition."""
        end = pl.col(PARTITION).replace_strict(ends, default=0, return_dtype=pl.Int64)
        until = {partition: min(offset, ends.get(partition, 0)) for partition, offset in self.until.items()}
        return replace(self, messages=self.messages.filter(pl.col("offset") < end), until=until)


Partitions = Callable[[list[int]], None]


class TopicReader(Protocol):
    """Reads a topic as a member of a group.

    Rebalances are told within `poll` and `close`. Partitions that come are not read before `start`.
    """

    def subscribe(self, assigned: Partitions, revoked: Partitions, lost: Partitions) -> None:
        """Join the group."""

    def poll(self, limit: int, timeout_s: float) -> Polled:
        """Wait for messages, at most `limit`.

        Raises:
            ConfigurationError: the broker refuses us.
        """

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read assigned partitions from these offsets on.

        Raises:
            TransientError: they cannot be positioned right now.
        """

    def pause(self, partitions: Collection[int]) -> None:
        """Hold partitions."""

    def resume(self, partitions: Collection[int]) -> None:
        """Let partitions flow on."""

    def logs(self) -> list[PartitionLog]:
        """Return what the broker holds of every partition of the topic.

        Raises:
            TransientError: the broker does not answer.
            ConfigurationError: there is no such topic, or the broker refuses us.
        """

    def offsets_at(self, instant: datetime) -> dict[int, int]:
        """Return, for each partition, the offset of the first message that was sent at an instant or later.

        Raises:
            TransientError: the broker does not answer.
        """

    def topic_id(self) -> str:
        """Return the identity of the topic.

        Raises:
            TransientError: the broker does not answer.
            ConfigurationError: there is no such topic, or the broker refuses us.
        """

    def lag(self, offsets: Mapping[int, int]) -> int:
        """Return how many messages lie behind these offsets, as far as is known without asking."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell the broker up to where the warehouse has read; a failure does no harm."""

    def close(self) -> None:
        """Leave the group."""


class KafkaReader:
    """Reads a topic of a real broker."""

    def __init__(self, settings: Mapping[str, Any], topic: str, group: str, *, has_identity: bool = True) -> None:
        """Connect lazily.

        Args:
            settings: of the client, such as `bootstrap.servers`; they win over those that are set here. `password_cb`
                gives the password, which may change while the client runs.
            topic: what is read.
            group: the consumer group.
            has_identity: whether the broker can tell a topic from one of the same name that was there before; an
                embedded one cannot.

        Raises:
            ConfigurationError: the client refuses its settings, or a file that they name.
            TransientError: the source of tokens, or of the password, that they name gives none.
        """
        settings = dict(settings)
        self._password = ChangingPassword(source) if (source := settings.pop(PASSWORD_CB, None)) else None
        if self._password:
            settings["sasl.password"] = self._password.value
        _need_token(settings)
        self._has_identity = has_identity
        self._topic = topic
        self._trouble: KafkaError | None = None
        self._untold = Untold(str(settings.get("sasl.password", "")))
        shared = {**LIVENESS, **settings, "error_cb": self._note_trouble, "logger": self._untold}
        try:
            self._consumer = Consumer({**READING, **shared, "group.id": group})
        except KafkaException as error:
            raise ConfigurationError(f"the Kafka client refuses its settings: {self._said(error.args[0])}") from None
        mine = {name: value for name, value in settings.items() if name not in CONSUMER_ONLY}
        self._admin_settings: dict[str, Any] = {**mine, "log_level": "3", "logger": self._untold}  # for one question
        self._reading: set[int] = set()

    def subscribe(self, assigned: Partitions, revoked: Partitions, lost: Partitions) -> None:
        """See `TopicReader`."""

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            consumer.incremental_assign([])  # taken up by `start`, where it is known from which offset
            assigned([p.partition for p in partitions])

        def leave(partitions: list[TopicPartition], told: Partitions) -> None:
            told([p.partition for p in partitions])
            self._drop([p.partition for p in partitions])

        self._consumer.subscribe(
            [self._topic],
            on_assign=on_assign,
            on_revoke=lambda _, partitions: leave(partitions, revoked),
            on_lost=lambda _, partitions: leave(partitions, lost),
        )

    def poll(self, limit: int, timeout_s: float) -> Polled:
        """See `TopicReader`."""
        with _uncollected():
            return self._consume(limit, timeout_s)

    def _consume(self, limit: int, timeout_s: float) -> Polled:
        came = self._consumer.consume(limit, timeout_s)
        self._refuse_trouble()
        errors = list(map(Message.error, came))
        if not any(errors):
            return _polled(came, (), self._said)
        failed = [message for message, error in zip(came, errors, strict=True) if error]
        return _polled([message for message, error in zip(came, errors, strict=True) if not error], failed, self._said)

    def start(self, offsets: Mapping[int, int]) -> None:
        """See `TopicReader`."""
        try:
            self._drop(offsets)
            self._consumer.incremental_assign([TopicPartition(self._topic, p, offset) for p, offset in offsets.items()])
        except KafkaException as error:
            raise self._translated(error) from None  # it may repeat the password
        self._reading |= set(offsets)
        self.resume(offsets)

    def _drop(self, partitions: Collection[int]) -> None:
        """Stop to read partitions; what was fetched of them goes, too. A rebalance wants the call even for none."""
        self._consumer.incremental_unassign(self._places(partitions))
        self._reading -= set(partitions)

    def pause(self, partitions: Collection[int]) -> None:
        """See `TopicReader`."""
        self._consumer.pause(self._places(partitions))

    def resume(self, partitions: Collection[int]) -> None:
        """See `TopicReader`."""
        self._consumer.resume(self._places(partitions))

    def _places(self, partitions: Collection[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions if partition in self._reading]

    def logs(self) -> list[PartitionLog]:
        """See `TopicReader`."""
        try:
            topic_id, partitions = self._describe()
            places = [TopicPartition(self._topic, partition) for partition in partitions]
            committed = {p.partition: p.offset for p in self._consumer.committed(places, ANSWER_S)}
            return [self._log(topic_id, place, committed[place.partition]) for place in places]
        except KafkaException as error:
            raise self._translated(error) from None  # it may repeat the password

    def offsets_at(self, instant: datetime) -> dict[int, int]:
        """See `TopicReader`."""
        instant_ms = int(instant.timestamp() * 1_000)
        try:
            asked = [TopicPartition(self._topic, partition, instant_ms) for partition in self._describe()[1]]
            found = self._consumer.offsets_for_times(asked, ANSWER_S)
            ends = {p.partition: self._consumer.get_watermark_offsets(p, ANSWER_S)[1] for p in found if p.offset < 0}
        except KafkaException as error:
            raise self._translated(error) from None  # it may repeat the password
        return {place.partition: ends.get(place.partition, place.offset) for place in found}

    def topic_id(self) -> str:
        """See `TopicReader`."""
        try:
            return self._describe()[0]
        except KafkaException as error:
            raise self._translated(error) from None  # it may repeat the password

    def _describe(self) -> tuple[str, list[int]]:
        """Return the identity of the topic, and its partitions."""
        if not self._has_identity:
            return "", sorted(self._consumer.list_topics(self._topic, ANSWER_S).topics[self._topic].partitions)
        _need_token(self._admin_settings)
        self._follow_password()
        admin = AdminClient(self._admin_settings)  # kept until the answer is there: it fails what it waits for
        described: Any = admin.describe_topics(TopicCollection([self._topic]), request_timeout=ANSWER_S)
        topic = described[self._topic].result(ANSWER_S + 1)
        if self._password:
            self._password.let_in()
        return str(topic.topic_id or ""), sorted(partition.id for partition in topic.partitions)

    def _log(self, topic_id: str, place: TopicPartition, committed: int) -> PartitionLog:
        start, end = self._consumer.get_watermark_offsets(place, ANSWER_S)
        return PartitionLog(place.partition, topic_id, start, end, None if committed == OFFSET_INVALID else committed)

    def lag(self, offsets: Mapping[int, int]) -> int:
        """See `TopicReader`."""
        ends = {
            p: self._consumer.get_watermark_offsets(TopicPartition(self._topic, p), cached=True)[1] for p in offsets
        }
        return sum(max(0, ends[partition] - offset) for partition, offset in offsets.items())

    def commit(self, offsets: Mapping[int, int]) -> None:
        """See `TopicReader`."""
        places = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            log.debug("the broker was not told the offsets: %s", error)

    def close(self) -> None:
        """See `TopicReader`."""
        self._consumer.close()

    def _note_trouble(self, error: KafkaError) -> None:
        """Note what the client says about its connections; it goes on trying by itself."""
        log.log(logging.ERROR if _is_refusal(error) else logging.WARNING, "Kafka: %s", self._said(error))
        if self._trouble is None or not _is_refusal(self._trouble):  # which says more than what follows from it
            self._trouble = error

    def _refuse_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None and _is_refusal(trouble) and not self._awaits_password(trouble):
            raise ConfigurationError(f"Kafka refuses us: {self._said(trouble)}")

    def _awaits_password(self, refusal: KafkaError) -> bool:
        """Whether another password is on its way, for which the client goes on trying; it gets it when it is there."""
        if self._password is None or not self._password.may_change or refusal.code() not in LOGIN_REFUSED:
            return False
        self._follow_password(was_refused=True)
        return True

    def _follow_password(self, *, was_refused: bool = False) -> None:
        """Let new connections log in with the password as it is now."""
        if self._password and self._password.changes(was_refused=was_refused):
            log.info("%s: the password of Kafka has changed", self._topic)
            self._consumer.set_sasl_credentials(self._admin_settings["sasl.username"], self._password.value)
            self._admin_settings["sasl.password"] = self._untold.password = self._password.value

    def _said(self, error: KafkaError) -> str:
        return self._untold.told(error.str())

    def _translated(self, error: KafkaException) -> ConfigurationError | TransientError:
        cause: KafkaError = error.args[0]
        if _is_refusal(cause) and self._awaits_password(cause):
            return TransientError(f"Kafka refuses the password, and another one is waited for: {self._said(cause)}")
        if _is_refusal(cause):
            return ConfigurationError(f"Kafka refuses us: {self._said(cause)}")
        if cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return ConfigurationError(f"there is no topic {self._topic!r}: create it, or correct the parameter topic")
        return TransientError(f"Kafka does not answer: {self._said(cause)}")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector out: the messages of a poll would wake it, and it would find every one in use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


CONSUMER_ONLY = {*READING, "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "group.instance.id"}


def _polled(came: Sequence[Any], failed: Sequence[Any], said: Callable[[KafkaError], str]) -> Polled:
    # The methods are mapped, not called in loops: at this rate the loops are what costs.
    messages = pl.DataFrame(
        {
            PARTITION: list(map(Message.partition, came)),
            "offset": list(map(Message.offset, came)),
            "sent_us": [at for _, at in map(Message.timestamp, came)],
            "value": list(map(Message.value, came)),
        },
        schema=MESSAGE_SCHEMA,
    ).with_columns(pl.col("sent_us").clip(0) * 1_000)
    reached = messages.group_by(PARTITION).agg(first=pl.col("offset").first(), last=pl.col("offset").last())
    first, until = {}, {}
    for partition, offset, last in reached.iter_rows():
        first[partition], until[partition] = offset, last + 1
    ended, doubtful = {}, set()
    for message in failed:
        error, partition = message.error(), message.partition()
        if error.code() == KafkaError._PARTITION_EOF:
            ended[partition] = message.offset()
            until[partition] = max(until.get(partition, 0), message.offset())
        elif error.code() in DOUBTS:
            log.warning("Kafka: %s", said(error))
            doubtful.add(partition)
        elif _is_refusal(error):
            raise ConfigurationError(f"Kafka refuses us: {said(error)}")
        else:
            log.warning("Kafka: %s", said(error))
    return Polled(messages, first, until, ended, doubtful)


def _need_token(settings: Mapping[str, Any]) -> None:
    """Let the source of tokens, if there is one, say why it has none: a client that starts without does not tell."""
    if token_source := settings.get("oauth_cb"):
        token_source("")


def _is_refusal(error: KafkaError) -> bool:
    """Whether the broker refuses us; a token that does not come right now is no refusal."""
    return error.code() in REFUSED and not error.str().startswith(NO_TOKEN)
