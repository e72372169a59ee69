"""Columns that the catalog leaves out: none of their values counts, in any reader."""

import json
from pathlib import Path

import pytest

from freight.contracts import contract_for
from freight.readers import find_files, reader_for
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor

RECORD = {"machine_id": "MCH-001", "Écart": {"nested": 1}, "site_location": "Douala", "installation_year": 2010}
CSV = "machine_id,ÉCART,site_location,installation_year\nMCH-001,?,Douala,2010\n"


@pytest.mark.parametrize(
    ("reader", "content"),
    [("csv", CSV), ("json", json.dumps([RECORD])), ("jsonl", json.dumps(RECORD))],
)
def test_a_column_is_left_out_by_its_name(tmp_path: Path, reader: str, content: str) -> None:
    path = tmp_path / "machines"
    path.write_text(content, encoding="utf-8")
    file = find_files(str(path), tmp_path)[0]
    table = reader_for(reader)(file, contract_for("machines"), {"ignore": ["ecart"]})
    batches = list(table.batches)
    assert table.header == ("machine_id", "site_location", "installation_year")
    assert [fold.lower() for fold in table.ignored] == ["écart"]
    rows = [row for batch in batches for row in batch.rows.rows(named=True)]
    assert [(row["0"], row["1"], row["2"], row["row_number"]) for row in rows] == [
        ("MCH-001", "Douala", "2010", 2 if reader == "csv" else 1)
    ]
    assert all(batch.faults.is_empty() for batch in batches)
    signs = [row["native_numbers"] for row in rows if "native_numbers" in row]
    assert signs == ([] if reader == "csv" else ["001"])


def test_columns_that_are_left_out_are_told_once(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("machines", "machines", "json", "machines*.json", options={"ignore": ["Écart", "Absent"]})
    corridor.write("machines_20260101.json", json.dumps([RECORD, {**RECORD, "machine_id": "MCH-002"}]))
    (outcome,) = corridor.load().outcomes
    assert (outcome.message, outcome.counts.inserted) == ("left out, as the catalog says: 'Écart'", 2)
