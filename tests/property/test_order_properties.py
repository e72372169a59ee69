"""However a stream is cut, and whenever files and replays come between: the tables are those of an oracle."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from freight.care.reconcile import reconcile
from freight.streaming.micro_batch import BatchLimits
from freight.streaming.replay_range import Wanted, replay_range
from freight.types import LoadCounts, RunId, origin_us_of
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, transaction
from tests.conftest import NewReader, WarehouseUnderTest
from tests.lib.corridor import NOW
from tests.lib.examples import examples
from tests.lib.memory_broker import MemoryBroker, MemoryReader
from tests.lib.stream_reader import TOPIC_ID, Reader, terminal_event
from tests.lib.streams import event, rows
from tests.lib.tables import content_of
from tests.property.test_upsert_properties import Delivery, Row, fresh, local_midnight_us, ranked

# An engine of an example may go before its pool is closed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function BaseConnection:pytest.PytestUnraisableExceptionWarning"
)

PARTITIONS = range(2)
HOUR = timedelta(hours=1)
DAY_US = 86_400_000_000
OUT_OF_RANGE_US = origin_us_of(NOW) + 2 * DAY_US
FIRST_EVENT = datetime(2026, 2, 1, 5, tzinfo=UTC)
COMPARED = ("fact_transactions", "fact_terminal_events", "aggr_daily_site_stats", "quarantine")

order_by_order = examples(
    45, quick=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass(frozen=True)
class Sent:
    """A message: a key of its partition, the day of its producer's clock (0 for none), its content and its event."""

    key: int
    clock_day: int
    content: int
    hour: int

    @property
    def sent_us(self) -> int:
        if self.clock_day > 4:
            return OUT_OF_RANGE_US
        return local_midnight_us(20 + self.clock_day) + 1 if self.clock_day else 0

    @property
    def at(self) -> datetime:
        return FIRST_EVENT + self.hour * HOUR

    def value(self, dataset: str, partition: int) -> bytes:
        number = 1 + partition + len(PARTITIONS) * self.key
        if dataset == "transactions":
            return event(number, float(self.content), at=f"{self.at:%Y-%m-%dT%H:%M:%SZ}")
        return terminal_event(number, float(self.content), at=f"{FIRST_EVENT + number * 2 * HOUR:%Y-%m-%dT%H:%M:%SZ}")


messages = st.builds(
    Sent,
    key=st.integers(0, 1),
    clock_day=st.sampled_from([0, 1, 1, 2, 2, 3, 3, 4, 5]),
    content=st.sampled_from([1, 1, 2, 2, 3, -1]),  # a negative one breaks the contracts
    hour=st.sampled_from([0, 1, 2, 3]),
)
logs = st.lists(st.lists(messages, max_size=7), min_size=len(PARTITIONS), max_size=len(PARTITIONS))
file_rows = st.builds(
    Row,
    number=st.integers(1, 4),
    machine_id=st.just("MCH-001"),
    local_day=st.just(1),
    local_hour=st.sampled_from([6, 7]),
    quarter_tonnes=st.sampled_from([4, 8]),
    status=st.just("OK"),
)
files = st.lists(
    st.builds(
        Delivery,
        rows=st.lists(file_rows, min_size=1, max_size=4).map(tuple),
        day=st.integers(1, 4),
        dated_by_name=st.just(True),
    ),
    max_size=2,
)


some_of_each = st.sampled_from([(4, 4), (3, 1), (1, 3), (2, 0), (0, 2), (1, 1)])


@contextmanager
def reader_of(warehouse: WarehouseUnderTest, dataset: str) -> Iterator[Reader]:
    reader = Reader(warehouse.url, dataset=dataset)
    try:
        yield reader
    finally:
        reader.engine.dispose()


def log_of(dataset: str, sent: Sequence[Sent], partition: int) -> list[tuple[int, bytes | None]]:
    return [(message.sent_us, message.value(dataset, partition)) for message in sent]


def is_unread(reader: Reader, sent: Sequence[Sequence[Sent]]) -> bool:
    return any(reader.next[partition] < len(sent[partition]) for partition in PARTITIONS)


def load_next(reader: Reader, dataset: str, sent: Sequence[Sequence[Sent]], counts: Sequence[int]) -> None:
    """Commit the next messages of each partition together; at least one, if there is one."""
    if not any(count and reader.next[p] < len(sent[p]) for p, count in enumerate(counts)):
        counts = counts[::-1]
    taken = []
    for partition, count in enumerate(counts):
        start = reader.next[partition]
        taken.append(log_of(dataset, sent[partition], partition)[start : start + count])
    reader.loader.load(reader.timed_batch(*taken))


def read_again(reader: Reader, dataset: str, sent: Sequence[Sequence[Sent]], start: int, rows_at_once: int) -> None:
    """Lose the rows of the messages from an offset on, and read these messages again."""
    broker = MemoryBroker(partitions=len(PARTITIONS), topic_id=TOPIC_ID)
    for partition in PARTITIONS:
        broker.produce(partition, log_of(dataset, sent[partition], partition))
    with transaction(reader.engine) as connection:
        connection.execute(
            sa.text(
                f"DELETE FROM {reader.stream.contract.table} WHERE origin_seq >= :start "
                "AND batch_id IN (SELECT batch_id FROM stream_batches)"
            ),
            {"start": start},
        )
    for partition in PARTITIONS:
        if start < len(sent[partition]):
            wanted = Wanted((partition,), from_offset=start)
            limits = BatchLimits(rows=rows_at_once)
            replay_range(
                reader.engine,
                reader.stream,
                RunId("again"),
                MemoryReader(broker),
                wanted,
                limits=limits,
                clock=lambda: NOW,
            )


def tables(engine: Engine) -> dict[str, Any]:
    refresh_aggregates(engine)
    content = content_of(engine)
    names = "partition_number, next_offset, newest_sent_us, newest_event_us"
    positions = rows(engine, f"SELECT {names} FROM stream_positions ORDER BY 1")
    return {**{name: content[name] for name in COMPARED}, "positions": positions}


def usable(sent: Sent) -> bool:
    return sent.sent_us != OUT_OF_RANGE_US and sent.content > 0


def with_origins(sent: Sequence[Sent]) -> Iterator[tuple[int, int, bool, Sent]]:
    """Yield origin, offset, lateness and content of the usable messages of a partition."""
    newest_us, newest_event = 0, FIRST_EVENT
    for offset, message in enumerate(sent):
        newest_us = max(newest_us, 0 if message.sent_us == OUT_OF_RANGE_US else message.sent_us)
        if usable(message):
            newest_event = max(newest_event, message.at)
            yield newest_us, offset, message.at < newest_event - HOUR, message


def expected_facts(sent: Sequence[Sequence[Sent]], delivered: Sequence[Delivery]) -> dict[str, tuple[Any, ...]]:
    """The oracle: of each key the greatest version stays, with all that belongs to it."""
    versions: dict[str, list[tuple[Any, ...]]] = {}
    for partition, log in enumerate(sent):
        for origin_us, offset, is_late, message in with_origins(log):
            key = json.loads(message.value("transactions", partition))["transaction_id"]
            versions.setdefault(key, []).append((origin_us, offset, 0, float(message.content), is_late))
    for file in delivered:
        for number, row in enumerate(file.rows, 2):
            version = (file.origin_us, number, row.content_hash, row.volume, False)
            versions.setdefault(row.key, []).append(version)
    newest = {key: max(found, key=lambda version: version[:3]) for key, found in versions.items()}
    return {key: (*version[:2], *version[3:]) for key, version in newest.items()}


@given(sent=logs, delivered=files, data=st.data())
@order_by_order
def test_any_order_of_files_cuts_and_replays_gives_the_tables_of_the_oracle(
    warehouse: WarehouseUnderTest,
    tmp_path: Path,
    sent: list[list[Sent]],
    delivered: list[Delivery],
    data: st.DataObject,
) -> None:
    found = []
    for _ in range(2):
        with fresh(warehouse, tmp_path) as corridor, reader_of(warehouse, "transactions") as reader:
            left = ranked(delivered, range(len(delivered)))
            while left or is_unread(reader, sent):
                has_file_now = data.draw(st.booleans())
                if left and has_file_now:
                    left.pop(data.draw(st.integers(0, len(left) - 1))).write(corridor)
                    corridor.load()
                load_next(reader, "transactions", sent, data.draw(some_of_each))
            refresh_aggregates(reader.engine)
            assert reconcile(reader.engine) == []
            read_again(reader, "transactions", sent, data.draw(st.integers(0, 6)), data.draw(st.integers(1, 5)))
            found.append(tables(reader.engine))
            names = "origin_us, origin_seq, volume_transferred_t, is_late"
            stored = rows(reader.engine, f"SELECT transaction_id, {names} FROM fact_transactions")
            assert {key: tuple(rest) for key, *rest in stored} == expected_facts(sent, delivered)
    assert found[0] == found[1]


@given(sent=logs, data=st.data())
@order_by_order
def test_immutable_events_are_the_same_however_their_stream_is_cut(
    warehouse: WarehouseUnderTest, tmp_path: Path, sent: list[list[Sent]], data: st.DataObject
) -> None:
    found = []
    for cuts in (st.just((9, 9)), some_of_each):
        with fresh(warehouse, tmp_path), reader_of(warehouse, "terminal_events") as reader:
            while is_unread(reader, sent):
                load_next(reader, "terminal_events", sent, data.draw(cuts))
            refresh_aggregates(reader.engine)
            assert reconcile(reader.engine) == []
            read_again(reader, "terminal_events", sent, data.draw(st.integers(0, 6)), data.draw(st.integers(1, 5)))
            found.append(tables(reader.engine))
    assert found[0] == found[1]


@pytest.mark.parametrize("cuts", [[3], [1, 1, 1], [2, 1], [1, 2]])
def test_an_event_that_comes_again_after_a_contradiction(new_reader: NewReader, cuts: list[int]) -> None:
    reader = new_reader(dataset="terminal_events")
    sent = [[Sent(0, 1, content, 0) for content in (1, 2, 1)], []]
    for count in cuts:
        load_next(reader, "terminal_events", sent, (count, 0))
    assert rows(reader.engine, "SELECT pressure_bar, origin_seq FROM fact_terminal_events") == [(1.0, 2)]
    assert rows(reader.engine, "SELECT row_number, reason FROM quarantine") == [(1, "conflicting_event")]


def test_a_time_that_was_out_of_range_orders_nothing_when_it_is_read_again_later(new_reader: NewReader) -> None:
    reader = new_reader()
    sent = [[Sent(0, 2, 1, 0), Sent(1, 5, 2, 0), Sent(0, 1, 3, 0)], []]
    load_next(reader, "transactions", sent, (3, 0))
    broker = MemoryBroker(partitions=len(PARTITIONS), topic_id=TOPIC_ID)
    broker.produce(0, log_of("transactions", sent[0], 0))
    two_days_later = NOW + timedelta(days=2)
    again = (reader.engine, reader.stream, RunId("again"), MemoryReader(broker), Wanted((0,), from_offset=1))
    assert replay_range(*again, clock=lambda: two_days_later) == LoadCounts(read=1, unchanged=1)
    origin_us = sent[0][0].sent_us
    stored = rows(reader.engine, "SELECT transaction_id, origin_us, origin_seq FROM fact_transactions")
    assert stored == [("TRX-1", origin_us, 2)]
    assert rows(reader.engine, "SELECT row_number, replayed_batch_id FROM quarantine") == [(1, None)]
