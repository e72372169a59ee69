"""What the runbook shows does what it says, on both engines."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from freight.settings import PROJECT_ROOT
from freight.types import RunId
from freight.warehouse.connect import reading, transaction
from freight.warehouse.ledger import start_run
from freight.warehouse.schema import reshapes
from freight.warehouse.streams import ListenerRef, ListenerSign, Stream, note_listener
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import MACHINES, NOW, Corridor, nightly
from tests.lib.postgres import server_programs
from tests.lib.tables import content_of

RUNBOOK = (PROJECT_ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
DOSSIER = (PROJECT_ROOT / "docs" / "exploitation.fr.md").read_text(encoding="utf-8")
EMBEDDED = "database/supply_chain_dwh.sqlite"
BACKUP_OF_THAT_DAY = r"dwh_\d{4}-\d\d-\d\d"
GOOD = "TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"
BAD = "TRX-9,MCH-001,never,1,OK"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """A loaded corridor with a row in quarantine, a parked file, and a run that never ended."""
    corridor = nightly(tmp_path, warehouse.engine)
    rows = [GOOD.replace("TRX-1", f"TRX-{number}") for number in range(3)]
    corridor.write_transactions("erp_20260202.csv", [*rows, BAD])
    corridor.write_transactions("erp_20260203.csv", [BAD])
    assert len(corridor.load().failures) == 1
    with transaction(corridor.engine) as connection:
        start_run(connection, RunId("killed"), "tester@here", NOW)
        counts = dict.fromkeys(("rows_in", "rows_out", "dropped", "added", "numbers_per_row"), 1)
        connection.execute(reshapes.insert().values(batch_id=1, function="erp.rows", version="1", **counts))
    leave_a_listener_behind(corridor)
    return corridor


def leave_a_listener_behind(corridor: Corridor) -> None:
    """A listener that told of itself once, and has never ended."""
    sign = ListenerSign("listening", 1, 0, 0, NOW, NOW, None)
    stream = Stream("transactions", "freight.transactions", "dpa")
    note_listener(corridor.engine, stream, ListenerRef("gone", RunId("killed")), sign, NOW)


@pytest.mark.parametrize("query", blocks(RUNBOOK, "sql"))
def test_each_query_finds_what_it_is_there_for(corridor: Corridor, query: str) -> None:
    with reading(corridor.engine) as connection:
        assert connection.execute(sa.text(query)).all()


@pytest.fixture
def shell(corridor: Corridor, warehouse: WarehouseUnderTest) -> Callable[[str], None]:
    """Run shell lines in the corridor's folder, with the warehouse and the virtual environment of this test."""
    (corridor.folder / ".venv").symlink_to(sys.prefix)
    programs = server_programs()
    environment = {
        **os.environ,
        "DPA_HOME": str(corridor.folder),
        "DPA_WAREHOUSE_URL": warehouse.url,
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
    }

    def run(lines: str) -> None:
        lines = lines.replace(EMBEDDED, "database/warehouse.sqlite")
        subprocess.run(["sh", "-e", "-c", lines], cwd=corridor.folder, env=environment, check=True)

    return run


def test_a_restored_backup_and_the_next_run_give_what_was_there(
    corridor: Corridor, warehouse: WarehouseUnderTest, shell: Callable[[str], None]
) -> None:
    suffix = ".sqlite" if warehouse.engine.dialect.name == "sqlite" else ".dump"
    backup, restore = (block for block in blocks(RUNBOOK, "sh") if re.search(rf"backup/dwh_.*\{suffix}", block))
    shell(backup)
    corridor.write_transactions("erp_20260204.csv", [GOOD.replace("TRX-1", "TRX-4")])
    corridor.write_machines("machines_20260202.json", [{**MACHINES[0], "site_location": "Edéa"}])
    corridor.load()
    before = content_of(warehouse.engine)
    warehouse.engine.dispose()
    (made,) = (corridor.folder / "backup").iterdir()
    shell(re.sub(BACKUP_OF_THAT_DAY, made.stem, restore))
    assert content_of(warehouse.engine) != before
    corridor.load()
    assert content_of(warehouse.engine) == before


def test_the_french_dossier_backs_up_and_restores_by_the_same_commands() -> None:
    shown = {line for block in blocks(RUNBOOK, "sh") for line in block.splitlines()}
    same = [block for block in blocks(DOSSIER, "sh") if "backup/" in block]
    assert len(same) == 4
    assert [line for block in same for line in block.splitlines() if line not in shown] == []
