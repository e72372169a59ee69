"""`dpa run` loads what the nightly flow loads, with the same summary and exit codes, and without Prefect."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.dpa import Dpa

GOOD = "TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"
BAD = "TRX-2,MCH-001,never,1,OK"
WHAT_WAS_IMPORTED = """
import sys
from freight.console.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", [GOOD])
    assert corridor.catalog.sources
    return corridor


@pytest.fixture
def dpa(tmp_path: Path, warehouse: WarehouseUnderTest) -> Dpa:
    return Dpa(tmp_path, warehouse.url)


def loaded(corridor: Corridor) -> list[str]:
    return [key for key, _ in corridor.rows("fact_transactions", "transaction_id", "1")]


def test_it_loads_all_sources_with_progress_summary_and_report(corridor: Corridor, dpa: Dpa) -> None:
    done = dpa("run")
    assert done.returncode == 0, done
    assert "[1/2] machines_20260101.json: loaded, 2 rows" in done.stdout
    assert "3 rows read: 3 changed the warehouse, 0 quarantined" in done.stdout
    assert f"report     {corridor.folder / 'reports' / 'supply_chain_report.xlsx'}" in done.stdout
    assert loaded(corridor) == ["TRX-1"]
    assert corridor.rows("runs", "outcome", "1") == [("completed", 1)]


def test_repeating_it_changes_nothing(corridor: Corridor, dpa: Dpa) -> None:
    corridor.load()
    done = dpa("run")
    assert (done.returncode, "Nothing to do: no file is new" in done.stdout) == (0, True), done


def test_a_named_source_is_loaded_alone(corridor: Corridor, dpa: Dpa) -> None:
    assert dpa("run", "machines").returncode == 0
    assert loaded(corridor) == []
    assert dpa("run", "machines", "erp").returncode == 0
    assert loaded(corridor) == ["TRX-1"]


def test_a_file_that_fails_is_told_with_exit_code_1_and_is_parked_afterwards(corridor: Corridor, dpa: Dpa) -> None:
    corridor.write_transactions("erp_20260203.csv", [BAD])
    done = dpa("run")
    assert (done.returncode, "FAILED erp: erp_20260203.csv: 1 of 1 row breaks" in done.stdout) == (1, True), done
    assert loaded(corridor) == ["TRX-1"]
    again = dpa("run")
    assert again.returncode == 0
    assert "PARKED erp: erp_20260203.csv: 1 of 1 row breaks the contract" in again.stdout
    assert "1 of 3 files failed before and wait for `dpa retry`; no other file is new" in again.stdout
    assert again.stdout.count("erp_20260203.csv") == 1


@pytest.mark.usefixtures("corridor")
def test_a_wrong_wish_ends_it_with_exit_code_2(dpa: Dpa) -> None:
    done = dpa("run", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: the catalog has no source 'nothing': it has machines, erp" in done.stderr


def test_simulated_and_real_data_never_mix(corridor: Corridor, dpa: Dpa) -> None:
    corridor.load()
    for source in corridor.sources:
        source["simulated"] = True
    assert corridor.catalog.simulated
    done = dpa("run")
    assert done.returncode == 2
    assert "error: the warehouse holds real data and this load would add simulated data" in done.stderr


def test_it_needs_no_prefect(corridor: Corridor, dpa: Dpa) -> None:
    corridor.load()
    done = subprocess.run(
        [sys.executable, "-c", WHAT_WAS_IMPORTED, "run"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **dpa.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing to do" in done.stdout
    assert "prefect" not in done.stderr.split()
