"""Times of messages and days in them, and messages over which the product itself fails: none stops a stream."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from freight.care.reconcile import reconcile
from freight.contracts import Contract
from freight.quarantine.replay import replay
from freight.transforms import derive
from freight.types import LoadCounts, RunId, instant_of, origin_us_of
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import reading
from freight.warehouse.explain import explain
from tests.conftest import NewReader
from tests.lib.corridor import NOW, nightly
from tests.lib.stream_reader import Reader, terminal_event
from tests.lib.streams import event, rows

NOW_US = origin_us_of(NOW)
DAY_US = 86_400_000_000
QUARANTINED = "SELECT row_number, origin_us, reason, detail FROM quarantine ORDER BY row_number"


def replayed(reader: Reader, folder: Path) -> int:
    """Try the quarantined messages again; return the number that loads."""
    catalog = nightly(folder, reader.engine).catalog
    outcomes = replay(reader.engine, catalog, run_id=RunId("again"), source=None, clock=lambda: NOW)
    return sum(outcome.counts.inserted for outcome in outcomes)


@pytest.mark.parametrize("dataset", ["transactions", "terminal_events"])
@pytest.mark.parametrize(
    ("sent_us", "told"),
    [
        (NOW_US + DAY_US + 1_000, "is more than a day ahead"),
        (NOW_US * 1_000, "is more than a day ahead, like microseconds or nanoseconds in place of milliseconds"),
        (
            9_223_372_036_854_775_000,
            "is more than a day ahead, like microseconds or nanoseconds in place of milliseconds",
        ),
    ],
)
def test_a_message_from_the_future_is_quarantined_and_loads_by_replay_without_its_time(
    new_reader: NewReader, tmp_path: Path, dataset: str, sent_us: int, told: str
) -> None:
    reader, make = new_reader(dataset=dataset), event if dataset == "transactions" else terminal_event
    loaded = reader.loader.load(reader.batch([make(1)], [make(2)], sent_us=sent_us))
    assert loaded == LoadCounts(read=2, quarantined=2)
    found = rows(reader.engine, QUARANTINED)
    assert [row[:3] for row in found] == [(0, 0, "sent_at_out_of_range")] * 2
    assert f"its time, {sent_us // 1_000} ms since 1970, is more" in str(found[0][3])
    assert told in str(found[0][3])
    assert reader.loader.load(reader.batch([make(3)], [], sent_us=NOW_US)) == LoadCounts(read=1, inserted=1)
    assert replayed(reader, tmp_path) == 2
    refresh_aggregates(reader.engine)
    assert reconcile(reader.engine) == []
    table = reader.stream.contract.table
    assert [row[0] for row in rows(reader.engine, f"SELECT origin_us FROM {table} ORDER BY 1")] == [0, 0, NOW_US]


def test_a_message_without_a_usable_time_makes_no_others_look_old(new_reader: NewReader) -> None:
    batch = new_reader().batch([event(1), event(2)], [], sent_us=NOW_US + DAY_US)  # the second one is ahead
    assert (batch.bad_rows.height, batch.ranges[0].oldest_sent_us) == (1, NOW_US + DAY_US)


@pytest.mark.parametrize("sent_us", [0, 1, NOW_US + DAY_US])
def test_a_time_of_long_ago_and_one_within_a_day_are_taken(new_reader: NewReader, sent_us: int) -> None:
    reader = new_reader()
    assert reader.loader.load(reader.batch([event(1)], [], sent_us=sent_us)) == LoadCounts(read=1, inserted=1)


@pytest.mark.parametrize("origin_us", [-(2**63), -1, 2**63 - 1])
def test_a_time_that_an_earlier_release_stored_stops_nothing(new_reader: NewReader, origin_us: int) -> None:
    reader = new_reader()
    reader.loader.load(reader.batch([event(1)], [], sent_us=1))
    with reader.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE fact_transactions SET origin_us = {origin_us}")
    refresh_aggregates(reader.engine)
    assert {finding.check for finding in reconcile(reader.engine)} <= {"origins"}
    with reading(reader.engine) as connection:
        assert explain(connection, "fact_transactions", "TRX-1")
    assert abs(instant_of(origin_us) - NOW) > timedelta(days=1)


def test_a_message_over_which_the_code_fails_is_quarantined_alone(
    new_reader: NewReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails_over_one(valid: pl.DataFrame, contract: Contract) -> pl.DataFrame:
        if "TRX-3" in valid["transaction_id"].to_list():
            raise OverflowError("date value out of range")
        return derive(valid, contract)

    monkeypatch.setattr("freight.streaming.conform.derive", fails_over_one)
    reader = new_reader()
    batch = reader.batch([event(number) for number in range(6)], [b"bad", event(7)])
    assert reader.loader.load(batch) == LoadCounts(read=8, inserted=6, quarantined=2)
    found = rows(reader.engine, "SELECT location, row_number, reason, detail FROM quarantine ORDER BY 1, 2")
    assert found[0] == ("freight.transactions/0", 3, "unprocessable", "OverflowError: date value out of range")
    assert found[1][:3] == ("freight.transactions/1", 0, "not_json")
    assert "the message at offset 3 cannot be processed" in caplog.text
    monkeypatch.undo()
    assert replayed(reader, tmp_path) == 1
    assert rows(reader.engine, "SELECT count(*) FROM fact_transactions") == [(7,)]


@pytest.mark.parametrize("day_first", [True, False])
def test_a_day_of_a_message_with_two_readings_is_quarantined_until_the_listener_is_told(
    new_reader: NewReader, tmp_path: Path, day_first: bool
) -> None:
    days = ["03/02/2026 08:00", "13/02/2026 08:00", "02/02/2026 08:00", "2026-02-04 08:00:00"]
    messages = [event(number, at=day) for number, day in enumerate(days, start=1)]
    reader = new_reader()
    assert reader.loader.load(reader.batch(messages, [])) == LoadCounts(read=4, inserted=3, quarantined=1)
    ((reason, detail),) = rows(reader.engine, "SELECT reason, detail FROM quarantine")
    assert (reason, detail) == ("two_readings", "transaction_at: two_readings")
    assert replayed(reader, tmp_path) == 0
    told = new_reader("another", day_first=day_first)
    loaded = told.loader.load(told.batch(messages[::3], [], sent_us=2))
    assert loaded == LoadCounts(read=2, inserted=1, unchanged=1)
    expected = "2026-02-03" if day_first else "2026-03-02"
    stored = rows(told.engine, "SELECT transaction_date FROM fact_transactions WHERE transaction_id = 'TRX-1'")
    assert str(stored[0][0]) == expected
    found = rows(told.engine, "SELECT read_as FROM batches ORDER BY batch_id")[-1]
    assert f'"day_first":{str(day_first).lower()},"days_disputed":false' in found[0]
