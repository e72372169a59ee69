"""Columns of a fixed width: each cell is at its place, and what does not fit is told by line."""

from pathlib import Path
from typing import Any

import pytest

from freight.contracts import contract_for
from freight.errors import ConfigurationError, SourceError
from freight.frames import BadRow, each_bad_row
from freight.readers import find_files, reader_for
from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import nightly

COLUMNS = [
    {"name": "transaction_id", "width": 8},
    {"name": "machine_id", "width": 8},
    {"name": "date", "width": 20},
    {"name": "volume_transferred", "width": 8},
    {"name": "status_code", "start": 46, "end": 48},
]
AT = "2026-02-01 10:00:00"


def line(number: int, volume: str = "12.5", status: str = "OK") -> str:
    return f"{f'TRX-{number}':8}{'MCH-001':8}{AT:20}{volume:>8} {status:3}"


def read(path: Path, **options: Any) -> tuple[list[tuple[Any, ...]], list[BadRow]]:
    file = find_files(str(path), path.parent)[0]
    table = reader_for("fixed_width")(file, contract_for("transactions"), {"columns": COLUMNS, **options})
    batches = list(table.batches)
    return [row for b in batches for row in b.rows.rows()], [bad for b in batches for bad in each_bad_row(b.faults)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_cells_are_cut_by_their_places(tmp_path: Path, end: str, encoding: str) -> None:
    path = tmp_path / "erp.txt"
    lines = ["Relevé du marché", "", line(1), "", line(2, "1 250,5").replace("MCH-001", "été-001").rstrip()]
    path.write_bytes((end.join(lines) + end).encode(encoding))
    assert read(path, skip_lines=2) == (
        [("TRX-1", "MCH-001", AT, "12.5", "OK", 3), ("TRX-2", "été-001", AT, "1 250,5", "OK", 5)],
        [],
    )


def test_what_does_not_fit_the_places_is_a_fault_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "erp.txt"
    lines = [line(1), line(2) + " beyond", line(3).replace(" ", "\t", 1), *[line(9).replace("MCH", "éCH")] * 99]
    stray = line(4).replace("MCH", "\xe9CH").encode("latin-1")
    path.write_bytes("\n".join(lines).encode() + b"\n" + stray + b"\n")
    rows, faults = read(path)
    assert [row[0] for row in rows] == ["TRX-1", *["TRX-9"] * 99]
    told = [(bad.row_number, bad.reason) for bad in faults]
    assert told == [(2, "ragged_row"), (3, "ragged_row"), (103, "bad_encoding")]
    assert faults[0].detail == "text after the last column, which ends at 48"
    assert "a tab" in faults[1].detail


def test_a_value_that_a_wrong_place_cuts_off_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "erp.txt"
    path.write_text(line(1, "1250.5") + "\n", encoding="utf-8")
    columns = [*COLUMNS[:3], {"name": "volume_transferred", "start": 40, "end": 44}, COLUMNS[4]]
    rows, (fault,) = read(path, columns=columns)
    assert rows == []
    assert (fault.reason, fault.detail) == ("ragged_row", "a value is cut off between the characters 39 and 40")


def test_a_file_that_lacks_the_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "erp.txt"
    path.write_text("a;b;c\n1;2;3\n", encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        read(path)
    assert (caught.value.fault, caught.value.column) == ("missing_column", "machine_id")


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [{"name": "a"}],
        [{"name": "a", "width": 2, "end": 3}],
        [{"name": "a", "end": 3}],
        [{"name": "a", "start": 3, "end": 2}],
        [{"name": "a", "width": 5}, {"name": "b", "start": 4, "width": 2}],
        [{"name": "a", "width": 0}],
        [{"name": "a", "widht": 2}],
    ],
)
def test_columns_without_one_place_each_are_refused_in_the_catalog(columns: list[dict[str, object]]) -> None:
    with pytest.raises(ConfigurationError, match="columns"):
        reader_for("fixed_width").options.of({"columns": columns})


def test_a_file_of_a_fixed_width_loads(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.add_source("mainframe", "transactions", "fixed_width", "dump*.txt", options={"columns": COLUMNS})
    corridor.write("dump_20260201.txt", "".join(f"{line(number)}\n" for number in range(1, 5)))
    (outcome,) = [one for one in corridor.load().outcomes if one.source == "mainframe"]
    assert outcome.counts == LoadCounts(read=4, inserted=4)
