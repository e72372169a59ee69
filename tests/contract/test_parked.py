"""Files that failed: each run repeats the reason, the remedy and since when; `dpa parked` lists them."""

import json
import os
import re
import zipfile
from datetime import date
from pathlib import Path

import pytest

from freight.pipeline import CoreSteps, Run, run_catalog
from freight.types import RunId
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import HEADER, Corridor, nightly
from tests.lib.dpa import Dpa

THOUSANDS = "id;machine;date;volume;statut\n" + "".join(
    f"TRX-{number};MCH-001;2026-02-01 10:00:00;{volume};OK\n" for number, volume in enumerate(("1.250", "2.400"))
)
TOLD = "'1.250' can be 1.250 or 1250"


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.write("erp_20260202.csv", THOUSANDS)
    corridor.load()
    return corridor


def dpa(corridor: Corridor, *arguments: str) -> str:
    return Dpa(corridor.folder, corridor.engine.url.render_as_string(hide_password=False))(*arguments).stdout


def test_a_run_repeats_why_a_file_is_parked_and_since_when(corridor: Corridor) -> None:
    outcome = corridor.load().outcomes[-1]
    assert outcome.state == "parked"
    assert outcome.message.startswith("erp_20260202.csv, row 2, column 'volume': " + TOLD)
    assert 'options: {decimal: ","}' in outcome.message
    assert (
        "Parked since 2026-03-01 13:00 in Africa/Douala: the same content is tried again after `dpa retry`"
        in outcome.message
    )


def test_parked_files_are_listed_until_they_are_released_or_loaded(corridor: Corridor) -> None:
    listed = dpa(corridor, "parked")
    assert "PARKED since 2026-03-01 12:00 UTC erp: erp_20260202.csv, row 2, column 'volume': " + TOLD in listed
    assert listed.endswith("Parked files: 1\n")
    (found,) = json.loads(dpa(corridor, "parked", "--json"))
    assert (found["source"], found["location"], found["fault"]) == ("erp", "erp_20260202.csv", "ambiguous_numbers")
    assert json.loads(dpa(corridor, "parked", "--source", "machines", "--json")) == []
    dpa(corridor, "retry")
    assert dpa(corridor, "parked") == "No file is parked\n"


def test_a_file_that_is_delivered_again_and_loads_is_parked_no_more(corridor: Corridor) -> None:
    path = corridor.write("erp_20260202.csv", THOUSANDS.replace("2.400", "12.5"))
    os.utime(path, (1e9, 1e9))
    corridor.now = corridor.now.replace(hour=13)
    assert corridor.load().failures == []
    assert dpa(corridor, "parked") == "No file is parked\n"


def test_a_failed_file_that_was_taken_away_is_told_once(corridor: Corridor) -> None:
    (corridor.folder / "erp_20260202.csv").unlink()
    corridor.write_transactions("erp_20260203.csv", ["TRX-7,MCH-001,2026-02-01 10:00:00,30,OK"])
    told = dpa(corridor, "run")
    line = (
        "GONE erp: erp_20260202.csv: the file is not there any more; it failed at 2026-03-01 13:00 in Africa/Douala "
        "with ambiguous_numbers [gone]. Remedy: none if it was taken away on purpose, else deliver it again; "
        "`dpa history erp_20260202.csv` shows why it failed"
    )
    assert line in told.splitlines()
    assert "erp: 1 gone" in told
    assert "1 row read: 1 changed the warehouse, 0 quarantined; 1 gone" in told
    assert re.search(r"^erp +1 +1 ", told, re.MULTILINE)  # one file is there
    again = dpa(corridor, "run")
    assert ("gone" in again.lower(), "Nothing to do" in again) == (False, True)
    assert TOLD in dpa(corridor, "history", "erp_20260202.csv")


def test_the_list_names_a_file_that_was_taken_away_until_it_is_released(corridor: Corridor) -> None:
    (corridor.folder / "erp_20260202.csv").unlink()
    corridor.write_transactions("erp_20260203.csv", ["TRX-7,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    listed = dpa(corridor, "parked").splitlines()
    assert listed[0].startswith("GONE since 2026-03-01 12:00 UTC erp: erp_20260202.csv: the file is not there any more")
    assert listed[1:] == ["No file is parked"]
    assert [one["fault"] for one in json.loads(dpa(corridor, "parked", "--json"))] == ["gone"]
    assert dpa(corridor, "retry") == "0 parked files will be tried again by the next run\n"
    assert dpa(corridor, "parked") == "No file is parked\n"


def test_a_file_that_comes_back_is_tried_again_and_parked_again(corridor: Corridor) -> None:
    (corridor.folder / "erp_20260202.csv").unlink()
    corridor.write_transactions("erp_20260203.csv", ["TRX-7,MCH-001,2026-02-01 10:00:00,30,OK"])
    corridor.load()
    corridor.write("erp_20260202.csv", THOUSANDS)
    assert [outcome.state for outcome in corridor.load().failures] == ["failed"]
    assert [outcome.state for outcome in corridor.load().outcomes].count("parked") == 1
    assert "PARKED since" in dpa(corridor, "parked")


def test_a_check_tells_that_a_file_is_gone_and_records_nothing(corridor: Corridor) -> None:
    (corridor.folder / "erp_20260202.csv").unlink()
    corridor.write_transactions("erp_20260203.csv", ["TRX-7,MCH-001,2026-02-01 10:00:00,30,OK"])
    for _ in range(2):
        assert "GONE erp erp_20260202.csv: the file is not there any more" in dpa(corridor, "sources", "check")


def test_a_file_whose_source_shows_one_day_only_is_not_gone(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.sources[1]["location"] = "erp_{day:%Y%m%d}.csv"
    corridor.write("erp_20260202.csv", THOUSANDS)
    corridor.write_transactions("erp_20260203.csv", ["TRX-7,MCH-001,2026-02-01 10:00:00,30,OK"])
    assert len(corridor.load().failures) == 1
    run = Run(corridor.engine, RunId("day"), tmp_path / "spool", lambda: corridor.now)
    catalog = corridor.catalog.only(["erp"], dated=True).on_day(date(2026, 2, 3))
    assert run_catalog(CoreSteps(run, catalog), "tester@here").gone == 0


def test_an_archive_that_was_damaged_is_not_gone_when_its_files_can_be_read(
    tmp_path: Path, warehouse: WarehouseUnderTest
) -> None:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.sources[1]["location"] = "erp*.zip"
    corridor.write("erp_20260202.zip", b"PK no archive")
    assert len(corridor.load().failures) == 1
    with zipfile.ZipFile(tmp_path / "erp_20260202.zip", "w") as archive:
        archive.writestr("erp.csv", f"{HEADER}\nTRX-7,MCH-001,2026-02-01 10:00:00,30,OK\n")
    report = corridor.load()
    assert (report.gone, report.counts("erp").inserted) == (0, 1)
