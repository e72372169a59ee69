"""Rows above a header and headers among rows: no row is lost, and none is read by the header of another table."""

from pathlib import Path

import openpyxl
import pytest

from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly

HEADER = ["id", "machine", "date", "volume", "statut"]
ROWS = [[f"TRX-{number}", "MCH-001", "2026-02-01 10:00:00", "1.5", "OK"] for number in range(4)]
OTHER = ["id", "machine", "date", "volume (kg)", "statut"]
SWAPPED = ["machine", "id", "date", "volume", "statut"]


@pytest.fixture(params=["csv", "xlsx"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, sqlite_warehouse.engine)


def outcome(corridor: Corridor, kind: str, rows: list[list[str]], **options: object) -> str:
    """Load a table; return the number of rows that load, and the reason why the file fails, if it does."""
    corridor.sources[-1] |= {"location": f"erp*.{kind}", "options": options}
    corridor.sources[-1]["reader"] = "csv" if kind == "csv" else "excel"
    if kind == "csv":
        corridor.write("erp_20260302.csv", "".join(";".join(row) + "\n" for row in rows))
    else:
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append(row)
        book.save(corridor.folder / "erp_20260302.xlsx")
    report = corridor.load()
    counts = report.outcomes[-1].counts
    return (
        report.outcomes[-1].message if report.outcomes[-1].state == "failed" else f"{counts.inserted} of {counts.read}"
    )


def test_a_table_that_is_sorted_together_with_its_header_is_refused(corridor: Corridor, kind: str) -> None:
    told = outcome(corridor, kind, [*ROWS[:2], HEADER, *ROWS[2:]])
    assert "row 1: the row has values for most columns of the header 'id', 'machine'" in told
    assert "[rows_above_header]. Remedy: move the header to the top" in told


def test_a_row_above_the_header_may_lack_some_cells(corridor: Corridor, kind: str) -> None:
    incomplete = [[*row[:3], "", row[4]] for row in ROWS[:2]]
    assert "[rows_above_header]" in outcome(corridor, kind, [*incomplete, HEADER, *ROWS[2:]])


def test_rows_above_the_header_are_no_rows_if_the_catalog_says_so(corridor: Corridor, kind: str) -> None:
    options = {"header_row": 3} if kind == "xlsx" else {"columns": HEADER, "skip_lines": 3}
    assert outcome(corridor, kind, [*ROWS[:2], HEADER, *ROWS[2:]], **options) == "2 of 2"


def test_titles_above_the_header_are_no_rows(corridor: Corridor, kind: str) -> None:
    titles = [["Terminal de Douala", "", "", "28/02/2026", ""], ["", "", "", "", ""]]
    assert outcome(corridor, kind, [*titles, HEADER, *ROWS]) == "4 of 4"


@pytest.mark.parametrize("other", [OTHER, SWAPPED])
def test_another_header_among_the_rows_refuses_the_file(corridor: Corridor, kind: str, other: list[str]) -> None:
    told = outcome(corridor, kind, [HEADER, *ROWS[:2], other, *ROWS[2:]])
    assert f"row 4: the row is another header: '{other[0]}', '{other[1]}'" in told
    assert "[second_header]. Remedy: deliver each table in a file or sheet of its own" in told


def test_the_same_header_on_each_page_costs_only_its_own_row(corridor: Corridor, kind: str) -> None:
    assert outcome(corridor, kind, [HEADER, *ROWS[:2], HEADER, *ROWS[2:]]) == "4 of 5"


def test_the_day_and_the_number_of_a_footer_prove_nothing(corridor: Corridor, kind: str) -> None:
    rows = [[f"TRX-{number}", "MCH-001", "03/02/2026 10:00", "1.5", "OK"] for number in range(4)]
    told = outcome(corridor, kind, [HEADER, *rows, ["Printed", "", "11/13/2026 10:00", "1,5", ""]])
    assert "'03/02/2026' can have the day or the month first, and no day of the file proves which" in told


@pytest.mark.parametrize("unit", ["kg", "(KG)", "lb"])
def test_a_row_of_other_units_below_the_header_refuses_the_file(corridor: Corridor, kind: str, unit: str) -> None:
    told = outcome(corridor, kind, [HEADER, ["", "", "", unit, ""], *ROWS])
    assert f"row 2, column 'volume': the row names the unit {unit!r} for the numbers below it, and the contract" in told
    assert "[other_unit]. Remedy: deliver the column in tonnes" in told


def test_a_row_of_the_same_units_costs_only_itself(corridor: Corridor, kind: str) -> None:
    assert outcome(corridor, kind, [HEADER, ["", "", "", "t", ""], *ROWS]) == "4 of 5"
