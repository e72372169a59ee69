"""Input files as the systems of the freight operation write them, against an independent calculation of their totals.

Those in `real_like` are invented, with the quirks of the real ones; `DPA_REAL_FILES` names the folder of those.
"""

import csv
import json
import os
import shutil
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor


class Known(NamedTuple):
    """What the files of a folder give."""

    transactions: int
    machines: int
    groups: int
    alerts: int
    volume_t: float


REAL_LIKE = Path(__file__).with_name("real_like")
KNOWN = {REAL_LIKE: Known(60, 8, 11, 5, 2_915.2)}
if "DPA_REAL_FILES" in os.environ:
    KNOWN[Path(os.environ["DPA_REAL_FILES"])] = Known(500, 20, 30, 21, 26_926.06)
ERP, MACHINES = "erp_daily_transactions.csv", "api_reference_machines.json"
# Rows on both sides of local midnight: read as UTC they would fall on another day.
MIDNIGHT = ["TRX-900,MCH-001,2026-02-21 23:30:00,12.5,ERR", "TRX-901,MCH-001,2026-02-22 00:30:00,12.5,ERR"]

Totals = dict[tuple[str, str], tuple[int, object, int, int]]


@pytest.fixture(params=KNOWN, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest, folder: Path) -> Corridor:
    for name in (ERP, MACHINES):
        shutil.copy(folder / name, tmp_path / name)
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("machines", "machines", "json", MACHINES)
    return corridor.add_source("erp", "transactions", "csv", "erp*.csv")


def independent_totals(files: list[Path], machines: Path) -> Totals:
    """Sum the files up with the standard library alone: per local day and site, as the ERP writes the day."""
    sites = {row["machine_id"]: row["site_location"] for row in json.loads(machines.read_text(encoding="utf-8"))}
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for file in files:
        with file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                groups[row["date"][:10], sites[row["machine_id"]]].append(row)
    return {key: _summed(rows) for key, rows in groups.items()}


def _summed(rows: list[dict[str, str]]) -> tuple[int, object, int, int]:
    volumes = [float(row["volume_transferred"]) for row in rows]
    alerts = sum(row["status_code"] in ("WARN", "ERR") and float(row["volume_transferred"]) < 20 for row in rows)
    return len(rows), pytest.approx(sum(volumes), rel=1e-9), alerts, len({row["machine_id"] for row in rows})


def loaded_totals(corridor: Corridor) -> Totals:
    columns = ("total_transactions", "total_volume", "total_alerts", "active_machines")
    rows = corridor.rows("aggr_daily_site_stats", "CAST(transaction_date AS TEXT)", "site_location", *columns)
    return {(row[0], row[1]): (row[2], row[3], row[4], row[5]) for row in rows}


def test_the_files_give_the_known_totals(corridor: Corridor, folder: Path) -> None:
    report = corridor.load()
    totals = loaded_totals(corridor)
    found = Known(
        report.counts("erp").inserted,
        report.counts("machines").inserted,
        len(totals),
        sum(alerts for _, _, alerts, _ in totals.values()),
        round(sum(float(str(volume)) for _, volume, _, _ in totals.values()), 2),
    )
    assert found == KNOWN[folder]


def test_every_day_and_site_equals_an_independent_sum_around_midnight_too(corridor: Corridor) -> None:
    corridor.write_transactions("erp_midnight.csv", MIDNIGHT)
    corridor.load()
    files = [corridor.folder / ERP, corridor.folder / "erp_midnight.csv"]
    assert loaded_totals(corridor) == independent_totals(files, corridor.folder / MACHINES)


def test_times_are_stored_in_utc(corridor: Corridor) -> None:
    corridor.load()
    (first,) = corridor.rows("fact_transactions WHERE transaction_id = 'TRX-0'", "transaction_at", order_by="1")
    with (corridor.folder / ERP).open(encoding="utf-8", newline="") as stream:
        local = datetime.fromisoformat(next(csv.DictReader(stream))["date"])
    assert str(first[0])[:19] == str(local - timedelta(hours=1))
