"""Messages that were quarantined, or lost by hand, come back: once, and with the origin they always had."""

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from freight.care.reconcile import reconcile
from freight.catalog import Catalog, Source
from freight.contracts import contracts
from freight.errors import ConfigurationError
from freight.quarantine.replay import replay
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenSettings, StopRules
from freight.streaming.replay_range import Wanted, replay_range
from freight.types import LoadCounts, RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, transaction
from freight.warehouse.explain import explain
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW
from tests.lib.kafka import new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.stream_reader import Reader, terminal_event
from tests.lib.streams import NO_LIMIT, SMALL_BATCHES, Listening, event, rows, send
from tests.lib.tables import allow, forbid

SENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SENT_MS = int(SENT.timestamp() * 1000)


@pytest.fixture
def read(warehouse: WarehouseUnderTest, kafka: SharedKafka) -> Listening:
    """A topic whose messages have been read: 100 right ones, of which every tenth has a status nobody knew yet."""
    topic = new_topic(kafka, 2)
    for partition in range(2):
        values = [event(100 * partition + i, status_code="HALT" if i % 10 == 0 else "OK") for i in range(50)]
        send(kafka, topic, values, partition, SENT_MS)
    settings = ListenSettings(SMALL_BATCHES, NO_LIMIT, StopRules(at_end=True))
    listening = Listening(warehouse.url, kafka, topic, settings=settings)
    listening.run()
    return listening


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract learns the status."""
    contract = contracts()["transactions"]
    column = next(column for column in contract.columns if column.name == "status_code")
    monkeypatch.setitem(column.__dict__, "allowed", (*column.allowed, "HALT"))


def again(read: Listening, wanted: Wanted) -> LoadCounts:
    reader = KafkaReader({"bootstrap.servers": read.kafka.bootstrap}, read.topic, f"{read.group} again")
    try:
        return replay_range(engine_of(read), read.stream, RunId("replay"), reader, wanted)
    finally:
        reader.close()


_engines: dict[str, Any] = {}


def engine_of(read: Listening) -> Any:
    return _engines[read.url]


@pytest.fixture(autouse=True)
def known_engine(warehouse: WarehouseUnderTest) -> None:
    _engines[warehouse.url] = warehouse.engine


def assert_sound(read: Listening) -> None:
    refresh_aggregates(engine_of(read))
    assert reconcile(engine_of(read)) == []


def replayed(engine: Engine, source: str, now: datetime | None = None) -> list[tuple[LoadCounts, int]]:
    """Replay what waits of a source; return the counts of each file, and how many rows of it still wait."""
    catalog = Catalog(sources=(Source(name="x", dataset="stations", reader="csv", location="x"),), folder=".")  # type: ignore[arg-type]
    outcomes = replay(engine, catalog, run_id=RunId("replay"), source=source, clock=lambda: now or datetime.now(UTC))
    return [(outcome.counts, outcome.waiting) for outcome in outcomes]


def test_quarantined_messages_come_back_when_the_contract_takes_them(read: Listening, statuses: None) -> None:
    assert statuses is None
    assert rows(engine_of(read), "SELECT COUNT(*) FROM fact_transactions") == [(90,)]
    assert replayed(engine_of(read), read.topic) == [(LoadCounts(read=5, inserted=5), 0)] * 2
    assert replayed(engine_of(read), read.topic) == []
    assert rows(engine_of(read), "SELECT COUNT(*) FROM fact_transactions") == [(100,)]
    with engine_of(read).connect() as connection:
        (found,) = explain(connection, "fact_transactions", "TRX-110")
    lineage = dict(found.lineage)
    told = [lineage[name] for name in ("topic", "partition", "offset", "cause", "group")]
    assert told == [read.topic, 1, 10, "replay", read.group]
    assert lineage["as_of"] == datetime.fromtimestamp((SENT_MS + 10) / 1000, UTC)
    assert_sound(read)


def test_an_event_that_contradicts_a_stored_one_stays_in_quarantine(warehouse: WarehouseUnderTest) -> None:
    reader = Reader(warehouse.url, dataset="terminal_events")
    reader.loader.load(reader.batch([terminal_event(1, 1.0), terminal_event(1, 2.0), terminal_event(1, 3.0)], []))
    assert replayed(reader.engine, reader.stream.topic, NOW) == [(LoadCounts(), 2)]
    waiting = rows(reader.engine, "SELECT raw FROM quarantine WHERE replayed_batch_id IS NULL ORDER BY row_number")
    assert [bytes(raw) for (raw,) in waiting] == [terminal_event(1, 2.0), terminal_event(1, 3.0)]
    assert rows(reader.engine, "SELECT pressure_bar FROM fact_terminal_events") == [(1.0,)]
    assert reconcile(reader.engine) == []
    reader.engine.dispose()


def test_of_events_that_contradict_each_other_one_comes_back(
    warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(warehouse.url, dataset="terminal_events")
    reader.loader.load(reader.batch([terminal_event(1, 1_001.0), terminal_event(1, 1_002.0)], []))
    column = next(column for column in contracts()["terminal_events"].columns if column.name == "pressure_bar")
    monkeypatch.setitem(column.__dict__, "maximum", 2_000)
    assert replayed(reader.engine, reader.stream.topic, NOW) == [(LoadCounts(read=1, inserted=1), 1)]
    waiting = rows(reader.engine, "SELECT raw FROM quarantine WHERE replayed_batch_id IS NULL")
    assert [bytes(raw) for (raw,) in waiting] == [terminal_event(1, 1_002.0)]
    assert rows(reader.engine, "SELECT pressure_bar FROM fact_terminal_events") == [(1_001.0,)]
    assert reconcile(reader.engine) == []
    reader.engine.dispose()


def test_rows_that_the_warehouse_still_refuses_wait_and_the_others_come_back(warehouse: WarehouseUnderTest) -> None:
    reader = Reader(warehouse.url)
    forbid(reader.engine, "fact_transactions", "transaction_id IN ('TRX-1', 'TRX-2')")
    reader.loader.load(reader.batch([event(number) for number in range(4)], []))
    allow(reader.engine, "fact_transactions")
    forbid(reader.engine, "fact_transactions", "transaction_id = 'TRX-2'")
    assert replayed(reader.engine, reader.stream.topic, NOW) == [(LoadCounts(read=1, inserted=1), 1)]
    assert replayed(reader.engine, reader.stream.topic, NOW) == [(LoadCounts(), 1)]
    allow(reader.engine, "fact_transactions")
    assert replayed(reader.engine, reader.stream.topic, NOW) == [(LoadCounts(read=1, inserted=1), 0)]
    assert rows(reader.engine, "SELECT COUNT(*) FROM fact_transactions") == [(4,)]
    refresh_aggregates(reader.engine)
    assert reconcile(reader.engine) == []
    reader.engine.dispose()


def test_a_span_that_is_read_again_doubles_nothing(read: Listening) -> None:
    assert again(read, Wanted()) == LoadCounts(read=90, unchanged=90)
    assert again(read, Wanted(partitions=(1,), from_offset=11, until_offset=31)) == LoadCounts(read=18, unchanged=18)
    assert rows(engine_of(read), "SELECT COUNT(*) FROM quarantine") == [(10,)]
    assert_sound(read)


def test_rows_that_went_away_come_back_by_their_time(read: Listening, statuses: None) -> None:
    """Somebody deleted what two seconds brought, and said so; meanwhile the contract learned a status."""
    assert statuses is None
    engine = engine_of(read)
    with transaction(engine) as connection:
        connection.execute(sa.text("DELETE FROM fact_transactions WHERE transaction_id IN ('TRX-5', 'TRX-105')"))
        connection.execute(
            sa.text(
                "INSERT INTO purges (table_name, source, dataset, cause, purged_rows, read_rows, inserted, updated, "
                "unchanged, superseded, quarantined, purged_at) VALUES ('fact_transactions', '', 'transactions', "
                "'by hand', 2, 0, 0, 0, 0, 0, 0, '2026-03-01 00:00:00')"
            )
        )
    span = Wanted(from_time=SENT, until_time=datetime.fromtimestamp((SENT_MS + 11) / 1000, UTC))
    assert again(read, span) == LoadCounts(read=22, inserted=6, unchanged=16)
    assert rows(engine, "SELECT COUNT(*) FROM quarantine WHERE replayed_batch_id IS NULL") == [(6,)]
    assert_sound(read)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Wanted(partitions=(7,)), "the topic has no partition 7: it has 0, 1"),
        (
            Wanted(from_offset=10, until_offset=60),
            "holds the offsets from 0 until 50, and not all of",
        ),
    ],
)
def test_a_span_that_the_broker_does_not_hold_is_refused(read: Listening, wanted: Wanted, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        again(read, wanted)
