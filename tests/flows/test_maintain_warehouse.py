"""The upkeep of a warehouse, on a real Prefect server."""

import os
import time
from pathlib import Path

import pytest

from flows.load_nightly import load_nightly
from flows.maintain_warehouse import maintain_warehouse
from freight.care.reconcile import reconcile
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.corridor import Corridor, nightly

DAY_S = 86_400


@pytest.fixture
def corridor(home: Path) -> Corridor:
    migrate(steps.warehouse())
    corridor = nightly(home, steps.warehouse())
    rows = [f"TRX-{number},MCH-001,2026-02-01 10:00:00,30,OK" for number in range(5)]
    corridor.write_transactions("erp_20260202.csv", [*rows, "TRX-9,MCH-001,2026-02-01 10:00:00,-1,OK"])
    assert corridor.catalog.sources
    assert load_nightly(return_state=True).is_completed()
    return corridor


def test_it_deletes_what_is_old_and_the_rest_still_adds_up(corridor: Corridor, home: Path) -> None:
    left = home / "spool" / "of-a-failed-run"
    left.mkdir(parents=True)
    long_ago = time.time() - 8 * DAY_S
    os.utime(left, (long_ago, long_ago))
    first = maintain_warehouse(return_state=True)
    assert first.is_completed()
    assert first.message == "deleted: spool: 1"
    with steps.warehouse().begin() as connection:
        connection.exec_driver_sql("UPDATE batches SET loaded_at = '2025-01-01 00:00:00.000000'")
    second = maintain_warehouse(return_state=True)
    assert second.message == "deleted: quarantine: 1"
    assert corridor.rows("quarantine", "row_number", "1") == []
    assert reconcile(steps.warehouse()) == []
    assert maintain_warehouse(return_state=True).message == "deleted: nothing was old enough"


def test_a_warehouse_of_another_version_is_told_in_a_line(home: Path) -> None:
    assert home
    state = maintain_warehouse(return_state=True)
    assert state.is_failed()
    assert "dpa migrate" in str(state.message)
