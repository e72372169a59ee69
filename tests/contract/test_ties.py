"""Two sources that stand for one instant mix row by row: a check says so before it happens."""

import os
from pathlib import Path

import pytest

from freight.pipeline import check_source, tied_sources
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor

ROW = "TRX-{},MCH-001,2026-02-01 10:00:00,{},OK"


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    """Two sources of transactions, with files of one day that were written at the same time."""
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    for name in ("douala", "yaounde"):
        corridor.add_source(name, "transactions", "csv", f"{name}_*.csv")
        for day in ("01", "02"):
            os.utime(corridor.write_transactions(f"{name}_202602{day}.csv", [ROW.format(1, 5)]), (1e9, 1e9))
    return corridor


def told(corridor: Corridor) -> list[str]:
    catalog = corridor.catalog
    checks = [check for source in catalog.sources for check in check_source(corridor.engine, source, NOW)]
    return tied_sources([check.outcome for check in checks], catalog)


def test_a_check_names_the_files_of_two_sources_that_tie(corridor: Corridor) -> None:
    (tie,) = told(corridor)
    assert "TIE transactions: douala douala_20260201.csv and yaounde yaounde_20260201.csv both stand for 2026-" in tie
    assert (
        "UTC, the first of 2 such pairs of files. Of a row that is in both, the one with the higher row number" in tie
    )


def test_a_tie_with_a_file_that_is_loaded_counts(corridor: Corridor) -> None:
    yaounde = corridor.sources.pop()
    corridor.load()
    corridor.sources.append(yaounde)
    assert len(told(corridor)) == 1


def test_a_fallback_does_not_tie_with_its_source(corridor: Corridor) -> None:
    corridor.sources[0]["fallbacks"] = ["yaounde"]
    assert told(corridor) == []


def test_other_days_and_other_datasets_do_not_tie(corridor: Corridor) -> None:
    corridor.sources[1]["location"] = "yaounde_*02.csv"
    corridor.sources[0]["location"] = "douala_*01.csv"
    corridor.add_source("machines", "machines", "json", "machines_*.json")
    os.utime(corridor.write_machines("machines_20260201.json"), (1e9, 1e9))
    assert told(corridor) == []
