"""A file of which another run has loaded another version is left for the next run, and not archived."""

from pathlib import Path
from typing import Any

import pytest

from freight.pipeline import load_conformed, steps
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor


def test_a_file_that_another_run_overtook_with_an_older_version_is_loaded_by_the_next_run_before_it_is_archived(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    corridor.add_source("erp", "transactions", "csv", "erp*.csv", archive="done")
    rows = [f"TRX-1,MCH-001,2026-02-01 10:00:00,{volume},OK" for volume in (10, 20)]
    path = corridor.write_transactions("erp_20260202.csv", rows[:1])
    honest: list[Any] = []

    def overtaken(*arguments: Any) -> Any:
        """Let the first run commit only after a second one has planned."""
        if not honest:
            honest.append(arguments)
            path.write_text(path.read_text().replace(rows[0], rows[1]))
            corridor.load()
        elif len(honest) == 1:
            honest.append(load_conformed(*honest[0]))
        return load_conformed(*arguments)

    monkeypatch.setattr(steps, "load_conformed", overtaken)
    corridor.load()
    assert honest[1].state == "loaded"
    assert path.exists()
    assert corridor.rows("fact_transactions", "volume_transferred_t", "1") == [(10.0, 1)]
    monkeypatch.undo()
    (outcome,) = corridor.load().outcomes
    assert (outcome.state, outcome.counts.updated) == ("loaded", 1)
    assert not path.exists()
