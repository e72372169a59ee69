"""What was loaded when and what waits in quarantine, as `dpa history` and `dpa quarantine list` tell it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import HEADER, Corridor, nightly
from tests.lib.dpa import Dpa
from tests.lib.workbooks import WRITERS

GOOD = [f"TRX-{number},MCH-001,2026-02-01 10:00:00,30,OK" for number in range(5)]
BAD = "TRX-9,MCH-001,never,30,OK"
ALSO_BAD = "TRX-8,MCH-001,2026-02-01 10:00:00,thirty,OK"


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """A corridor with three days: rows in quarantine, a refused file, and a good delivery of that file."""
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp/erp_20260202.csv", [*GOOD, BAD, ALSO_BAD])
    corridor.sources[1]["location"] = "erp/*.csv"
    corridor.load()
    refused = corridor.write_transactions("erp/erp_20260203.csv", [BAD, GOOD[0]])
    corridor.now = corridor.now.replace(day=2)
    corridor.load()
    corridor.write_transactions("erp/erp_20260203.csv", [GOOD[0].replace(",30,", ",31,")])
    os.utime(refused, (1e9, 1e9))
    corridor.now = corridor.now.replace(day=3)
    corridor.load()
    return corridor


@pytest.fixture
def dpa(tmp_path: Path, warehouse: WarehouseUnderTest) -> Dpa:
    return Dpa(tmp_path, warehouse.url)


def in_json(dpa: Dpa, *arguments: str) -> Any:
    done = dpa(*arguments, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


@pytest.mark.usefixtures("corridor")
def test_the_history_tells_loads_and_failures_the_newest_first(dpa: Dpa) -> None:
    told = dpa("history").stdout.splitlines()
    assert told[0] == "2026-03-03 12:00 UTC LOADED erp: erp/erp_20260203.csv: 1 row read = 1 updated"
    assert told[1].startswith("2026-03-02 12:00 UTC FAILED erp: erp/erp_20260203.csv: 1 of 2 rows breaks the contract")
    assert told[2] == "  row 2: transaction_at: wrong_type"
    assert told[3] == (
        "2026-03-01 12:00 UTC LOADED erp: erp/erp_20260202.csv: 7 rows read = 5 inserted + 2 quarantined"
    )
    assert told[4].startswith("2026-03-01 12:00 UTC LOADED machines: machines_20260101.json: 2 rows read")
    assert len(told) == 5


@pytest.mark.usefixtures("corridor")
@pytest.mark.parametrize(
    ("wanted", "entries"),
    [("erp", 3), ("erp_20260203.csv", 2), ("erp/erp_20260203.csv", 2), ("20260203.csv", 0), ("machines", 1), ("%", 0)],
)
def test_the_history_of_a_source_or_of_a_file_by_its_name(dpa: Dpa, wanted: str, entries: int) -> None:
    assert len(in_json(dpa, "history", wanted)) == entries


@pytest.mark.usefixtures("corridor")
def test_a_program_gets_counts_reasons_and_the_person(dpa: Dpa) -> None:
    newest, failed = in_json(dpa, "history", "erp", "--last", "2")
    assert (newest["outcome"], newest["counts"]["updated"]) == ("loaded", 1)
    assert newest["at"] == "2026-03-03T12:00:00+00:00"
    assert (failed["outcome"], failed["fault"], failed["started_by"]) == ("failed", "quarantine_limit", "tester@here")
    assert failed["first_bad_rows"] == [{"row": 2, "column": "transaction_at", "fault": "transaction_at: wrong_type"}]


def test_the_history_of_nothing_says_so(dpa: Dpa, tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    assert nightly(tmp_path, warehouse.engine).catalog.sources
    assert dpa("history").stdout == "Nothing was loaded yet\n"
    assert dpa("history", "erp").stdout == "Nothing was loaded from erp\n"
    unknown = dpa("history", "nope")
    assert (unknown.returncode, unknown.stdout.split(":")[0]) == (1, "Nothing is known of nope")


@pytest.mark.usefixtures("corridor")
def test_a_file_is_found_by_its_whole_path(dpa: Dpa, tmp_path: Path) -> None:
    assert len(in_json(dpa, "history", str(tmp_path / "erp" / "erp_20260203.csv"))) == 2


@pytest.mark.usefixtures("corridor")
@pytest.mark.parametrize(
    "command", [("retry",), ("parked",), ("quarantine", "list"), ("quarantine", "export", "c.xlsx")]
)
def test_a_source_that_nobody_knows_is_a_mistake(dpa: Dpa, command: tuple[str, ...]) -> None:
    done = dpa(*command, "--source", "nope")
    assert done.returncode == 2
    assert "there is no source or topic 'nope': the catalog has machines, erp" in done.stderr


def test_a_workbook_that_is_not_there_is_named(dpa: Dpa) -> None:
    done = dpa("quarantine", "import", "gone.xlsx")
    assert done.returncode == 2
    assert "there is no file gone.xlsx" in done.stderr


@pytest.mark.usefixtures("corridor")
def test_waiting_rows_are_listed_by_file_and_reason_with_the_first_of_them(dpa: Dpa) -> None:
    told = dpa("quarantine", "list").stdout.splitlines()
    assert told[0].startswith(
        "WAITING erp erp/erp_20260202.csv: 1 row, transaction_at: wrong_type, since 2026-03-01 12:00 UTC, "
    )
    assert told[1].startswith("  row 7: transaction_at is not a ")
    assert told[1].endswith(": 'never'")
    assert told[2].startswith("WAITING erp erp/erp_20260202.csv: 1 row, volume_transferred_t: wrong_type, since ")
    assert told[3].startswith("  row 8: volume_transferred_t is not a number")
    assert told[-1].startswith("Waiting rows: 2, of 1 file. `dpa quarantine export")
    groups = in_json(dpa, "quarantine", "list", "--source", "erp")
    assert [(group["column_name"], group["rows"]) for group in groups] == [
        ("transaction_at", 1),
        ("volume_transferred_t", 1),
    ]
    assert groups[0]["first_rows"][0]["row"] == 7
    assert json.loads(groups[0]["first_rows"][0]["text"])["transaction_at"] == "never"
    assert in_json(dpa, "quarantine", "list", "--source", "machines") == []


def test_rows_of_a_workbook_are_told_with_their_sheet(tmp_path: Path, warehouse: WarehouseUnderTest, dpa: Dpa) -> None:
    header, *good = (line.split(",") for line in (HEADER, *GOOD))
    sheets = {"Janvier": [header, *good], "Février": [header, ALSO_BAD.split(",")]}
    WRITERS[".xlsx"](tmp_path / "book_20260201.xlsx", sheets)
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.add_source("book", "transactions", "excel", "book*.xlsx", quarantine_limit=0.1)
    corridor.load()
    assert "\n  row 2 of sheet 'Février': volume_transferred_t: wrong_type\n" in dpa("history").stdout
    (failed,) = in_json(dpa, "history", "book")
    assert failed["first_bad_rows"][0]["row"] == "2 of sheet 'Février'"
    corridor.sources[-1]["quarantine_limit"] = 0.5
    assert dpa("retry").returncode == 0
    corridor.load()
    told = dpa("quarantine", "list").stdout.splitlines()
    assert told[1].startswith("  row 2 of sheet 'Février': volume_transferred_t is not a number")
    (group,) = in_json(dpa, "quarantine", "list", "--source", "book")
    assert group["first_rows"][0]["row"] == "2 of sheet 'Février'"


def test_an_empty_quarantine_says_so(dpa: Dpa) -> None:
    assert dpa("quarantine", "list").stdout == "No row waits in quarantine\n"


@pytest.mark.usefixtures("corridor")
def test_more_groups_than_a_terminal_shows_are_counted(dpa: Dpa, corridor: Corridor) -> None:
    for day in range(1, 24):
        good = [row.replace("TRX-", f"TRX-{day:02}") for row in GOOD]
        corridor.write_transactions(f"erp/erp_202601{day:02}.csv", [*good, BAD])
    corridor.load()
    told = dpa("quarantine", "list").stdout
    assert told.count("WAITING ") == 20
    assert "and 5 smaller groups: --json lists them all" in told
    assert len(in_json(dpa, "quarantine", "list")) == 25


@pytest.mark.usefixtures("corridor")
def test_a_check_answers_programs_with_the_reason_and_the_bad_rows(dpa: Dpa, corridor: Corridor) -> None:
    corridor.write_transactions("erp/erp_20260204.csv", [BAD, GOOD[1]])
    done = dpa("sources", "check", "erp", "--json")
    assert done.returncode == 1
    found = {row["file"]: row for row in json.loads(done.stdout)}
    assert found["erp/erp_20260202.csv"]["state"] == "UNCHANGED"
    refused = found["erp/erp_20260204.csv"]
    assert (refused["state"], refused["bad_rows"][0]["row"]) == ("FAILED", 2)
    assert "1 of 2 rows breaks the contract" in refused["message"]


@pytest.mark.usefixtures("corridor")
def test_explain_doctor_and_reconcile_answer_programs_too(dpa: Dpa) -> None:
    (found,) = in_json(dpa, "explain", "fact_transactions", "TRX-0")
    assert (found["row"]["volume_transferred_t"], found["lineage"]["file"]) == (31.0, "erp/erp_20260203.csv")
    assert in_json(dpa, "reconcile") == []
    assert all(finding["finding"] for finding in json.loads(dpa("doctor", "--json").stdout))
    nothing = dpa("explain", "fact_transactions", "TRX-99", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (1, [])
