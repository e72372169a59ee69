"""Errors at every statement, other writers at every key, and a broker or a warehouse that fails for a while."""

import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from freight.care.reconcile import reconcile
from freight.errors import PositionFenced, TransientError
from freight.streaming import listener
from freight.types import LoadCounts
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import Engine, closing, open_engine
from freight.warehouse.migrate import migrate
from freight.warehouse.stream_load import MicroBatch
from tests.conftest import Measured, NewReader, WarehouseUnderTest
from tests.lib.kafka import OwnKafka
from tests.lib.kafka_under_test import KafkaUnderTest, SharedKafka
from tests.lib.kills import remount, small_disk
from tests.lib.postgres import PostgresServer
from tests.lib.stream_reader import Reader, terminal_event
from tests.lib.streams import Battery, Listening, event, rows

PROBED_S = 60.0  # a listener whose loop has not turned for so long is started again


@contextmanager
def failing_at(engine: Engine, number: int, error: Exception) -> Iterator[list[str]]:
    """Let the n-th statement fail; give the statements that were tried."""
    tried: list[str] = []

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        tried.append(statement)
        if len(tried) == number:
            raise error

    sa.event.listen(engine, "before_cursor_execute", fail)
    try:
        yield tried
    finally:
        sa.event.remove(engine, "before_cursor_execute", fail)


def deadlock() -> Exception:
    return sa.exc.OperationalError("statement", None, psycopg.errors.DeadlockDetected("deadlock detected"))


def content(engine: Engine) -> list[object]:
    names = ("fact_transactions", "quarantine", "batches", "stream_batches", "dirty_marks")
    counted = [rows(engine, f"SELECT COUNT(*) FROM {name}") for name in names]
    return [*counted, rows(engine, "SELECT partition_number, next_offset FROM stream_positions ORDER BY 1")]


def test_an_error_at_any_statement_leaves_nothing_and_the_next_try_loads_everything(new_reader: NewReader) -> None:
    """First with new keys, then with stored ones, which takes the way over staging."""
    reader = new_reader()
    for volume in (1.0, 2.0):
        batch = reader.batch([event(1, volume), b"bad"], [event(2, volume)], sent_us=int(volume) * 1_000)
        before = content(reader.engine)
        for number in itertools.count(1):
            with failing_at(reader.engine, number, deadlock()) as tried:
                failed = fails(reader, batch)
            if not failed:
                break
            assert content(reader.engine) == before, tried[-1]
        assert number > 8
    facts = "SELECT transaction_id, volume_transferred_t FROM fact_transactions ORDER BY 1"
    assert rows(reader.engine, facts) == [("TRX-1", 2.0), ("TRX-2", 2.0)]
    refresh_aggregates(reader.engine)
    assert reconcile(reader.engine) == []


def fails(reader: Reader, batch: MicroBatch) -> bool:
    """Whether a load ends in an error that is worth another try."""
    try:
        reader.loader.load(batch)
    except TransientError:
        return True
    return False


def test_a_load_whose_answer_was_lost_is_not_loaded_again(new_reader: NewReader) -> None:
    reader = new_reader()
    batch = reader.batch([event(1), b"bad"], [event(2)])
    assert reader.loader.load(batch) == LoadCounts(read=3, inserted=2, quarantined=1)
    before = content(reader.engine)
    assert reader.loader.load(batch) == LoadCounts()
    assert content(reader.engine) == before


def test_another_listener_at_the_same_offsets_is_fenced(new_reader: NewReader) -> None:
    first, second = new_reader(), new_reader()
    late = second.batch([event(3)], [event(4)])
    first.loader.load(first.batch([event(1)], [event(2)]))
    with pytest.raises(PositionFenced, match="another listener of dpa has read these offsets"):
        second.loader.load(late)
    with pytest.raises(PositionFenced):
        second.loader.load(late)
    assert rows(first.engine, "SELECT transaction_id FROM fact_transactions ORDER BY 1") == [("TRX-1",), ("TRX-2",)]


def test_eight_writers_of_the_same_keys_surface_no_deadlock(new_reader: NewReader) -> None:
    batches, keys = 12, 40
    readers = [new_reader(f"group-{number}") for number in range(8)]
    made = [
        [
            reader.batch(
                *([event(key, float(100 * number + turn)) for key in range(half, keys, 2)] for half in (0, 1)),
                sent_us=1_000_000 * turn + number * 1_000,
            )
            for turn in range(batches)
        ]
        for number, reader in enumerate(readers)
    ]
    surfaced: list[BaseException] = []

    def write(reader: Reader, mine: list[MicroBatch]) -> None:
        try:
            for batch in mine:
                until_loaded(reader, batch)
        except BaseException as error:
            surfaced.append(error)

    threads = [threading.Thread(target=write, args=pair) for pair in zip(readers, made, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert surfaced == []
    engine = readers[0].engine
    facts = rows(engine, "SELECT transaction_id, volume_transferred_t FROM fact_transactions")
    newest = float(100 * 7 + batches - 1)
    assert sorted(facts) == sorted((f"TRX-{key}", newest) for key in range(keys))
    refresh_aggregates(engine)
    assert reconcile(engine) == []


def until_loaded(reader: Reader, batch: MicroBatch) -> None:
    """Try again as the listener does."""
    while True:
        try:
            reader.loader.load(batch)
            return
        except TransientError:
            continue


def test_an_event_never_changes_and_one_that_contradicts_it_is_quarantined(new_reader: NewReader) -> None:
    reader = new_reader(dataset="terminal_events")
    first = reader.batch([terminal_event(1), terminal_event(1), terminal_event(2, 1.0)], [terminal_event(3)])
    assert reader.loader.load(first) == LoadCounts(read=4, inserted=3, unchanged=1)
    again = reader.batch([terminal_event(2, 1.0), terminal_event(2, 2.0)], [terminal_event(4), terminal_event(4, 5.0)])
    assert reader.loader.load(again) == LoadCounts(read=4, inserted=1, unchanged=1, quarantined=2)
    stored = rows(reader.engine, "SELECT event_id, pressure_bar FROM fact_terminal_events ORDER BY 1")
    assert stored == [("EVT-1", 100.0), ("EVT-2", 1.0), ("EVT-3", 100.0), ("EVT-4", 100.0)]
    found = rows(reader.engine, "SELECT location, row_number, reason, raw FROM quarantine ORDER BY 1")
    assert [(place, offset, reason, bytes(raw)) for place, offset, reason, raw in found] == [
        ("freight.terminal_events/0", 4, "conflicting_event", terminal_event(2, 2.0)),
        ("freight.terminal_events/1", 2, "conflicting_event", terminal_event(4, 5.0)),
    ]
    assert reconcile(reader.engine) == []


def test_an_event_outside_the_time_that_is_kept_is_quarantined(new_reader: NewReader) -> None:
    reader = new_reader(dataset="terminal_events")
    outside = [terminal_event(1, at="2025-01-20T10:00:00Z"), terminal_event(2, at="2026-03-02T12:00:01Z")]
    inside = [terminal_event(3, at="2025-01-25T13:00:00Z"), terminal_event(4, at="2026-03-02T11:59:59Z")]
    counts = reader.loader.load(reader.batch(outside, inside))
    assert rows(reader.engine, "SELECT reason FROM quarantine ORDER BY row_number") == [("too_old",), ("future",)]
    assert counts == LoadCounts(read=4, inserted=2, quarantined=2)


def lasting(short_s: float, long_s: float) -> pytest.MarkDecorator:
    """Let a test take a short outage, and with the chaos tests a long one."""
    chaos = [pytest.mark.chaos, pytest.mark.timeout(1_200)]
    return pytest.mark.parametrize(
        "seconds", [short_s, pytest.param(long_s, marks=chaos)], ids=lambda seconds: f"{seconds} s"
    )


def outlive(found: Listening, outage: AbstractContextManager[object], trouble: str, seconds: float) -> float:
    """Take away what a listener needs; it lives on and says so; return how long its loop stood still at most."""
    longest = 0.0
    with outage:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or trouble not in found.status.now().state:
            still = datetime.now(UTC) - found.status.now().polled_at
            longest = max(longest, still.total_seconds())
            assert found.error is None
            assert longest < PROBED_S, found.status.now()
            assert time.monotonic() < deadline + PROBED_S, found.status.now()
            time.sleep(0.05)
    return longest


def read_on(battery: Battery, found: Listening, longest: float) -> str:
    """After an outage wait until everything is read, new events as well; return the figures in words."""
    started = time.monotonic()
    battery.produce(1_000)
    found.wait_until(lambda: battery.is_read and found.status.now().state == "listening")
    took = time.monotonic() - started
    return (
        f"{battery.produced.messages} events, lost 0, doubled 0, quarantined for it 0, "
        f"its loop stood still for {longest:.1f} s at most, everything was read {took:.1f} s later"
    )


@contextmanager
def silent(kafka: KafkaUnderTest) -> Iterator[None]:
    kafka.pause()
    try:
        yield
    finally:
        kafka.resume()


@lasting(8, 300)
def test_a_broker_that_falls_silent_is_waited_for(
    postgres_warehouse: WarehouseUnderTest,
    own_kafka: OwnKafka,
    monkeypatch: pytest.MonkeyPatch,
    measured: Measured,
    seconds: float,
) -> None:
    monkeypatch.setattr(listener, "IDENTITY_EVERY_S", 1.0)
    kafka = own_kafka()
    battery = Battery(kafka, postgres_warehouse.engine, postgres_warehouse.url)
    # It fetches little ahead, so that much is unread when the broker falls silent.
    found = battery.listening(client={"max.partition.fetch.bytes": "10000", "queued.min.messages": "1"})
    with found.running():
        battery.produce(8_000)
        found.wait_until(lambda: battery.read > 0)
        longest = outlive(found, silent(kafka), "waiting: Kafka", seconds)
        assert not battery.is_read
        figures = read_on(battery, found, longest)
    battery.assert_nothing_is_lost_or_doubled()
    measured(figures)


@lasting(2, 60)
def test_a_warehouse_that_takes_no_writes_after_a_failover_is_left_for_one_that_does(
    postgres_server: PostgresServer,
    postgres_warehouse: WarehouseUnderTest,
    kafka: SharedKafka,
    measured: Measured,
    seconds: float,
) -> None:
    """Connections of the time when it took none keep to that, so whoever stays with them waits for ever."""
    battery = Battery(kafka, postgres_warehouse.engine, postgres_warehouse.url)
    found = battery.listening()
    with found.running():
        battery.produce(1_000)
        found.wait_until(lambda: battery.read > 0)
        standby = postgres_server.read_only(postgres_warehouse.url)
        battery.produce(2_000)
        longest = outlive(found, standby, "read-only", seconds)
        figures = read_on(battery, found, longest)
    battery.assert_nothing_is_lost_or_doubled()
    measured(figures)


@pytest.fixture(params=["sqlite", "postgresql"])
def cramped(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A warehouse, and the small disk that holds its files."""
    if request.param == "sqlite":
        with small_disk(tmp_path / "small", "64m") as disk:
            yield f"sqlite:///{(disk / 'warehouse.sqlite').as_posix()}", disk
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with small_disk(server.folder / f"small-{os.getpid()}", "64m") as disk, server.database_on(disk) as url:
        yield url, disk


@contextmanager
def full(disk: Path, battery: Battery) -> Iterator[None]:
    """A disk without room for the events that come now."""
    remount(disk, f"size={shutil.disk_usage(disk).used + 256_000}")
    try:
        battery.produce(8_000)
        yield
    finally:
        remount(disk, "size=64m")


@lasting(1, 60)
def test_a_full_disk_of_the_warehouse_is_waited_for(
    cramped: tuple[str, Path], kafka: SharedKafka, measured: Measured, seconds: float
) -> None:
    url, disk = cramped
    with closing(open_engine(url)) as engine:
        migrate(engine)
        battery = Battery(kafka, engine, url)
        found = battery.listening()
        with found.running():
            battery.produce(500)
            found.wait_until(lambda: battery.is_read)
            longest = outlive(found, full(disk, battery), "waiting: ", seconds)
            assert not battery.is_read
            figures = read_on(battery, found, longest)
        battery.assert_nothing_is_lost_or_doubled()
    measured(figures)
