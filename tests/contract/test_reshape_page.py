"""docs/reshape.md, followed as it is written."""

import re
from pathlib import Path

import pytest
import yaml

from freight.console.summary import reasons
from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor
from tests.lib.dpa import Dpa
from tests.lib.readme import files_to_write

PAGE = (PROJECT_ROOT / "docs" / "reshape.md").read_text(encoding="utf-8")
WRITTEN = files_to_write(PAGE)
CHECKED, FAILED = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MACHINES = [
    {"machine_id": "MCH-001", "site_location": "Douala", "installation_year": 2010, "machine_type": "crane"},
    {"machine_id": "MCH-002", "site_location": "Bélabo", "installation_year": 2012, "machine_type": "crane"},
]


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """The files of the page, and a warehouse with two machines."""
    corridor = Corridor(tmp_path, warehouse.engine).add_source("machines", "machines", "json", "machines*.json")
    corridor.write_machines("machines_20260101.json", MACHINES)
    corridor.load()
    for name, text in WRITTEN.items():
        corridor.write(name, text)
    return corridor


def done(corridor: Corridor, *arguments: str) -> str:
    """Return what a command of the page shows."""
    dpa = Dpa(corridor.folder, corridor.engine.url.render_as_string(hide_password=False))
    dpa.environment["DPA_CATALOG"] = str(corridor.folder / "bridge-catalog.yaml")
    return dpa(*arguments).stdout


def test_a_check_says_what_the_page_says(corridor: Corridor) -> None:
    told = done(corridor, "sources", "check", "pont")
    assert re.sub(r" \([0-9a-f]{16}\)", "", told) == CHECKED


def test_a_preview_looks_machines_up_and_computes_tonnes(corridor: Corridor) -> None:
    told = done(corridor, "sources", "preview", "pont")
    (second,) = (line.split() for line in told.splitlines() if "TRX-102" in line)
    assert second == ["TRX-102", "MCH-002", "2026-02-28", "07:40:00+00:00", "31.25", "WARN"]


def test_an_error_is_told_as_the_page_tells_it(corridor: Corridor) -> None:
    sample = corridor.folder / "pont" / "pont_20260301.csv"
    sample.write_text(sample.read_text(encoding="utf-8").replace("Etat", "Statut"), encoding="utf-8")
    corridor.sources = yaml.safe_load(WRITTEN["bridge-catalog.yaml"])["sources"]
    assert reasons(corridor.load(), "failed") == [FAILED.rstrip()]
