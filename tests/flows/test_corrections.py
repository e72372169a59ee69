"""The way of a correction in Prefect: a workbook is written, a person changes it and drops it back."""

from pathlib import Path

import pytest
from prefect import State

from flows.export_quarantine import export_quarantine
from flows.import_quarantine import import_quarantine
from freight.care.reconcile import reconcile
from tasks import load as steps
from tests.flows.conftest import NewTopic
from tests.lib.quarantine_books import correct, shown
from tests.lib.streams import event, rows


@pytest.fixture
def book(home: Path, topic_of: NewTopic) -> Path:
    """The exported quarantine: three of a hundred messages have a status that nobody knows."""
    topic = topic_of([event(i, status_code="HALT" if i < 3 else "OK") for i in range(100)])
    exported = export_quarantine(source=topic, return_state=True)
    assert str(exported.message).startswith("3 of 3 waiting rows written to corrections/to do/quarantine_")
    (written,) = (home / "corrections" / "to do").glob("*.xlsx")
    return written


def first_line(state: State[object]) -> str:
    return str(state.message).splitlines()[0]


def test_what_is_corrected_and_dropped_back_loads_once(home: Path, book: Path) -> None:
    assert export_quarantine(source="nothing", return_state=True).message == "no row waits"
    assert import_quarantine(return_state=True).message == "0 workbooks"
    assert [row["status_code"] for row in shown(book)] == ["HALT"] * 3
    dropped = correct(book, {1: {"status_code": "OK"}, 2: {"status_code": "STOP"}}).rename(
        home / "corrections/mine.xlsx"
    )
    (home / "corrections" / "~$mine.xlsx").write_bytes(b"open in Excel")

    state = import_quarantine(return_state=True)
    assert (state.is_completed(), state.name) == (True, "Degraded")
    assert "mine.xlsx: 1 row imported, 1 still wrong, 1 untouched, 0 loaded before" in str(state.message)
    assert "mine.xlsx transactions row 4: status_code is not one of OK, WARN, ERR: 'STOP'" in str(state.message)
    assert dropped.exists()

    correct(dropped, {2: {"status_code": "ERR"}})
    state = import_quarantine(return_state=True)
    assert (state.is_completed(), state.name) == (True, "Completed")
    assert not dropped.exists()
    (archived,) = (home / "corrections" / "done").iterdir()
    assert archived.name.endswith("_mine.xlsx")
    assert rows(steps.warehouse(), "SELECT COUNT(*) FROM fact_transactions") == [(99,)]
    assert rows(steps.warehouse(), "SELECT DISTINCT corrected_by FROM corrections") == [("Awa Ngo",)]
    assert reconcile(steps.warehouse()) == []


def test_a_workbook_that_is_none_is_named_and_the_others_load(home: Path, book: Path) -> None:
    correct(book, {1: {"status_code": "OK"}}).rename(home / "corrections" / "b.xlsx")
    (home / "corrections" / "a.xlsx").write_bytes(b"no workbook")
    state = import_quarantine(return_state=True)
    assert state.is_failed()
    assert "corrections/a.xlsx: the file is not a workbook" in str(state.message)
    assert "b.xlsx: 1 row imported" in str(state.message)
    assert rows(steps.warehouse(), "SELECT COUNT(*) FROM fact_transactions") == [(98,)]
