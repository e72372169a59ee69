"""The broker as a listener sees it, and its implementation by Kafka; only this module consumes with confluent_kafka.

A listener's positions in the warehouse decide where it reads. The offsets of a group in Kafka are a hint for people
and their lag monitors.
"""

import gc
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import wait
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
from freight.streaming.password import PASSWORD_CB, ChangingPassword, Redactor
from freight.streaming.threads import DaemonThreads
from freight.streaming.trouble import Trouble
from freight.warehouse.streams import PartitionLog

log = logging.getLogger("freight")

ANSWER_S = 5.0  # the time that the broker has to answer a question
LEAVE_S = 4.0  # the time that the broker has to take leave of us; the client itself would wait without end
QUIET_S = 30.0  # without errors, until a new one counts as another trouble; a client tries again within 10 s

# Azure Event Hubs cuts connections that are idle for 4 minutes and allows no sessions shorter than 6 s; these settings
# suit it and any other broker.
LIVENESS = {
    "socket.keepalive.enable": "true",
    "connections.max.idle.ms": "180000",
    "metadata.max.age.ms": "180000",
    "session.timeout.ms": "30000",
    "heartbeat.interval.ms": "3000",
    "socket.timeout.ms": "60000",
    "max.poll.interval.ms": "300000",
    "topic.metadata.refresh.interval.ms": "30000",  # new partitions are noticed within this time
}
READING = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",  # the warehouse holds the positions; a jump would be a silent loss
    "enable.partition.eof": "true",  # shows the end of transaction markers, and that everything is read
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "cooperative-sticky",
    "fetch.queue.backoff.ms": "20",  # the default of 1 s halves the rate
    "queued.min.messages": "100000",
    "queued.max.messages.kbytes": "16384",  # the memory for prefetched messages
}

# After these errors the messages at our offsets are uncertain.
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
# The client's messages for a missing or late token; their code is that of a refused login.
NO_TOKEN = ("Failed to acquire SASL OAUTHBEARER token", "OAuth token not set")


@dataclass(frozen=True)
class Polled:
    """The result of a poll.

    Attributes:
        messages: The messages, with the columns of `MESSAGE_SCHEMA`, in the offset order of each partition.
        first: The offset of the first message of each partition.
        until: The offset after the last one, for partitions that advanced.
        ended: The end offset of partitions that were read to the end.
        doubtful: The partitions in which the broker does not have the messages that we expect.
    """

    messages: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MESSAGE_SCHEMA))
    first: Mapping[int, int] = field(default_factory=dict)
    until: Mapping[int, int] = field(default_factory=dict)
    ended: Mapping[int, int] = field(default_factory=dict)
    doubtful: Collection[int] = ()

    def before(self, ends: Mapping[int, int]) -> "Polled":
        """Return the part before an offset of each partition."""
        end = pl.col(PARTITION).replace_strict(ends, default=0, return_dtype=pl.Int64)
        until = {partition: min(offset, ends.get(partition, 0)) for partition, offset in self.until.items()}
        return replace(self, messages=self.messages.filter(pl.col("offset") < end), until=until)


Partitions = Callable[[list[int]], None]


class TopicReader(Protocol):
    """Reads a topic as a member of a group.

    Rebalances are reported within `poll` and `close`. A newly assigned partition is not read before `start`.
    """

    def subscribe(self, assigned: Partitions, revoked: Partitions, lost: Partitions) -> None:
        """Join the group."""

    def poll(self, limit: int, timeout_s: float) -> Polled:
        """Wait for messages, and return at most `limit`.

        Raises:
            ConfigurationError: The broker refuses us.
        """

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read assigned partitions from these offsets.

        Raises:
            TransientError: The partitions cannot be positioned right now.
        """

    def pause(self, partitions: Collection[int]) -> None:
        """Pause partitions."""

    def resume(self, partitions: Collection[int]) -> None:
        """Resume partitions."""

    def logs(self) -> list[PartitionLog]:
        """Return the log that the broker holds of each partition of the topic.

        Raises:
            TransientError: The broker does not answer.
            ConfigurationError: The topic does not exist, or the broker refuses us.
        """

    def offsets_at(self, instant: datetime) -> dict[int, int]:
        """Return, for each partition, the offset of the first message sent at an instant or later.

        Raises:
            TransientError: The broker does not answer.
        """

    def topic_id(self) -> str:
        """Return the identity of the topic.

        Raises:
            TransientError: The broker does not answer.
            ConfigurationError: The topic does not exist, or the broker refuses us.
        """

    def lag(self, offsets: Mapping[int, int]) -> int:
        """Return the number of messages behind these offsets, as far as known without a request."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Store the warehouse's offsets in the broker; a failure does no harm."""

    def close(self) -> None:
        """Leave the group, within seconds even if the broker does not answer."""


class KafkaReader:
    """Reads a topic of a real broker."""

    def __init__(self, settings: Mapping[str, Any], topic: str, group: str, *, has_identity: bool = True) -> None:
        """Connect lazily.

        Args:
            settings: The client settings, such as `bootstrap.servers`; they override those of this module.
                `password_cb` returns the password, which may change while the client runs.
            topic: The topic.
            group: The consumer group.
            has_identity: True if the broker can distinguish a topic from an earlier one of the same name; an embedded
                broker cannot.

        Raises:
            ConfigurationError: The client refuses its settings, or a file that they name.
            TransientError: The source of tokens or of the password in the settings provides none.
        """
        settings = dict(settings)
        self._password = ChangingPassword(source) if (source := settings.pop(PASSWORD_CB, None)) else None
        if self._password:
            settings["sasl.password"] = self._password.value
        _need_token(settings)
        self._has_identity = has_identity
        self._topic = topic
        self._trouble: KafkaError | None = None
        self._told = Trouble(quiet_s=QUIET_S)
        self._redactor = Redactor(str(settings.get("sasl.password", "")))
        shared = {**LIVENESS, **settings, "error_cb": self._note_trouble, "logger": self._redactor}
        try:
            self._consumer = Consumer({**READING, **shared, "group.id": group})
        except KafkaException as error:
            raise ConfigurationError(f"the Kafka client refuses its settings: {self._said(error.args[0])}") from None
        mine = {name: value for name, value in settings.items() if name not in CONSUMER_ONLY}
        self._admin_settings: dict[str, Any] = {**mine, "log_level": "3", "logger": self._redactor}  # for one question
        self._reading: set[int] = set()

    def subscribe(self, assigned: Partitions, revoked: Partitions, lost: Partitions) -> None:
        """See `TopicReader`."""

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            consumer.incremental_assign([])  # `start` assigns them, once their offsets are known
            assigned([p.partition for p in partitions])

        def leave(partitions: list[TopicPartition], notify: Partitions) -> None:
            notify([p.partition for p in partitions])
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
        """Stop reading partitions, and drop their prefetched messages. A rebalance needs the call even for none."""
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
        admin = AdminClient(self._admin_settings)  # kept until the answer: without it the request fails
        described: Any = admin.describe_topics(TopicCollection([self._topic]), request_timeout=ANSWER_S)
        topic = described[self._topic].result(ANSWER_S + 1)
        self._told.over()
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
            log.debug("the broker did not store the offsets: %s", error)

    def close(self) -> None:
        """See `TopicReader`."""
        leaving = DaemonThreads("leave Kafka").submit(self._consumer.close)
        if wait([leaving], LEAVE_S).done:
            return leaving.result()
        log.warning("%s: Kafka does not answer; the group learns of our end when our session expires", self._topic)
        return None

    def _note_trouble(self, error: KafkaError) -> None:
        """Note an error of the client's connections; the client retries by itself."""
        level = logging.ERROR if _is_refusal(error) else logging.WARNING
        self._told.note(f"Kafka: {self._said(error)}", error.name(), level)
        if self._trouble is None or not _is_refusal(self._trouble):  # a refusal says more than its consequences
            self._trouble = error

    def _refuse_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None and _is_refusal(trouble) and not self._awaits_password(trouble):
            raise ConfigurationError(f"Kafka refuses us: {self._said(trouble)}")

    def _awaits_password(self, refusal: KafkaError) -> bool:
        """Return True while a new password is on its way; the client retries, and receives it once it is there."""
        if self._password is None or not self._password.may_change or refusal.code() not in LOGIN_REFUSED:
            return False
        self._follow_password(was_refused=True)
        return True

    def _follow_password(self, *, was_refused: bool = False) -> None:
        """Give the current password to new connections."""
        if self._password and self._password.changes(was_refused=was_refused):
            log.info("%s: the password of Kafka has changed", self._topic)
            self._consumer.set_sasl_credentials(self._admin_settings["sasl.username"], self._password.value)
            self._admin_settings["sasl.password"] = self._redactor.password = self._password.value

    def _said(self, error: KafkaError) -> str:
        return self._redactor.redacted(error.str())

    def _translated(self, error: KafkaException) -> ConfigurationError | TransientError:
        cause: KafkaError = error.args[0]
        if _is_refusal(cause) and self._awaits_password(cause):
            return TransientError(f"Kafka refuses the password; waiting for a new one: {self._said(cause)}")
        if _is_refusal(cause):
            return ConfigurationError(f"Kafka refuses us: {self._said(cause)}")
        if cause.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            return ConfigurationError(f"there is no topic {self._topic!r}: create it, or correct the parameter topic")
        return TransientError(f"Kafka does not answer: {self._said(cause)}")


@contextmanager
def _uncollected() -> Iterator[None]:
    """Disable the garbage collector: the messages of a poll would trigger it, and it would find all of them in use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


LATEST_MS = (2**63 - 1) // 1_000  # of those that microseconds can hold
CONSUMER_ONLY = {*READING, "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms", "group.instance.id"}


def _polled(came: Sequence[Any], failed: Sequence[Any], said: Callable[[KafkaError], str]) -> Polled:
    # The methods are mapped, not called in loops: at this rate the loops would dominate the cost.
    messages = pl.DataFrame(
        {
            PARTITION: list(map(Message.partition, came)),
            "offset": list(map(Message.offset, came)),
            "sent_us": [at for _, at in map(Message.timestamp, came)],
            "value": list(map(Message.value, came)),
        },
        schema=MESSAGE_SCHEMA,
    ).with_columns(pl.col("sent_us").clip(0, LATEST_MS) * 1_000)  # a producer may state any number, or none by -1
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
    """Ask the source of tokens, if any, so that it raises its error: a client without a token starts silently."""
    if token_source := settings.get("oauth_cb"):
        token_source("")


def _is_refusal(error: KafkaError) -> bool:
    """Return True if the broker refuses us; a token that is missing right now is not a refusal."""
    return error.code() in REFUSED and not error.str().startswith(NO_TOKEN)
