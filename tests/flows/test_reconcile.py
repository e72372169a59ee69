"""The flow that proves the warehouse, on a real Prefect server."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.load_nightly import load_nightly
from flows.reconcile import SHOWN, reconcile
from freight.care.reconcile import AGREE
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.corridor import HEADER

ROWS = 30


@pytest.fixture
def loaded(home: Path) -> None:
    """A warehouse with some transactions."""
    (home / "catalog.yaml").write_text(
        "sources: [{name: mine, dataset: transactions, reader: csv, location: '*.csv'}]", encoding="utf-8"
    )
    rows = "".join(f"TRX-{number},MCH-001,2026-03-14 10:00:00,30,OK\n" for number in range(ROWS))
    (home / "mine_20260315.csv").write_text(f"{HEADER}\n{rows}", encoding="utf-8")
    migrate(steps.warehouse())
    assert load_nightly(return_state=True).is_completed()


@pytest.mark.usefixtures("loaded")
def test_it_is_completed_when_all_agrees_and_failed_naming_what_does_not() -> None:
    agreeing = reconcile(return_state=True)
    assert (agreeing.is_completed(), agreeing.message) == (True, AGREE)
    with steps.warehouse().begin() as connection:
        connection.execute(sa.text("UPDATE fact_transactions SET status_code = 'ERR' WHERE transaction_id = 'TRX-7'"))
        connection.execute(sa.text("DELETE FROM fact_transactions WHERE transaction_id = 'TRX-8'"))
    broken = reconcile(return_state=True)
    assert broken.is_failed()
    first, *findings = str(broken.message).splitlines()
    assert first == f"{len(findings)} things do not hold"
    assert "a stored row is the row that was loaded: fact_transactions TRX-7" in str(broken.message)
    assert any(f"expected {ROWS}, found {ROWS - 1}" in finding for finding in findings)


@pytest.mark.usefixtures("loaded")
def test_many_findings_are_counted_and_some_of_them_named() -> None:
    with steps.warehouse().begin() as connection:
        connection.execute(sa.text("UPDATE fact_transactions SET machine_id = 'MCH-002', volume_transferred_t = 1"))
    first, *findings = str(reconcile(return_state=True).message).splitlines()
    assert int(first.split()[0]) > SHOWN == len(findings)


def test_a_warehouse_of_another_version_is_told_in_a_line(home: Path) -> None:
    assert home
    state = reconcile(return_state=True)
    assert state.is_failed()
    assert "dpa migrate" in str(state.message)
    assert "\n" not in str(state.message)
