"""Numbers of CSV files that can be read in two ways load right or not at all, and the remedy that is named works."""

from datetime import datetime
from pathlib import Path

import pytest

from freight.care.reconcile import reconcile
from freight.quarantine.replay import replay
from freight.types import RunId
from freight.warehouse import ledger
from freight.warehouse.connect import transaction
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor, nightly

HEADER = "id;machine;date;volume;statut\n"
THOUSANDS = ("1.250", "2.400", "1.875", "987,5")  # tonnes of a German or a French export


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


def write(corridor: Corridor, *volumes: str) -> None:
    lines = [f"TRX-{n};MCH-001;2026-02-01 10:00:00;{volume};OK\n" for n, volume in enumerate(volumes)]
    corridor.write("erp_20260202.csv", HEADER + "".join(lines))


def volumes(corridor: Corridor) -> dict[str, float]:
    return dict(corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t"))


def release(corridor: Corridor) -> None:
    with transaction(corridor.engine) as connection:
        ledger.release(connection, None, NOW)


def test_a_file_without_proof_is_refused_and_its_option_loads_the_right_values(corridor: Corridor) -> None:
    write(corridor, *THOUSANDS)
    (failure,) = corridor.load().failures
    assert "row 2, column 'volume': '1.250' can be 1.250 or 1250" in failure.message
    assert 'options: {decimal: ","}' in failure.message
    assert volumes(corridor) == {}
    corridor.sources[-1]["options"] = {"decimal": ","}
    release(corridor)
    assert corridor.load().failures == []
    assert volumes(corridor) == {"TRX-0": 1250, "TRX-1": 2400, "TRX-2": 1875, "TRX-3": 987.5}


def test_a_number_that_proves_both_marks_decides_for_the_file(corridor: Corridor) -> None:
    write(corridor, *THOUSANDS, "1.250,5")
    assert corridor.load().failures == []
    assert volumes(corridor) == {"TRX-0": 1250, "TRX-1": 2400, "TRX-2": 1875, "TRX-3": 987.5, "TRX-4": 1250.5}


def test_a_row_whose_number_is_disputed_waits_and_no_replay_reads_it_otherwise(corridor: Corridor) -> None:
    write(corridor, "12.5", "13.5", "14.5", "15.5", "16.5", "31,5", "1.250")
    report = corridor.load()
    assert report.failures == []
    assert (report.counts("erp").inserted, report.counts("erp").quarantined) == (5, 2)
    (outcome,) = replay(corridor.engine, corridor.catalog, run_id=RunId("replay-1"), source=None, clock=clock)
    assert (outcome.counts.read, outcome.waiting) == (0, 2)
    assert sorted(volumes(corridor).values()) == [12.5, 13.5, 14.5, 15.5, 16.5]
    assert reconcile(corridor.engine) == []


def test_a_thousand_among_decimals_of_the_other_mark_waits_for_the_option(corridor: Corridor) -> None:
    write(corridor, "12,5", "13,5", "14,5", "15,5", "1.250")
    corridor.load()
    assert corridor.rows("quarantine", "reason", order_by="1") == [("two_readings",)]
    corridor.sources[-1]["options"] = {"decimal": ","}
    replay(corridor.engine, corridor.catalog, run_id=RunId("replay-1"), source=None, clock=clock)
    assert sorted(volumes(corridor).values()) == [12.5, 13.5, 14.5, 15.5, 1250]


def clock() -> datetime:
    return NOW
