"""What the commands of `dpa` say and do; a process of its own shows once that the shell gets the exit codes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.dpa import Dpa


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", ["TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    return corridor


@pytest.fixture
def dpa(tmp_path: Path, warehouse: WarehouseUnderTest) -> Dpa:
    return Dpa(tmp_path, warehouse.url)


@pytest.mark.usefixtures("corridor")
def test_reconcile_exits_0_when_all_agrees_and_explain_names_file_and_row(dpa: Dpa) -> None:
    done = dpa("reconcile")
    assert (done.returncode, done.stdout) == (0, "The ledger and the tables agree\n")
    told = dpa("explain", "fact_transactions", "TRX-1").stdout
    assert "erp_20260202.csv" in told
    assert "tester@here" in told


@pytest.mark.usefixtures("corridor")
def test_retry_replay_and_purge_have_nothing_to_do_on_a_clean_warehouse(dpa: Dpa) -> None:
    assert "0 parked files" in dpa("retry").stdout
    assert "0 rows replayed" in dpa("replay").stdout
    assert "batches: 0 rows deleted" in dpa("purge").stdout


def test_reset_empties_the_warehouse(dpa: Dpa, corridor: Corridor) -> None:
    assert dpa("reset", "--yes").returncode == 0
    assert corridor.rows("fact_transactions", "transaction_id", "1") == []


def everything_in(corridor: Corridor) -> list[list[tuple[Any, ...]]]:
    tables = ("runs", "batches", "fact_transactions", "quarantine", "file_positions", "load_attempts", "dirty_marks")
    return [corridor.rows(table, "COUNT(*)", order_by="1") for table in tables]


def test_a_check_tells_what_a_load_would_change_and_changes_nothing(dpa: Dpa, corridor: Corridor) -> None:
    before = everything_in(corridor)
    good = [f"TRX-{number},MCH-001,2026-02-01 10:00:00,30,OK" for number in (1, 2, 3, 4)]
    changed = good[0].replace(",30,", ",31,")
    corridor.write_transactions("erp_20260203.csv", [changed, *good[1:3], "TRX-9,MCH-001,never,30,OK", good[3]])
    corridor.write_transactions("erp_20260204.csv", ["TRX-5,MCH-001,never,30,OK"])
    corridor.write("erp_20260205.csv", "transaction_id,machine,dat\n1,2,3\n")
    done = dpa("sources", "check", "erp")
    assert done.returncode == 1
    told = done.stdout.splitlines()
    assert told[0] == "UNCHANGED erp: 1 loaded before"
    ok = "OK erp erp_20260203.csv: 5 rows: 3 new, 1 changed, 0 unchanged, 0 superseded, 1 to quarantine"
    speaks_for = "stands for 2026-02-03 00:00 in Africa/Douala, by the day in its name"
    assert told[1] == f"{ok}; read with encoding 'utf-8'; delimiter ','; {speaks_for}"
    assert told[2].startswith("  row 5: transaction_at: wrong_type (transaction_at is not a date and time such as ")
    assert 'options of the source that may help: `options: {null_values: ["never"]}`' in told[2]
    assert "TRX-9" in told[2]
    assert told[3].startswith("FAILED erp erp_20260204.csv: ")
    assert "1 of 1 row breaks the contract" in told[3]
    assert "TRX-5" in told[4]
    assert told[5].startswith("FAILED erp erp_20260205.csv: ")
    assert "'dat' seems to be the new header of 'transaction_at'" in told[5]
    assert "the header lacks 'volume_transferred_t', 'status_code'" in told[5]
    assert everything_in(corridor) == before
    (corridor.folder / "erp_20260204.csv").unlink()
    (corridor.folder / "erp_20260205.csv").unlink()
    counts = corridor.load().counts("erp")
    assert (counts.inserted, counts.updated, counts.unchanged, counts.quarantined) == (3, 1, 0, 1)


def test_a_check_names_the_flow_that_looks_at_sources_with_blocks(dpa: Dpa, corridor: Corridor) -> None:
    corridor.add_connected("table", "transactions", "sql", options={"table": "transactions"})
    assert corridor.catalog.sources
    done = dpa("sources", "check", "table")
    assert done.returncode == 1
    assert (
        "only Prefect knows the SQL Source block 'erp' [unreadable]. Remedy: the flow load-nightly loads it, and "
        "check-sources looks at it" in (done.stdout)
    )


@pytest.mark.usefixtures("corridor")
def test_a_preview_shows_rows_as_the_warehouse_would_have_them(dpa: Dpa) -> None:
    done = dpa("sources", "preview", "erp")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "read with encoding 'utf-8'; delimiter ','"
    header, row = (line.split() for line in done.stdout.splitlines()[2:4])
    assert header[:2] == ["transaction_id", "machine_id"]
    assert row[0] == "TRX-1"
    assert dpa("sources", "preview", "nobody").returncode == 2


def test_an_error_is_one_line_without_a_traceback(dpa: Dpa) -> None:
    done = dpa("explain", "batches", "1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'batches' is no dataset, and no table of one")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["migrate"], 0, "has schema version"),
        (["explain", "batches", "1"], 2, "error: "),
    ],
)
def test_a_shell_gets_the_exit_code(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "freight.console.cli", *arguments],
        env={**os.environ, "DPA_HOME": str(tmp_path)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True)


def test_demo_fills_the_landing_folder_of_a_simulated_catalog_once(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    dpa = Dpa(tmp_path, sqlite_warehouse.url)
    (tmp_path / "catalog.yaml").write_text((PROJECT_ROOT / "catalog.yaml").read_text(encoding="utf-8"))
    assert "Simulated 28,002 rows in 17 files" in dpa("demo").stdout
    assert dpa("demo").stdout == ""
