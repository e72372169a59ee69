"""A transaction takes the site that its machine had at the time, in whatever order the snapshots come."""

from itertools import permutations
from pathlib import Path

import pytest

from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly

ROWS = [f"TRX-{day},MCH-001,2026-02-{day:02d} 10:00:00,30,OK" for day in (1, 10, 20)]
SNAPSHOTS = {"20260105": "Douala", "20260205": "Edéa", "20260215": "Bélabo"}


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.add_source("stations", "stations", "csv", "stations*.csv")
    corridor.write(
        "stations_20260101.csv",
        "station_code;nom;région;lat;lon;pk\nDLA;Douala;Littoral;4,05;9,7;0\nYDE;Yaoundé;Centre;3,87;11,52;263\n",
    )
    return corridor


def snapshot(corridor: Corridor, day: str, site: str, machine_id: str = "MCH-001") -> None:
    machine = {"machine_id": machine_id, "site_location": site, "installation_year": 2010}
    corridor.write_machines(f"machines_{day}.json", [machine])


@pytest.mark.parametrize("order", list(permutations(SNAPSHOTS)), ids="-".join)
def test_facts_and_history_do_not_depend_on_the_order_of_snapshots(corridor: Corridor, order: tuple[str, ...]) -> None:
    corridor.write_transactions("erp_20260221.csv", ROWS)
    for day in order:
        snapshot(corridor, day, SNAPSHOTS[day])
        corridor.load()
    facts = corridor.rows("fact_transactions", "transaction_id", "site_location")
    assert facts == [("TRX-1", "Douala"), ("TRX-10", "Edéa"), ("TRX-20", "Bélabo")]
    versions = corridor.rows("dim_machines", "site_location", "is_current", order_by="valid_from, machine_id")
    assert [row for row in versions if row[0] != "UNKNOWN"][:1] == [("Douala", False)]
    sites = corridor.rows("aggr_daily_site_stats", "day_number", "site_location", order_by="1")
    assert [site for _, site in sites] == ["Douala", "Edéa", "Bélabo"]


def test_an_older_snapshot_never_becomes_the_current_version(corridor: Corridor) -> None:
    snapshot(corridor, "20260215", "Bélabo")
    corridor.load()
    snapshot(corridor, "20260110", "Edéa")
    report = corridor.load()
    assert report.counts("machines").superseded == 1
    current = "dim_machines WHERE is_current = true AND machine_id = 'MCH-001'"
    assert corridor.rows(current, "site_location", "1") == [("Bélabo", 1)]


def test_spellings_of_a_station_are_one_site(corridor: Corridor) -> None:
    snapshot(corridor, "20260110", " YAOUNDE ")
    corridor.write_transactions("erp_20260221.csv", ROWS[:1])
    corridor.load()
    assert corridor.rows("fact_transactions", "site_location", "1") == [("Yaoundé", 1)]


def test_a_station_that_comes_later_gives_its_name_to_the_facts(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = nightly(tmp_path, warehouse.engine)
    snapshot(corridor, "20260110", "NGAOUNDERE")
    corridor.write_transactions("erp_20260221.csv", ROWS[:1])
    corridor.load()
    corridor.add_source("stations", "stations", "csv", "stations*.csv")
    corridor.write(
        "stations_20260101.csv",
        "station_code,station_name,region,latitude_deg,longitude_deg,corridor_km\n"
        "NGE,Ngaoundéré,Adamaoua,7.32,13.58,885\n",
    )
    corridor.load()
    assert corridor.rows("fact_transactions", "site_location", "1") == [("Ngaoundéré", 1)]
    assert corridor.rows("aggr_daily_site_stats", "site_location", "total_transactions") == [("Ngaoundéré", 1)]


def test_a_machine_that_a_newer_snapshot_leaves_out_is_kept_and_flagged(corridor: Corridor) -> None:
    corridor.load()
    snapshot(corridor, "20260215", "Douala", "MCH-002")
    corridor.load()
    absent = corridor.rows("dim_machines", "machine_id", "is_absent", order_by="machine_id, valid_from")
    assert absent == [("MCH-001", True), ("MCH-002", False), ("MCH-002", False)]
