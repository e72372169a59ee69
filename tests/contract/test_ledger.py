"""Reconcile, explain, replay and purge, on both engines."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from freight.care.reconcile import reconcile
from freight.contracts import contract_for, contracts
from freight.errors import ConfigurationError
from freight.quarantine.replay import replay
from freight.types import LoadCounts, Retention, RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import reading, transaction
from freight.warehouse.explain import explain
from freight.warehouse.purge import purge
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """Two loaded files: one bad row of eight, one updated row."""
    corridor = nightly(tmp_path, warehouse.engine)
    rows = [f"TRX-{i},MCH-00{i % 2 + 1},2026-02-01 1{i}:00:00,{10 + i},WARN" for i in range(7)]
    corridor.write_transactions("erp_20260202.csv", [*rows, "TRX-90,MCH-001,2026-02-01 10:00:00,7500,OK"])
    corridor.load()
    corridor.write_transactions("erp_20260203.csv", ["TRX-0,MCH-002,2026-02-01 10:00:00,99,OK"])
    corridor.load()
    return corridor


def tamper(corridor: Corridor, statement: str) -> None:
    with transaction(corridor.engine) as connection:
        connection.execute(sa.text(statement))


def test_a_warehouse_that_nobody_touched_reconciles(corridor: Corridor) -> None:
    assert reconcile(corridor.engine) == []


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE fact_transactions SET volume_transferred_t = 1 WHERE transaction_id = 'TRX-1'", "a stored row is"),
        ("UPDATE fact_transactions SET status_code = 'ERR' WHERE transaction_id = 'TRX-1'", "a stored row is"),
        ("UPDATE fact_transactions SET day_number = 1 WHERE transaction_id = 'TRX-1'", "a stored row is"),
        ("UPDATE fact_transactions SET site_location = 'Edéa' WHERE transaction_id = 'TRX-1'", "a fact has the site"),
        ("UPDATE dim_machines SET site_location = 'Edéa' WHERE machine_id = 'MCH-001'", "a fact has the site"),
        ("DELETE FROM fact_transactions WHERE transaction_id = 'TRX-1'", "inserted rows are in the table"),
        ("DELETE FROM quarantine", "quarantined rows are in quarantine"),
        ("UPDATE aggr_daily_site_stats SET total_volume = 0", "daily statistics follow from the facts"),
        ("DELETE FROM aggr_daily_site_stats", "daily statistics follow from the facts"),
        ("UPDATE batches SET updated = updated + 1 WHERE batch_id = 2", "a batch accounts for every row read"),
        ("UPDATE file_positions SET batch_id = 2 WHERE source = 'erp'", "a position belongs to the newest batch"),
    ],
)
def test_reconcile_names_what_was_tampered_with(corridor: Corridor, statement: str, check: str) -> None:
    tamper(corridor, statement)
    assert any(finding.check.startswith(check) for finding in reconcile(corridor.engine))


def test_explain_leads_from_a_row_to_its_file_row_run_and_contract(corridor: Corridor) -> None:
    with reading(corridor.engine) as connection:
        (found,) = explain(connection, "fact_transactions", "TRX-3")
        assert explain(connection, "transactions", "TRX-3") == [found]
    lineage = dict(found.lineage)
    assert (lineage["file"], lineage["row"], lineage["contract_version"]) == ("erp_20260202.csv", 5, 1)
    assert lineage["started_by"] == "tester@here"


def test_explain_refuses_a_table_without_lineage(corridor: Corridor) -> None:
    with (
        reading(corridor.engine) as connection,
        pytest.raises(ConfigurationError, match="is no dataset"),
    ):
        explain(connection, "batches", "1")


def widen_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix of the contract after which a row of 7,500 tonnes is good."""
    contract = contract_for("transactions")
    columns = tuple(replace(c, maximum=10_000) if c.name == "volume_transferred_t" else c for c in contract.columns)
    monkeypatch.setitem(contracts(), "transactions", replace(contract, columns=columns))


def run_replay(corridor: Corridor) -> list[tuple[LoadCounts, int]]:
    outcomes = replay(
        corridor.engine, corridor.catalog, run_id=RunId("replay-1"), source=None, clock=lambda: corridor.now
    )
    return [(outcome.counts, outcome.waiting) for outcome in outcomes]


def test_a_row_that_is_still_bad_stays_in_quarantine(corridor: Corridor) -> None:
    assert run_replay(corridor) == [(LoadCounts(), 1)]


def test_a_quarantined_row_is_replayed_once_after_a_fix(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    widen_volume(monkeypatch)
    assert run_replay(corridor) == [(LoadCounts(read=1, inserted=1), 0)]
    assert run_replay(corridor) == []
    refresh_aggregates(corridor.engine)
    assert reconcile(corridor.engine) == []
    assert ("TRX-90", 9) in corridor.rows("fact_transactions", "transaction_id", "origin_seq")


def test_a_file_that_is_replayed_in_slices_ends_in_the_same_rows(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [f"TRX-{key},MCH-001,2026-02-01 10:00:00,{volume},OK" for key, volume in ((7, 6000), (8, 6001), (7, 6002))]
    good = [f"TRX-{key},MCH-001,2026-02-01 10:00:00,1,OK" for key in range(100, 110)]
    corridor.write_transactions("erp_20260205.csv", [*bad, *good])
    corridor.load()
    widen_volume(monkeypatch)
    monkeypatch.setattr("freight.quarantine.replay.SLICE_ROWS", 1)
    assert run_replay(corridor)[-1] == (LoadCounts(read=3, inserted=2, updated=1), 0)
    assert ("TRX-7", 6002.0) in corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")
    refresh_aggregates(corridor.engine)
    assert reconcile(corridor.engine) == []


def test_a_replayed_row_does_not_overwrite_a_newer_version(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    corridor.write_transactions("erp_20260204.csv", ["TRX-90,MCH-001,2026-02-01 10:00:00,50,OK"])
    corridor.load()
    widen_volume(monkeypatch)
    assert run_replay(corridor) == [(LoadCounts(read=1, superseded=1), 0)]


def test_a_purge_beyond_retention_keeps_the_proof(corridor: Corridor) -> None:
    later = corridor.now + timedelta(days=100)
    assert purge(corridor.engine, Retention(quarantine_days=10, lineage_days=10), later)["quarantine"] == 1
    assert reconcile(corridor.engine) == []
    assert corridor.load().counts() == LoadCounts()


def test_a_purge_within_retention_deletes_nothing(corridor: Corridor) -> None:
    assert set(purge(corridor.engine, Retention(), corridor.now).values()) == {0}


def test_lineage_of_replaced_deliveries_is_folded_into_totals(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260203.csv", ["TRX-0,MCH-002,2026-02-01 10:00:00,98,OK"])
    corridor.load()
    later = corridor.now + timedelta(days=100)
    assert purge(corridor.engine, Retention(quarantine_days=10, lineage_days=10), later)["batches"] == 1
    assert reconcile(corridor.engine) == []
