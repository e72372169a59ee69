"""The battery bites: with a fault put into the load on purpose, a named check has to find it."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freight.care.reconcile import reconcile
from freight.errors import InvariantViolated
from freight.pipeline import load_conformed, steps
from freight.types import BatchId, Position
from freight.warehouse import load, upsert
from freight.warehouse.connect import Engine
from freight.warehouse.datasets import RowWriter
from freight.warehouse.ledger import LoadUnit, advance
from freight.warehouse.schema import file_positions
from freight.warehouse.upsert import Batch, CountsByBatch
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor, nightly
from tests.lib.tables import content_of, contradictions

LINES = [f"TRX-{number},MCH-001,2026-02-01 10:00:00,{number},OK" for number in range(5)]
BAD_LINE = "TRX-9,MCH-001,never,1,OK"


class KilledHere(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    corridor = nightly(tmp_path, sqlite_warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", [*LINES, BAD_LINE])
    return corridor


def test_without_a_fault_no_check_complains(corridor: Corridor) -> None:
    corridor.load()
    assert_all_checks_are_silent(corridor.engine)


def assert_all_checks_are_silent(engine: Engine) -> None:
    assert contradictions(engine) == []
    assert reconcile(engine) == []


def load_twice_at_once(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second run load everything between the plan of the first run and its load."""
    honest = load_conformed
    overtaken = False

    def overtaken_once(*arguments: Any) -> Any:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            corridor.load()
        return honest(*arguments)

    monkeypatch.setattr(steps, "load_conformed", overtaken_once)
    corridor.load()


def test_two_runs_at_once_are_harmless_as_long_as_positions_are_compared(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_twice_at_once(corridor, monkeypatch)
    assert_all_checks_are_silent(corridor.engine)


def test_a_position_that_is_set_without_comparing_is_found(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    def advance_blindly(connection: sa.Connection, unit: LoadUnit, _: Position | None, batch_id: BatchId) -> None:
        here = (file_positions.c.source == unit.source) & (file_positions.c.location == unit.location)
        connection.execute(file_positions.delete().where(here))
        advance(connection, unit, None, batch_id)

    monkeypatch.setattr(load, "advance", advance_blindly)
    load_twice_at_once(corridor, monkeypatch)
    assert any(found.startswith("a file is loaded twice") for found in contradictions(corridor.engine))


def kill_after_the_data(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill a load when its rows are written, and run it again undisturbed."""

    def dies(*_: Any) -> None:
        raise KilledHere

    with monkeypatch.context() as deadly:
        deadly.setattr(load, "close_batch", dies)
        with pytest.raises(KilledHere):
            corridor.load()


def test_a_kill_between_data_and_position_is_harmless_as_long_as_they_share_a_transaction(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_the_data(corridor, monkeypatch)
    assert_all_checks_are_silent(corridor.engine)
    corridor.load()
    assert_all_checks_are_silent(corridor.engine)


def test_data_that_is_committed_before_the_position_is_found(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest_write = RowWriter.write

    def write_and_commit(self: RowWriter, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        written = honest_write(self, connection, batch)
        connection.connection.driver_connection.commit()  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return written

    def advance_later(*_: Any) -> None:
        """Leave the position to a transaction that the kill prevents."""

    monkeypatch.setattr(RowWriter, "write", write_and_commit)
    monkeypatch.setattr(load, "advance", advance_later)
    kill_after_the_data(corridor, monkeypatch)
    assert any(found.startswith("a batch has no position") for found in contradictions(corridor.engine))
    assert "inserted rows are in the table" in {finding.check for finding in reconcile(corridor.engine)}


def test_a_quarantine_that_swallows_rows_is_found(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    def count_only(*arguments: Any) -> int:
        frames: Iterable[Any] = arguments[-1]
        return sum(frame.height for frame in frames)

    monkeypatch.setattr(load, "write_quarantine", count_only)
    corridor.load()
    assert any(found.startswith("quarantine is not what was counted") for found in contradictions(corridor.engine))
    assert {finding.check for finding in reconcile(corridor.engine)} == {"quarantined rows are in quarantine"}


def test_a_quarantine_that_loses_rows_and_their_count_never_commits(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "write_quarantine", lambda *_: 0)
    with pytest.raises(InvariantViolated, match="does not add up"):
        corridor.load()
    assert corridor.rows("fact_transactions", order_by="1") == []


def tables_after(corridor: Corridor, *names: str) -> Any:
    """Load two versions of the same rows in the order of the names; return the facts."""
    for name in names:
        path = corridor.write_transactions(name, [line.replace(",OK", f",{versions[name]}") for line in LINES])
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))  # part of the origin of its rows
        corridor.load()
    return content_of(corridor.engine)["fact_transactions"]


versions = {"erp_20260203.csv": "WARN", "erp_20260204.csv": "ERR"}


@pytest.mark.parametrize("ignores_order", [False, True])
def test_versions_that_are_taken_as_they_come_are_found_by_loading_in_another_order(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ignores_order: bool
) -> None:
    if ignores_order:
        take_versions_as_they_come(monkeypatch)
    other = replace(corridor, folder=tmp_path / "other", sources=[*corridor.sources])
    other.write_machines("machines_20260101.json")
    in_order = tables_after(corridor, "erp_20260203.csv", "erp_20260204.csv")
    with corridor.engine.begin() as connection:
        for table in ("fact_transactions", "file_positions", "batches", "quarantine"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    backwards = tables_after(other, "erp_20260204.csv", "erp_20260203.csv")
    assert (in_order == backwards) == (not ignores_order)


def take_versions_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = upsert._Statements.__init__

    def without_order(statements: Any, *arguments: Any) -> None:
        honest(statements, *arguments)
        for name, statement in vars(statements).items():
            before, found, after = statement.partition("(s.origin_us, s.origin_seq, s.content_hash) >")
            tail = after.partition(")")[2]
            setattr(statements, name, f"{before}1 = 1{tail}" if found else statement)

    monkeypatch.setattr(upsert._Statements, "__init__", without_order)
