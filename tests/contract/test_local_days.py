"""A day in a file name is a local day: for deliveries of one day, for machines that move, and for older warehouses."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freight.care.reconcile import reconcile
from freight.pipeline import check_source
from freight.simulator import fill_landing
from freight.types import BatchId
from freight.warehouse import machine_history
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import transaction
from freight.warehouse.migrate import SQL_FOLDER, migrate, views
from freight.warehouse.schema import batches, metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.dpa import Dpa
from tests.lib.tables import content_of

DAY = datetime(2026, 2, 22, tzinfo=UTC)
ROW = "TRX-{},MCH-001,2026-02-{} {},{},OK"
MOVES = 7


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


def deliver(corridor: Corridor, name: str, *volumes: int, changed: datetime = DAY) -> Path:
    """Write transactions TRX-1, TRX-2 and so on, in a file of a certain last change."""
    rows = [ROW.format(number, "21", "10:00:00", volume) for number, volume in enumerate(volumes, 1)]
    return changed_at(corridor.write_transactions(name, rows), changed)


def changed_at(path: Path, changed: datetime) -> Path:
    os.utime(path, (changed.timestamp(), changed.timestamp()))
    return path


def move(corridor: Corridor, name: str, site: str) -> Path:
    return corridor.write_machines(name, [{"machine_id": "MCH-001", "site_location": site, "installation_year": 2010}])


def volumes(corridor: Corridor) -> list[Any]:
    return [row[1] for row in corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")]


# The row that the later delivery corrects has a lower row number in it.
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("erp_20260222_0800.csv", "erp_20260222_1600.csv"),
        ("erp_20260222_08h00.csv", "erp_20260222_16h00.csv"),
        ("erp_20260222T080000.csv", "erp_20260222T160000.csv"),
        ("erp_20260222-0800.csv", "erp_20260222-1600.csv"),
        ("erp_20260222.csv", "erp_20260222_0001.csv"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_of_two_deliveries_of_a_day_the_later_time_in_the_name_wins(
    corridor: Corridor, first: str, second: str, at_once: bool
) -> None:
    later_change = DAY + timedelta(hours=9)
    if at_once:
        deliver(corridor, first, 10, 20, changed=later_change)
        deliver(corridor, second, 11)
    else:
        deliver(corridor, second, 11)
        corridor.load()
        deliver(corridor, first, 10, 20, changed=later_change)
    corridor.load()
    assert volumes(corridor) == [11, 20]
    assert reconcile(corridor.engine) == []


@pytest.mark.parametrize("gap", [timedelta(seconds=1), timedelta(hours=8), timedelta(days=300)])
@pytest.mark.parametrize("at_once", [True, False])
def test_without_a_time_in_the_name_the_later_change_wins(corridor: Corridor, gap: timedelta, at_once: bool) -> None:
    deliver(corridor, "erp_a_20260222.csv", 11, changed=DAY + gap)
    if not at_once:
        corridor.load()
    deliver(corridor, "erp_b_20260222.csv", 10, 20)
    corridor.load()
    assert volumes(corridor) == [11, 20]


def test_a_check_names_what_each_file_speaks_for_and_the_files_that_tie(corridor: Corridor) -> None:
    deliver(corridor, "erp_a_20260222.csv", 10)
    corridor.load()
    deliver(corridor, "erp_b_20260222.csv", 11)
    deliver(corridor, "erp_c_20260222_0800.csv", 12)
    deliver(corridor, "erp_d.csv", 13)
    checks = {
        check.outcome.location: check for check in check_source(corridor.engine, corridor.catalog.named("erp"), DAY)
    }
    assert checks["erp_b_20260222.csv"].ties == ("erp_a_20260222.csv",)
    assert checks["erp_c_20260222_0800.csv"].ties == ()
    told = Dpa(corridor.folder, corridor.engine.url.render_as_string(hide_password=False))("sources", "check", "erp")
    assert (
        "stands for 2026-02-22 00:00 in Africa/Douala, by the day in its name; TIE with erp_a_20260222.csv"
        in told.stdout
    )
    assert "stands for 2026-02-22 08:00 in Africa/Douala, by the day and the time in its name" in told.stdout
    assert "stands for 2026-02-22 01:00 in Africa/Douala, by the time of its last change" in told.stdout


def test_a_day_far_ahead_supersedes_nothing_and_is_told_each_night(corridor: Corridor) -> None:
    deliver(corridor, "erp_20260222.csv", 10)
    move(corridor, "machines_20991231.json", "Edéa")
    move(corridor, "machines_20260222.json", "Bélabo")
    for _ in range(2):
        (failure,) = corridor.load().failures
        assert "machines_20991231.json: its name states 2099-12-31 00:00, more than a day ahead" in failure.message
        assert "add `name_tells: nothing` to the source machines in the catalog" in failure.message
    current = "dim_machines WHERE is_current AND machine_id = 'MCH-001'"
    assert corridor.rows(current, "site_location", "1") == [("Bélabo", 1)]
    corridor.sources[0]["name_tells"] = "nothing"
    assert corridor.load().failures == []


@pytest.mark.parametrize("is_corrected", [False, True])
def test_a_machine_moves_at_the_local_midnight_of_its_day(corridor: Corridor, is_corrected: bool) -> None:
    times = [("21", "23:59:59"), ("22", "00:00:00"), ("22", "00:30:00"), ("22", "01:00:00")]
    corridor.write_transactions("erp_20260223.csv", [ROW.format(n, *at, 30) for n, at in enumerate(times)])
    if is_corrected:
        move(corridor, "machines_20260222.json", "Edéa")
        corridor.load()
    move(corridor, "machines_20260222.json", "Bélabo")
    corridor.load()
    sites = corridor.rows("fact_transactions", "transaction_id", "site_location")
    assert [site for _, site in sites] == ["Douala", "Bélabo", "Bélabo", "Bélabo"]
    moved = "dim_machines WHERE is_current AND machine_id = 'MCH-001'"
    assert [str(row[0])[:19] for row in corridor.rows(moved, "valid_from", "1")] == ["2026-02-21 23:00:00"]


def test_files_of_one_day_are_one_snapshot_and_a_corrected_file_replaces_its_part(corridor: Corridor) -> None:
    north, south = ({"machine_id": f"MCH-00{n}", "site_location": "Douala", "installation_year": 2010} for n in (1, 2))
    for hour, (name, machines) in enumerate(
        {"north": [north], "south": [south, {**south, "machine_id": "MCH-003"}]}.items()
    ):
        path = corridor.write_machines(f"machines_{name}_20260222.json", machines)
        changed_at(path, DAY + timedelta(hours=hour))
    corridor.load()
    current = "dim_machines WHERE is_current"
    assert corridor.rows(current, "machine_id", "is_absent") == [
        ("MCH-001", False),
        ("MCH-002", False),
        ("MCH-003", False),
    ]
    changed_at(corridor.write_machines("machines_south_20260222.json", [south]), DAY + timedelta(hours=5))
    corridor.load()
    assert corridor.rows(current, "machine_id", "is_absent") == [
        ("MCH-001", False),
        ("MCH-002", False),
        ("MCH-003", True),
    ]


def test_days_are_those_of_the_zone_of_the_source(corridor: Corridor) -> None:
    corridor.sources[1]["time_zone"] = "America/New_York"
    deliver(corridor, "erp_20260222.csv", 10)
    corridor.load()
    rows = corridor.rows("batches", "source", "as_of")
    assert [(name, str(as_of)[:16]) for name, as_of in rows] == [
        ("erp", "2026-02-22 05:00"),
        ("machines", "2025-12-31 23:00"),
    ]


def test_the_volumes_of_moved_machines_are_those_of_local_days(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    """The figures of the simulated corridor; a move at midnight UTC would give 94.57 % and 98.81 %."""
    fill_landing(tmp_path / "landing")
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    corridor.add_source("machines", "machines", "json", "landing/machines/*.json")
    corridor.add_source("erp_csv", "transactions", "csv", "landing/erp_csv/*.csv")
    corridor.add_source("erp_excel", "transactions", "excel", "landing/erp_excel/*.xlsx")
    assert corridor.load().failures == []
    moves = (SQL_FOLDER / "advanced_queries.sql").read_text("utf-8").split(";")[MOVES]
    with corridor.engine.connect() as connection:
        found = {
            row.machine_id: (row.days_before, row.days_after, row.change_pct)
            for row in connection.execute(sa.text(moves))
        }
    assert {machine: days for machine, (*days, _) in found.items()} == {"MCH-009": [7, 7], "MCH-012": [7, 7]}
    assert found["MCH-009"][2] == 71.28
    assert found["MCH-012"][2] == 75.69  # 75.80 without the two rows of 31,5 tonnes
    assert {machine: percent for machine, (_, _, percent) in found.items()} == {
        machine: change_in_percent(corridor, machine) for machine in found
    }


def change_in_percent(corridor: Corridor, machine: str) -> float:
    """Compare the volumes of a machine per local day before and from the 22nd, without SQL."""
    facts = corridor.rows(
        "fact_transactions", "machine_id", "transaction_date", "volume_transferred_t", order_by="1, 2"
    )
    by_day: dict[date, float] = {}
    for name, day, volume in facts:
        if name == machine:
            day = date.fromisoformat(str(day))
            by_day[day] = by_day.get(day, 0.0) + (volume or 0.0)
    before, after = ([v for day, v in by_day.items() if (day >= DAY.date()) == later] for later in (False, True))
    daily_before, daily_after = (sum(part) / len(part) for part in (before, after))
    return round(100 * (daily_after - daily_before) / daily_before, 2)


# Warehouses of before


def test_an_older_warehouse_gets_local_days_and_compares_with_later_deliveries(corridor: Corridor) -> None:
    times = [("21", "23:59:59"), ("22", "00:00:00"), ("22", "00:30:00"), ("22", "01:00:00")]
    rows = [ROW.format(n, *at, 30) for n, at in enumerate(times, 1)]
    changed_at(corridor.write_transactions("erp_20260223.csv", [*rows, "TRX-9,MCH-001,never,30,OK"]), DAY)
    deliver(corridor, "erp_20260224_0800.csv", 40)
    deliver(corridor, "erp_undated.csv", 50)
    move(corridor, "machines_20260222.json", "Bélabo")
    corridor.load()
    as_now = kept(corridor)
    as_before(corridor)
    assert [site for _, site in corridor.rows("fact_transactions", "transaction_id", "site_location")][1:3] == 2 * [
        "Douala"
    ]
    migrate(corridor.engine)
    assert kept(corridor) == as_now
    assert reconcile(corridor.engine) == []
    deliver(corridor, "erp_b_20260223.csv", 41, 42, changed=DAY + timedelta(hours=1))  # after that of the 23rd
    deliver(corridor, "erp_20260224_1600.csv", 43)
    deliver(corridor, "erp_c_20260222.csv", 1, 2, 3)
    assert corridor.load().failures == []
    assert volumes(corridor) == [43, 42, 30, 30]
    assert reconcile(corridor.engine) == []


def kept(corridor: Corridor) -> dict[str, Any]:
    """Return what a migration should leave as a load of today would."""
    left_out = {"alembic_version", "schema_views", "history_changes", "dirty_marks"}
    return {table: rows for table, rows in content_of(corridor.engine).items() if table not in left_out}


def forget_later_versions(connection: sa.Connection) -> None:
    """Take away what migrations after 0012 added."""
    for name in reversed(views()):  # a column that a view reads cannot be dropped
        connection.execute(sa.text(f"DROP VIEW IF EXISTS {name}"))
    connection.execute(sa.text("DROP TABLE reshapes"))
    added = {
        "function_version": ("file_positions", "load_attempts"),
        "source_row": ("quarantine", "load_attempt_rows"),
        "newest_sent_us": ("stream_positions",),
        "sent_before_us": ("stream_batches",),
        "event_before_us": ("stream_batches",),
    }
    for column, tables in added.items():
        for table in tables:
            connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    connection.execute(sa.text("UPDATE alembic_version SET version_num = '0012'"))


def as_before(corridor: Corridor) -> None:
    """Bring a warehouse to the state that releases with midnight UTC left: origins, history, sites and statistics."""
    origins = {"_20260223": DAY + timedelta(days=1), "_20260224": DAY + timedelta(days=2), "_20260222": DAY}
    with transaction(corridor.engine) as connection:
        for batch in connection.execute(sa.select(batches.c.batch_id, batches.c.location)).all():
            stated = [as_of for name, as_of in origins.items() if name in batch.location]
            as_of = stated[0] if stated else datetime(2026, 1, 1, tzinfo=UTC)
            if "undated" in batch.location:
                continue
            connection.execute(batches.update().where(batches.c.batch_id == batch.batch_id).values(as_of=as_of))
            for table in ("fact_transactions", "machine_observations", "quarantine", "file_positions"):
                rows = metadata.tables[table]
                origin_us = int(as_of.timestamp()) * 1_000_000
                connection.execute(rows.update().where(rows.c.batch_id == batch.batch_id).values(origin_us=origin_us))
        machine_history.refresh(connection, BatchId(1))
        connection.execute(
            sa.text(
                "INSERT INTO dirty_marks (batch_id, day_number, site_location) "
                "SELECT DISTINCT 1, day_number, site_location FROM fact_transactions"
            )
        )
        forget_later_versions(connection)
    refresh_aggregates(corridor.engine)
