"""Files that failed: each run repeats the reason, the remedy and since when; `dpa parked` lists them."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
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
