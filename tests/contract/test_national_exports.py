"""Exports of four countries, loaded with the catalog of docs/add-a-source.md."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor
from tests.lib.dpa import Dpa
from tests.lib.exports import EXPORTS

PAGE = (PROJECT_ROOT / "docs" / "add-a-source.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Exports of four countries\n")[2].partition("\n## ")[0]
SOURCES: list[dict[str, Any]] = yaml.safe_load(SECTION.partition("```yaml\n")[2].partition("```")[0])["sources"]
CHECKED = SECTION.partition("```text\n")[2].partition("```")[0]
VOLUMES = [1250.5, 87.25, 2400.0, None]
NOON_OF_THE_US = datetime(2026, 2, 27, 11, tzinfo=UTC)
INSTANTS = [datetime(2026, 2, *at, tzinfo=UTC) for at in ((3, 7, 5), (3, 16, 40), (14, 5, 15), (27, 22, 59))]


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    corridor = Corridor(tmp_path, warehouse.engine, [*SOURCES])
    for name, write in EXPORTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name)
    return corridor


def test_each_country_has_a_text_file_and_a_workbook_and_at_most_two_options() -> None:
    assert len(SOURCES) == len(EXPORTS) == 8
    assert {source["reader"] for source in SOURCES} == {"csv", "excel"}
    assert max(len(source["options"]) for source in SOURCES) <= 2


def test_every_move_loads_as_its_program_means_it(corridor: Corridor) -> None:
    report = corridor.load()
    assert [(outcome.counts.read, outcome.counts.quarantined) for outcome in report.outcomes] == [(4, 0)] * 8
    stored = sorted(corridor.stored("transactions"), key=lambda row: row["transaction_id"])
    assert len(stored) == 4 * len(EXPORTS)
    assert corridor.rows("quarantine", "reason", order_by="1") == []
    for first in range(0, len(stored), 4):
        moves = stored[first : first + 4]
        american = moves[0]["transaction_id"].startswith("TRX-2")
        assert [row["volume_transferred_t"] for row in moves] == VOLUMES
        assert [row["transaction_at"] for row in moves] == [*INSTANTS[:3], NOON_OF_THE_US if american else INSTANTS[3]]
        assert [row["machine_id"] for row in moves] == ["MCH-001", "MCH-002"] * 2
        assert [row["status_code"] for row in moves] == ["OK", "WARN", "OK", "ERR"]


def check(corridor: Corridor, source: str) -> str:
    assert corridor.catalog  # writes it
    dpa = Dpa(corridor.folder, corridor.engine.url.render_as_string(hide_password=False))
    dpa.environment["DPA_CATALOG"] = str(corridor.folder / "catalog.yaml")
    return dpa("sources", "check", source).stdout


def test_a_check_says_what_the_page_says(corridor: Corridor) -> None:
    assert check(corridor, "usa") == CHECKED


def test_the_proof_in_a_workbook_names_its_sheet(corridor: Corridor) -> None:
    assert "day first, as '14/02/2026' in row 2 of sheet 'Février 2', column 'Date heure'" in check(
        corridor, "france_excel"
    )
