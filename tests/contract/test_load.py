"""What a load does to the warehouse, on both engines."""

import shutil
from pathlib import Path

import pytest

from freight.care.reconcile import reconcile
from freight.readers import delimited
from freight.types import LoadCounts
from freight.warehouse import upsert
from freight.warehouse.schema import metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.tables import empty, watched_writes


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


def test_a_new_file_is_inserted_with_site_local_day_and_alert(corridor: Corridor) -> None:
    corridor.write_transactions(
        "erp_20260202.csv",
        ["TRX-1,MCH-001,2026-02-01 00:15:00,19.5,WARN", "TRX-2,MCH-002,2026-02-01 23:45:00,19.5,OK"],
    )
    report = corridor.load()
    assert report.counts("erp") == LoadCounts(read=2, inserted=2)
    columns = ("transaction_id", "site_location", "installation_year", "day_number", "critical_alert")
    assert corridor.rows("fact_transactions", *columns) == [
        ("TRX-1", "Douala", 2010, 20485, True),
        ("TRX-2", "Bélabo", 2012, 20485, False),
    ]


def test_local_times_around_midnight_keep_their_local_day(corridor: Corridor) -> None:
    corridor.write_transactions(
        "erp_20260203.csv",
        ["TRX-1,MCH-001,2026-02-01 23:59:59,1,OK", "TRX-2,MCH-001,2026-02-02 00:00:00,1,OK"],
    )
    corridor.load()
    assert corridor.rows("fact_transactions", "transaction_id", "CAST(transaction_date AS TEXT)") == [
        ("TRX-1", "2026-02-01"),
        ("TRX-2", "2026-02-02"),
    ]


def test_the_same_run_again_does_nothing(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    before = corridor.rows("fact_transactions")
    report = corridor.load()
    assert [outcome.state for outcome in report.outcomes] == ["unchanged", "unchanged"]
    assert report.changed_stats == 0
    assert corridor.rows("fact_transactions") == before
    assert len(corridor.rows("batches", "batch_id", "source")) == 2


def all_tables_but(*journals: str) -> list[str]:
    return [name for name in metadata.tables if name not in journals]


def test_the_same_run_again_writes_no_row(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    with watched_writes(corridor.engine, all_tables_but("runs")) as written:
        assert corridor.load().failures == []
    assert written == []


@pytest.mark.parametrize("known", [[], [0], [7], [4, 5], [19], [0, 10, 19], [*range(12)], [*range(20)]], ids=str)
def test_rows_are_new_or_known_in_whatever_part_of_a_file_they_are(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch, known: list[int]
) -> None:
    monkeypatch.setattr(delimited, "PARSE_BLOCK_BYTES", 128)  # two rows a frame
    monkeypatch.setattr(upsert, "PART_ROWS", 3)
    stored, rows = ([f"TRX-{n:02},MCH-001,2026-02-01 10:00:00,{volume},OK" for n in range(20)] for volume in (1, 2))
    corridor.write_transactions(
        "erp_20260202.csv", ["TRX-99,MCH-001,2026-02-01 10:00:00,1,OK", *(stored[n] for n in known)]
    )
    corridor.load()
    corridor.write_transactions("erp_20260203.csv", rows)
    assert corridor.load().counts("erp") == LoadCounts(read=20, inserted=20 - len(known), updated=len(known))
    volumes = corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")
    assert volumes == [*((f"TRX-{n:02}", 2) for n in range(20)), ("TRX-99", 1)]
    assert reconcile(corridor.engine) == []


def test_the_same_content_at_another_place_writes_no_row_of_data(corridor: Corridor) -> None:
    rows = ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK", "TRX-2,MCH-001,2026-02-01 11:00:00,,ERR"]
    first = corridor.write_transactions("erp_20260202.csv", rows)
    corridor.load()
    shutil.copystat(first, corridor.write_transactions("erp_copy_20260202.csv", rows))
    with watched_writes(corridor.engine, all_tables_but("runs", "batches", "file_positions")) as written:
        report = corridor.load()
    assert written == []
    assert report.failures == []
    assert report.counts("erp") == LoadCounts(read=2, unchanged=2)


def test_the_watch_over_writes_sees_a_load(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    for table in ("machine_observations", "fact_transactions", "aggr_daily_site_stats"):
        with watched_writes(corridor.engine, [table]) as written:
            corridor.load()
        assert written != []
        empty(corridor.engine)


def test_a_corrected_file_updates_what_differs_and_counts_the_rest_as_unchanged(corridor: Corridor) -> None:
    rows = [f"TRX-{i},MCH-001,2026-02-01 10:00:00,30,OK" for i in range(5)]
    corridor.write_transactions("erp_20260202.csv", rows)
    corridor.load()
    corridor.write_transactions("erp_20260203.csv", [*rows[:4], "TRX-4,MCH-001,2026-02-01 10:00:00,31,OK"])
    assert corridor.load().counts("erp") == LoadCounts(read=5, updated=1, unchanged=4)


def test_an_older_file_that_comes_late_changes_nothing(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260210.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,31,OK"])
    corridor.load()
    corridor.write_transactions("erp_20260205.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    assert corridor.load().counts("erp") == LoadCounts(read=1, superseded=1)
    assert corridor.rows("fact_transactions", "volume_transferred_t", "origin_seq") == [(31.0, 2)]


def test_of_duplicates_within_a_file_the_last_is_kept(corridor: Corridor) -> None:
    corridor.write_transactions(
        "erp_20260202.csv", [f"TRX-1,MCH-001,2026-02-01 10:00:00,{volume},OK" for volume in (1, 3, 2)]
    )
    assert corridor.load().counts("erp") == LoadCounts(read=3, inserted=1, superseded=2)
    assert corridor.rows("fact_transactions", "volume_transferred_t", "1") == [(2.0, 1)]


def test_bad_rows_are_quarantined_with_place_and_reason_and_the_good_ones_load(corridor: Corridor) -> None:
    good = [f"TRX-{i},MCH-001,2026-02-01 10:00:00,30,OK" for i in range(8)]
    corridor.write_transactions("erp_20260202.csv", [*good[:4], "TRX-90,MCH-001,2026-02-30 10:00:00,1,OK", *good[4:]])
    assert corridor.load().counts("erp") == LoadCounts(read=9, inserted=8, quarantined=1)
    columns = ("location", "row_number", "column_name", "reason")
    assert corridor.rows("quarantine", *columns) == [("erp_20260202.csv", 6, "transaction_at", "wrong_type")]


def test_a_file_above_the_limit_loads_nothing_is_reported_once_and_parked(corridor: Corridor) -> None:
    rows = ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK", "TRX-2,MCH-001,yesterday,30,OK"]
    corridor.write_transactions("erp_20260202.csv", rows)
    corridor.write_transactions("erp_20260203.csv", ["TRX-3,MCH-001,2026-02-02 10:00:00,30,OK"])
    first = corridor.load()
    assert [outcome.location for outcome in first.failures] == ["erp_20260202.csv"]
    assert "1 of 2 rows breaks the contract, the limit is 30%: wrong_type 1" in first.failures[0].message
    assert corridor.rows("fact_transactions", "transaction_id", "1") == [("TRX-3", 1)]
    assert corridor.rows("load_attempt_rows", "row_number", "reason") == [(3, "wrong_type")]
    second = corridor.load()
    assert second.failures == []
    assert [o.state for o in second.outcomes if o.location == "erp_20260202.csv"] == ["parked"]


def test_an_unknown_machine_loads_under_an_unknown_site_and_moves_when_it_becomes_known(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-777,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    assert corridor.rows("aggr_daily_site_stats", "site_location", "total_transactions") == [("UNKNOWN", 1)]
    machine = {"machine_id": "MCH-777", "site_location": "Edéa", "installation_year": 2020}
    corridor.write_machines("machines_20260301.json", [machine])
    corridor.load()
    assert corridor.rows("fact_transactions", "site_location", "installation_year") == [("Edéa", 2020)]
    assert corridor.rows("aggr_daily_site_stats", "site_location", "total_transactions") == [("Edéa", 1)]


def test_a_moved_row_leaves_its_old_day_and_enters_the_new_one(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    corridor.write_transactions("erp_20260203.csv", ["TRX-1,MCH-002,2026-02-02 10:00:00,30,OK"])
    corridor.load()
    assert corridor.rows("aggr_daily_site_stats", "day_number", "site_location") == [(20486, "Bélabo")]


def test_a_file_that_returns_to_an_earlier_content_is_loaded_again(corridor: Corridor) -> None:
    for volume in (1, 2, 1):
        corridor.write_transactions("erp_20260202.csv", [f"TRX-1,MCH-001,2026-02-01 10:00:00,{volume},OK"])
        corridor.load()
        assert corridor.rows("fact_transactions", "volume_transferred_t", "1") == [(volume, 1)]
    assert len([row for row in corridor.rows("batches", "batch_id", "source") if row[1] == "erp"]) == 3
