"""The simulated terminals on the cluster that Kafka's client plays by itself: what they send is what can be read."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from freight.errors import ConfigurationError, TransientError
from freight.simulator import Corridor, Message, poisoned, producer, transaction_messages
from freight.simulator.producer import Delivered, Terminals, make_topics, send_messages
from tests.lib.hostile_stream import hostile
from tests.lib.oracle import TERMINAL_EVENTS, TRANSACTIONS, Produced
from tests.lib.waiting import LIMIT_S, wait_until

DAY = date(2026, 3, 1)
TOPICS = {"transactions": TRANSACTIONS, "terminal_events": TERMINAL_EVENTS}
UNREACHABLE = {"bootstrap.servers": "127.0.0.1:9", "message.timeout.ms": 300, "log_level": 0}


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, Any]]:
    """Settings for a cluster of one broker that lives in this process; it keeps the last 5 MiB of a partition."""
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "played", "log_level": 0})
    brokers = cluster.list_topics(timeout=LIMIT_S).brokers.values()
    yield {"bootstrap.servers": ",".join(f"{broker.host}:{broker.port}" for broker in brokers), "log_level": 0}
    cluster.flush(0)


def read_all(settings: dict[str, Any], count: int, topic: str) -> dict[tuple[int, int], tuple[int, bytes | None]]:
    """Return timestamp and value of all messages of a topic by partition and offset."""
    consumer = Consumer({**settings, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(4)])
    found: dict[tuple[int, int], tuple[int, bytes | None]] = {}
    deadline = time.monotonic() + LIMIT_S
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(1_000, 1):
            assert message.error() is None
            found[message.partition() or 0, message.offset() or 0] = (message.timestamp()[1], message.value())
    consumer.close()
    return found


def test_what_is_reported_is_what_stands_in_the_topic(settings: dict[str, Any]) -> None:
    messages = hostile(poisoned(transaction_messages(Corridor(), DAY, 0, 2_000), 0.05, 1), 1)
    small = [message for message in messages if len(message.value or b"") < 1_000]
    reported: list[Delivered] = []

    count = send_messages(settings, "given", small, on_delivered=reported.append)

    stands = {(one.partition, one.offset): (one.timestamp_ms, one.value) for one in reported}
    assert count == len(reported) == len(stands) == len(small)
    assert sorted(map(repr, stands.values())) == sorted(repr((m.timestamp_ms, m.value)) for m in small)
    assert read_all(settings, count, "given") == stands
    assert {one.value for one in reported} >= {None, b""}


def test_a_megabyte_passes(settings: dict[str, Any]) -> None:
    assert send_messages(settings, "large", [Message("TRX-1", b" " * 990_000, 1)]) == 1


def test_terminals_send_both_topics_at_their_rate_until_they_are_stopped(settings: dict[str, Any]) -> None:
    produced = Produced(datetime.now(UTC))
    begun = time.monotonic()
    terminals = Terminals(settings, Corridor(), TOPICS, rate=400, poison_share=0.1, on_delivered=produced.take)

    terminals.start()
    wait_until(lambda: min(terminals.acknowledged.values()) >= 500)
    acknowledged = terminals.stop()

    longest = time.monotonic() - begun
    assert acknowledged == {topic: produced.totals(topic).produced for topic in TOPICS.values()}
    for topic in TOPICS.values():
        assert acknowledged[topic] <= 400 * longest
        assert 0.02 < produced.totals(topic).bad / acknowledged[topic] < 0.25
    numbers = {int(key.partition("-")[2]) - terminals.first_number for key in produced.facts()}
    assert min(numbers) < 20
    assert max(numbers) < acknowledged[TRANSACTIONS]
    assert terminals.stop() == acknowledged


def test_what_ends_the_thread_is_raised_by_stop(settings: dict[str, Any]) -> None:
    calls = iter([datetime.now(UTC)])
    terminals = Terminals(settings, Corridor(), TOPICS, rate=1_000, clock=lambda: next(calls)).start()
    wait_until(lambda: not terminals.sending)

    with pytest.raises(StopIteration):
        terminals.stop()


def test_what_a_receiver_of_reports_raises_is_raised_by_stop(settings: dict[str, Any]) -> None:
    def refuse(message: Delivered) -> None:
        raise RuntimeError(f"no room for offset {message.offset}")

    terminals = Terminals(settings, Corridor(), TOPICS, rate=100, on_delivered=refuse).start()
    wait_until(lambda: not terminals.sending)

    with pytest.raises(RuntimeError, match="no room"):
        terminals.stop()


def test_messages_that_nobody_acknowledges_are_an_error() -> None:
    with pytest.raises(TransientError, match="3 of 3 messages were not acknowledged: "):
        send_messages(UNREACHABLE, "nowhere", [Message(f"TRX-{n}", b"{}", 1) for n in range(3)])

    asked: list[datetime] = []  # once at the start, then once for the messages of each topic

    def clock() -> datetime:
        asked.append(datetime.now(UTC))
        return asked[-1]

    with (
        pytest.raises(TransientError, match="not acknowledged"),
        Terminals(UNREACHABLE, Corridor(), TOPICS, clock=clock),
    ):
        wait_until(lambda: len(asked) > 2)


def test_a_full_queue_does_not_keep_terminals_from_stopping() -> None:
    """The queue stays full for longer than a test may last."""
    settings = {**UNREACHABLE, "message.timeout.ms": 3_600_000, "queue.buffering.max.messages": 10}
    terminals = Terminals(settings, Corridor(), TOPICS, rate=10_000).start()
    wait_until(lambda: len(terminals._sender._producer) >= 10)

    with pytest.raises(TransientError, match="no answer in time"):
        terminals.stop(flush_timeout_s=0.1)


def test_impossible_terminals_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="transactions, terminal_events"):
        Terminals(settings, Corridor(), {"machines": "m"})
    with pytest.raises(ConfigurationError, match="nothing"):
        Terminals(settings, Corridor(), {})
    with pytest.raises(ConfigurationError, match="rate"):
        Terminals(settings, Corridor(), TOPICS, rate=0)
    with pytest.raises(ConfigurationError, match="share"):
        Terminals(settings, Corridor(), TOPICS, poison_share=2)
    with pytest.raises(ConfigurationError, match=r"no\.such\.setting"):
        Terminals({"no.such.setting": 1}, Corridor(), TOPICS)


def test_topics_are_made_by_asking_for_them(settings: dict[str, Any]) -> None:
    make_topics(settings, ["asked-for", "asked-for-too"])
    topics = Producer(settings).list_topics(timeout=LIMIT_S).topics
    assert [len(topics[name].partitions) for name in ("asked-for", "asked-for-too")] == [4, 4]


def test_topics_of_a_broker_that_is_away_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "TOPICS_TIMEOUT_S", 0.3)
    with pytest.raises(TransientError, match="Kafka does not answer"):
        make_topics(UNREACHABLE, ["asked-for"])
