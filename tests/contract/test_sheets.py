"""Sheets, hidden parts and merged cells, in every kind of workbook: nothing is lost without a word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.frames import BadRow, each_bad_row
from freight.readers import find_files, reader_for
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import nightly
from tests.lib.workbooks import WRITERS, Error, Look

HEADER: list[Any] = ["ID transaction", "Machine", "Date", "Volume (t)", "Statut"]
AT = datetime(2026, 2, 1, 10, 0)


def row(number: int, volume: object = 12.5) -> list[Any]:
    return [f"TRX-{number}", "MCH-001", AT, volume, "OK"]


@dataclass(frozen=True)
class Read:
    """What was read from a workbook: the rows, each with its number, the faults and the remarks."""

    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    faults: list[BadRow]
    remarks: list[str]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """The first cell and the number of each row."""
        return [(cells[0], cells[-1]) for cells in self.rows]


def read(path: Path, **options: object) -> Read:
    table = reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), options)
    batches = list(table.batches)
    return Read(
        table.header,
        [
            tuple(cells[name] for name in (*map(str, range(len(table.header))), "row_number"))
            for b in batches
            for cells in b.rows.iter_rows(named=True)
        ],
        [bad for batch in batches for bad in each_bad_row(batch.faults)],
        [batch.remark for batch in batches if batch.remark],
    )


def refusal(path: Path, **options: object) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, **options)
    return caught.value


@pytest.fixture(params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(kind: str, tmp_path: Path) -> Path:
    return tmp_path / f"erp{kind}"


def write(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]], **looks: Look) -> None:
    WRITERS[path.suffix](path, sheets, looks=looks)


def test_all_sheets_with_the_header_are_one_table(path: Path) -> None:
    months = {
        "Janvier": [HEADER, row(1), row(2)],
        "Février": [["Export"], [], HEADER, row(3)],
        "Notes": [["only words"], ["and more"]],
        "Mars": [HEADER, row(4)],
    }
    write(path, months)
    found = read(path)
    assert found.keys == [("TRX-1", 2), ("TRX-2", 3), ("TRX-3", 10_000_004), ("TRX-4", 20_000_002)]
    assert found.remarks == [
        "read the sheets 'Janvier', 'Février', 'Mars'",
        "not read, with another header: 'Notes'",
    ]


def test_sheets_may_differ_in_the_order_of_columns_and_lack_optional_ones(tmp_path: Path) -> None:
    path = tmp_path / "machines.xlsx"
    contract = contract_for("machines")
    names = [column.name for column in contract.columns]
    optional = [column.name for column in contract.columns if column.optional]
    needed = [name for name in names if name not in optional]
    WRITERS[".xlsx"](
        path, {"A": [needed, [f"a{n}" for n in needed]], "B": [names[::-1], [f"b{n}" for n in names[::-1]]]}
    )
    table = reader_for("excel")(find_files(str(path), path.parent)[0], contract, {})
    rows = [cells for batch in table.batches for cells in batch.rows.iter_rows(named=True)]
    read_back = [{name: cells[str(place)] for place, name in enumerate(table.header)} for cells in rows]
    assert read_back == [
        {name: f"a{name}" if name in needed else "" for name in names},
        {name: f"b{name}" for name in names},
    ]


def test_a_sheet_that_may_be_part_of_the_table_is_never_passed_over(path: Path) -> None:
    """March has another word for the volume."""
    renamed = [*HEADER[:3], "Poids", "Statut"]
    write(path, {"Janvier": [HEADER, row(1)], "Mars": [renamed, row(2)]})
    error = refusal(path)
    assert error.fault == "ambiguous_sheets"
    assert error.message == "the header of the sheet 'Mars' lacks 'Volume (t)', which 'Janvier' has"
    assert "`options: {sheet: ['Janvier']}`" in error.remedy
    assert read(path, skip_sheets=["Mars"]).keys == [("TRX-1", 2)]
    assert refusal(path, sheet="*").fault == "ambiguous_sheets"


def test_a_sheet_that_sums_up_the_others_is_never_data(path: Path) -> None:
    sums: dict[str, list[Any]] = {
        "Synthèse": [["Machine", "Volume (t)"], ["MCH-001", 25.0]],
        "Cumul": [HEADER[1:], row(1)[1:]],
    }
    write(path, {"Janvier": [HEADER, row(1)], "Février": [HEADER, row(2)], **sums})
    assert read(path).keys == [("TRX-1", 2), ("TRX-2", 10_000_002)]
    write(path, {"Janvier": [HEADER, row(1)], "Total": [HEADER, row(1, 40.0)]})
    error = refusal(path)
    assert (error.fault, "'Total' sums up others by its name" in error.message) == ("ambiguous_sheets", True)
    assert "`options: {sheet: ['Janvier']}`" in error.remedy
    assert "`options: {skip_sheets: ['Total']}`" in error.remedy
    assert read(path, skip_sheets=["Tot*"]).keys == [("TRX-1", 2)]
    assert read(path, sheet=["Janvier", "Total"]).keys == [("TRX-1", 2), ("TRX-1", 10_000_002)]


def test_a_sheet_named_total_alone_is_the_table(path: Path) -> None:
    write(path, {"Total": [HEADER, row(1)]})
    assert read(path).keys == [("TRX-1", 2)]


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_a_hidden_sheet_is_read_only_if_the_catalog_names_it(path: Path, state: Any) -> None:
    write(path, {"Old": [HEADER, row(9)], "New": [HEADER, row(1)]}, Old=Look(state))
    found = read(path)
    assert found.keys == [("TRX-1", 2)]
    assert found.remarks == ["not read, hidden: 'Old'"]
    assert read(path, sheet="*").keys == [("TRX-1", 2)]
    assert read(path, sheet="Old").keys == [("TRX-9", 2)]
    assert read(path, sheet=["New", "Old"]).keys == [("TRX-9", 2), ("TRX-1", 10_000_002)]


def test_a_table_that_only_a_hidden_sheet_has_is_named(path: Path) -> None:
    write(path, {"Old": [HEADER, row(9)], "New": [["only words"]]}, Old=Look("hidden"))
    error = refusal(path)
    assert (error.fault, "`options: {sheet: ['Old']}`" in error.remedy) == ("ambiguous_sheets", True)


def test_a_pattern_names_sheets_and_one_that_names_none_is_told(path: Path) -> None:
    write(path, {"2026-01": [HEADER, row(1)], "2026-02": [HEADER, row(2)], "Brouillon": [HEADER, row(3)]})
    assert [key for key, _ in read(path, sheet="2026-*").keys] == ["TRX-1", "TRX-2"]
    assert refusal(path, sheet=["2026-*", "2027-*"]).message == "there is no sheet '2027-*'"


def test_hidden_rows_and_columns_are_data_and_are_counted(path: Path) -> None:
    look = Look(rows=(3, 4, 6), columns=(4,))
    write(path, {"Data": [HEADER, *(row(number) for number in range(1, 7))]}, Data=look)
    found = read(path)
    assert [key for key, _ in found.keys] == [f"TRX-{number}" for number in range(1, 7)]
    assert {cells[3] for cells in found.rows} == {"12.5"}
    assert found.remarks == [
        "read like the others: 3 hidden or filtered rows: 3-4, 6",
        "read like the others: hidden columns: D",
    ]


def test_rows_that_a_filter_hides_are_read(tmp_path: Path) -> None:
    path = tmp_path / "erp.xlsx"
    WRITERS[".xlsx"](path, {"Data": [HEADER, row(1), row(2)]})
    book = openpyxl.load_workbook(path)
    book.active.auto_filter.ref = "A1:E3"
    book.active.auto_filter.add_filter_column(0, ["TRX-1"])
    book.active.row_dimensions[3].hidden = True
    book.save(path)
    found = read(path)
    assert (len(found.rows), found.remarks) == (2, ["read like the others: 1 hidden or filtered row: 3"])


def test_a_value_merged_over_rows_belongs_to_each_of_them(path: Path) -> None:
    rows = [HEADER, row(1), row(2), row(3), row(4)]
    for covered in (2, 3):
        rows[covered] = [rows[covered][0], None, *rows[covered][2:]]
    write(path, {"Data": rows}, Data=Look(merged=[(2, 4, 2, 2)]))
    found = read(path)
    assert ([cells[1] for cells in found.rows], found.faults) == (["MCH-001"] * 4, [])
    assert found.remarks == ["filled down in merged cells: 2 cells"]


def test_an_error_merged_over_rows_is_the_fault_of_each(path: Path) -> None:
    rows = [HEADER, row(1, Error("#N/A")), row(2, None), row(3)]
    write(path, {"Data": rows}, Data=Look(merged=[(2, 3, 4, 4)]))
    found = read(path)
    assert [(bad.row_number, bad.reason) for bad in found.faults] == [(2, "excel_error"), (3, "excel_error")]
    assert found.keys == [("TRX-3", 4)]


def test_merged_cells_below_the_last_row_make_no_row(path: Path) -> None:
    write(path, {"Data": [HEADER, row(1), [None] * 5, row(2)]}, Data=Look(merged=[(2, 3, 1, 1)]))
    assert read(path).keys == [("TRX-1", 2), ("TRX-2", 4)]


def test_a_value_merged_over_columns_is_refused_with_words(path: Path) -> None:
    rows = [HEADER, row(1), ["TRX-2", "MCH-001", None, 12.5, "OK"], row(3)]
    write(path, {"Data": rows}, Data=Look(merged=[(3, 3, 2, 3)]))
    found = read(path)
    assert [key for key, _ in found.keys] == ["TRX-1", "TRX-3"]
    ((number, _, reason, detail, raw, _),) = found.faults
    assert (number, reason) == (3, "merged_cells")
    assert detail == "the cells B3:C3 are merged: their value may belong to any of their columns"
    assert b"MCH-001" in raw


def test_a_header_of_two_lines_is_joined(path: Path) -> None:
    """A group over two columns, and cells merged over both lines."""
    top = ["ID transaction", "Machine", "Date", "Volume", None, "Statut"]
    below = [None, None, None, "(t)", "(m3)", None]
    data = ["TRX-1", "MCH-001", AT, 12.5, 30, "OK"]
    merged = [(2, 3, c, c) for c in (1, 2, 3, 6)] + [(2, 2, 4, 5)]
    write(path, {"Data": [["Export"], top, below, data]}, Data=Look(merged=merged))
    expected = ("ID transaction", "Machine", "Date", "Volume (t)", "Volume (m3)", "Statut")
    for options in ({"header_rows": 2}, {"header_rows": 2, "header_row": 2}):
        found = read(path, **options)
        assert found.header == expected
        assert found.rows == [("TRX-1", "MCH-001", "2026-02-01 10:00:00", "12.5", "30", "OK", 4)]


def test_a_column_with_errors_may_be_ignored(path: Path) -> None:
    rows = [[*HEADER, "Écart"], [*row(1), Error("#N/A")], [*row(2), Error("#REF!")]]
    write(path, {"Data": rows})
    assert len(read(path).faults) == 2
    found = read(path, ignore=["ECART"])
    assert (found.header, len(found.rows), found.faults) == (tuple(HEADER), 2, [])


def test_bad_rows_and_remarks_name_their_sheet(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = nightly(tmp_path, warehouse.engine)
    corridor.add_source(
        "book", "transactions", "excel", "book*.xlsx", options={"ignore": ["Photo"]}, quarantine_limit=1.0
    )
    sheets = {
        "Janvier": [[*HEADER, "Photo"], [*row(1), "x"], [*row(2, "abc"), "x"]],
        "Février": [HEADER, row(3), row(4, Error("#N/A")), row(5, "abc")],
    }
    WRITERS[".xlsx"](tmp_path / "book_20260201.xlsx", sheets)
    (outcome,) = [one for one in corridor.load().outcomes if one.source == "book"]
    assert outcome.message == ("left out, as the catalog says: 'Photo'; read the sheets 'Janvier', 'Février'")
    assert outcome.counts.inserted == 2
    told = corridor.rows("quarantine", "row_number", "detail", order_by="1")
    assert [number for number, _ in told] == [3, 10_000_003, 10_000_004]
    assert [detail.partition(":")[0] for _, detail in told] == [
        "row 3 of sheet 'Janvier'",
        "row 3 of sheet 'Février'",
        "row 4 of sheet 'Février'",
    ]


def test_an_error_in_one_of_several_sheets_names_it(path: Path) -> None:
    stray = [["ID transaction", None, *HEADER[1:]], ["TRX-2", "stray", *row(2)[1:]]]
    write(path, {"Janvier": [HEADER, row(1)], "Février": stray})
    table_error = refusal(path)
    assert (table_error.row, table_error.message.startswith("in the sheet 'Février', column 2 (B)")) == (2, True)
