"""A rule over several columns, on both engines: in files and streams, in quarantine and on the ways back."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from freight.care.reconcile import reconcile
from freight.contracts import RowRule, contract_for, contracts
from freight.contracts.rules import RequiredBy
from freight.quarantine.book import BAD_FILL, write_quarantine_book
from freight.quarantine.corrections import Import, import_corrections
from freight.quarantine.replay import replay
from freight.readers import find_files
from freight.types import LoadCounts, RunId
from freight.warehouse.connect import transaction
from freight.warehouse.ledger import start_run
from tests.conftest import NewReader, WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.quarantine_books import cell, correct, shown
from tests.lib.streams import event, rows

NEEDS_A_VOLUME = RequiredBy("volume_transferred_t", "status_code", ("ERR",))
KEPT = [{"columns": ["volume_transferred_t", "status_code"], "reason": "required_by"}]
BROKEN = "SELECT column_name, reason, detail, broken_rules FROM quarantine"
GOOD = [f"TRX-{i},MCH-001,2026-02-01 10:00:00,30,OK" for i in range(10, 20)]
BAD = "TRX-1,MCH-001,2026-02-01 10:00:00,,err"

StateRules = Callable[..., None]


@pytest.fixture
def transactions_keep(monkeypatch: pytest.MonkeyPatch) -> StateRules:
    """State rules in the contract of transactions, as another release of it would."""

    def state(*rules: RowRule) -> None:
        monkeypatch.setitem(contracts(), "transactions", replace(contract_for("transactions"), rules=rules))

    return state


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest, transactions_keep: StateRules) -> Corridor:
    """A loaded file of which the row 2 breaks the rule."""
    transactions_keep(NEEDS_A_VOLUME)
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", [BAD, *GOOD])
    corridor.load()
    return corridor


def test_a_row_of_a_file_is_quarantined_with_the_rule_as_data(corridor: Corridor) -> None:
    ((column, reason, detail, kept),) = rows(corridor.engine, BROKEN)
    assert (column, reason, detail) == (
        "volume_transferred_t",
        "required_by",
        "volume_transferred_t, status_code: required_by",
    )
    assert json.loads(kept) == KEPT
    assert reconcile(corridor.engine) == []


def test_a_message_ends_as_the_same_row_of_a_file_does(corridor: Corridor, new_reader: NewReader) -> None:
    (of_file,) = rows(corridor.engine, BROKEN)
    reader = new_reader()
    bad, good = event(1, None, status_code="err"), event(2, None)
    assert reader.loader.load(reader.batch([bad, good], [])) == LoadCounts(read=2, inserted=1, quarantined=1)
    assert rows(reader.engine, BROKEN + " ORDER BY quarantine_id") == [of_file, of_file]


def test_bad_rows_are_counted_by_the_rule(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260203.csv", [BAD] * 5 + GOOD)
    assert "required_by 5" in corridor.load().failures[0].message
    assert rows(corridor.engine, "SELECT reason, bad_rows FROM load_attempt_reasons") == [("required_by", 5)]
    kept = rows(corridor.engine, "SELECT broken_rules FROM load_attempt_rows")
    assert [json.loads(text) for (text,) in kept] == [KEPT] * 5


def test_a_contract_that_has_the_rule_no_more_lets_the_row_in(
    corridor: Corridor, transactions_keep: StateRules
) -> None:
    assert replayed(corridor) == [(LoadCounts(), 1)]
    transactions_keep()
    assert replayed(corridor) == [(LoadCounts(read=1, inserted=1), 0)]
    assert reconcile(corridor.engine) == []


def replayed(corridor: Corridor) -> list[tuple[LoadCounts, int]]:
    outcomes = replay(
        corridor.engine, corridor.catalog, run_id=RunId("replay-1"), source=None, clock=lambda: corridor.now
    )
    return [(outcome.counts, outcome.waiting) for outcome in outcomes]


def test_the_workbook_marks_all_columns_of_the_rule_and_tells_their_values(corridor: Corridor) -> None:
    path = exported(corridor)
    (row,) = shown(path)
    assert row["What is wrong"] == (
        "volume_transferred_t (empty) must not be empty if status_code ('err') is ERR: "
        "fill in the first, or correct the second"
    )
    sheet = openpyxl.load_workbook(path)["transactions"]
    coloured = [name for name in row if cell(sheet, 1, name).fill.start_color.rgb == BAD_FILL.start_color.rgb]
    assert coloured == ["volume_transferred_t", "status_code"]


@pytest.mark.parametrize("correction", [{"volume_transferred_t": "12"}, {"status_code": "OK"}], ids=str)
def test_either_column_may_be_corrected(corridor: Corridor, correction: dict[str, str]) -> None:
    path = exported(corridor)
    counts, problems = given_back(corridor, correct(path, {1: {"machine_id": "MCH-002"}}))
    assert (counts, len(problems)) == (LoadCounts(), 1)
    assert problems[0].startswith("transactions row 3: volume_transferred_t (empty) must not be empty if status_code")
    assert given_back(corridor, correct(path, {1: correction})) == (LoadCounts(read=1, inserted=1), ())
    assert reconcile(corridor.engine) == []


def exported(corridor: Corridor) -> Path:
    path = corridor.folder / "quarantine.xlsx"
    write_quarantine_book(corridor.engine, path, None, 100)
    return path


def given_back(corridor: Corridor, path: Path) -> tuple[LoadCounts, tuple[str, ...]]:
    by = Import(RunId("import-1"), "tester@here", None, lambda: corridor.now)
    with transaction(corridor.engine) as connection:
        start_run(connection, by.run_id, by.started_by, corridor.now)
    (file,) = find_files(path.as_posix(), corridor.folder)
    outcome = import_corrections(corridor.engine, corridor.catalog, file, by)
    return outcome.counts, outcome.problems
