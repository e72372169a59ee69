"""Cells that show something else than they hold: units, struck-out characters, days that were codes."""

from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.styles import Font

from freight.contracts import contract_for
from freight.frames import BadRow, each_bad_row
from freight.parsers.workbooks.formats import unit_in_format, unit_in_text
from freight.readers import find_files, reader_for
from tests.lib.workbooks import WRITERS, Shown

HEADER: list[Any] = ["ID transaction", "Machine", "Date", "Volume (t)", "Statut"]
WHEN = datetime(2026, 2, 1, 10, 0)


def read(path: Path, **options: object) -> tuple[list[tuple[Any, ...]], list[BadRow]]:
    table = reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), options)
    batches = list(table.batches)
    rows = [row for batch in batches for row in batch.rows.select("0", "1", "2", "3", "4").rows()]
    return rows, [row for batch in batches for row in each_bad_row(batch.faults)]


def volume(tmp_path: Path, kind: str, cell: object, **options: object) -> str:
    """Return the volume of a row, or the reason why the row is quarantined."""
    path = tmp_path / f"erp{kind}"
    WRITERS[kind](path, {"Sheet": [HEADER, ["TRX-1", "MCH-001", WHEN, cell, "OK"]]})
    rows, bad = read(path, **options)
    return f"{bad[0].reason} in {bad[0].column_name}: {bad[0].detail}" if bad else str(rows[0][3])


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("cell", "unit"),
    [
        (Shown(0.125, "0.0%", "12.5%"), "%"),
        (Shown(12.5, '0.0" kg"', "12.5 kg"), "kg"),
        (Shown(12.5, "0.0\\ \\k\\g", "12.5 kg"), "kg"),
        (Shown(12.5, "#,##0.00\\ [$€-407]", "12,50 €"), "€"),
    ],
    ids=str,
)
def test_a_number_that_shows_another_unit_is_quarantined(tmp_path: Path, kind: str, cell: Shown, unit: str) -> None:
    told = volume(tmp_path, kind, cell)
    assert told.startswith(f"shown_otherwise in Volume (t): the cell holds {cell.value}, but it")
    assert f"`options: {{shown_units: ['{unit}']}}`" in told
    assert volume(tmp_path, kind, cell, shown_units=[unit]) == str(cell.value)


@pytest.mark.parametrize("kind", [".xlsx", ".xlsb", ".xls"])
def test_thousands_that_show_as_ones_are_quarantined(tmp_path: Path, kind: str) -> None:
    assert "shows 'thousands'" in volume(tmp_path, kind, Shown(12_500, "#,##0,", "13"))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "cell",
    [
        Shown(12.5, '0.0" t"', "12.5 t"),
        Shown(12.5, "#,##0.00", "12.50"),
        Shown(12.5, "_-* #,##0.00_-;[Red]\\-* #,##0.00_-", "12.50"),
        Shown(12.5, "0.00E+00", "1.25E+01"),
        Shown(12.5, "General", "12.5"),
        Shown(12.5, '0.0;(0.0);"nil"', "12.5"),
    ],
    ids=str,
)
def test_a_number_in_its_own_unit_or_in_none_is_read(tmp_path: Path, kind: str, cell: Shown) -> None:
    assert volume(tmp_path, kind, cell) == "12.5"


def test_a_prefix_of_a_code_that_only_its_format_shows_is_no_code(tmp_path: Path) -> None:
    WRITERS[".xlsx"](
        tmp_path / "erp.xlsx", {"Sheet": [HEADER, ["TRX-1", Shown(1, '"MCH-"000', "MCH-001"), WHEN, 12.5, "OK"]]}
    )
    _, bad = read(tmp_path / "erp.xlsx")
    assert "shows 'MCH'" in bad[0].detail


@pytest.mark.parametrize("kind", WRITERS)
def test_a_day_in_a_column_of_text_is_quarantined(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"erp{kind}"
    rows = [["TRX-1", datetime(2026, 2, 1), WHEN, 12.5, "OK"], ["TRX-2", "2026-02-01", WHEN, 12.5, "OK"]]
    WRITERS[kind](path, {"Sheet": [HEADER, *rows]})
    good, (bad,) = read(path)
    assert [row[0] for row in good] == ["TRX-2"]
    assert (bad.row_number, bad.column_name, bad.reason) == (2, "Machine", "shown_otherwise")
    assert "the day 2026-02-01 00:00:00 in a column of text: the program may have made it of a code" in bad.detail


@pytest.mark.parametrize(
    ("font", "is_read"),
    [
        (InlineFont(strike=True), False),
        (InlineFont(vertAlign="superscript"), False),
        (InlineFont(vertAlign="subscript"), False),
        (InlineFont(vertAlign="baseline", strike=False, b=True), True),
    ],
)
def test_struck_out_and_raised_characters_are_no_part_of_a_value(
    tmp_path: Path, font: InlineFont, is_read: bool
) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(HEADER)
    book.active.append(["TRX-1", "MCH-001", WHEN, CellRichText("12", TextBlock(font, "3")), "OK"])
    book.save(tmp_path / "erp.xlsx")
    rows, bad = read(tmp_path / "erp.xlsx")
    assert [row[3] for row in rows] == (["123"] if is_read else [])
    told = "the cell holds '123', of which '3' is struck out, raised or lowered, so it shows something else"
    assert [told in row.detail for row in bad] == ([] if is_read else [True])


def test_a_row_that_is_struck_out_as_a_whole_is_quarantined(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in (HEADER, ["TRX-1", "MCH-001", WHEN, 12.5, "OK"], ["TRX-2", "MCH-001", WHEN, 12.5, "OK"]):
        book.active.append(row)
    for cell in book.active[2]:
        cell.font = Font(strike=True)
    book.active["D3"].font = Font(strike=False, b=True)
    book.save(tmp_path / "erp.xlsx")
    rows, (bad,) = read(tmp_path / "erp.xlsx")
    assert [row[0] for row in rows] == ["TRX-2"]
    assert (bad.row_number, bad.reason) == (2, "shown_otherwise")
    assert "struck out" in bad.detail


@pytest.mark.parametrize("tag", ["s", "strike", "del", "sup", "sub"])
def test_marked_characters_of_a_page_are_no_part_of_a_value(tmp_path: Path, tag: str) -> None:
    cells = ["TRX-1", "MCH-001", "2026-02-01 10:00:00", f"<b>12</b><{tag}>3</{tag}>", "OK"]
    rows = ["".join(f"<td>{cell}</td>" for cell in row) for row in (HEADER, cells)]
    (tmp_path / "erp.xls").write_text(f"<html><table><tr>{rows[0]}</tr><tr>{rows[1]}</tr></table></html>")
    good, (bad,) = read(tmp_path / "erp.xls")
    assert good == []
    assert (bad.column_name, bad.reason) == ("Volume (t)", "shown_otherwise")
    assert "'123', of which '3' is struck out, raised or lowered" in bad.detail


@pytest.mark.parametrize(
    ("code", "unit"),
    [
        ("0%", "%"),
        ('0;-0;"n/a"', ""),
        ("#,##0,,", "thousands"),
        ('#,##0.0,"k"', "thousands"),
        ('[>=1000]0.0,"k";0', "thousands"),
        ("[$kg]0", "kg"),
        ("[$-409]0.0", ""),
        ("[Red]0.0", ""),
        ('0" (kg)"', "kg"),
        ('0";kg"', "kg"),
        ("0.0E+00", ""),
        ("# ?/?", ""),
        ("@", ""),
        ('"$"#,##0_);("$"#,##0)', "$"),
        ("#,##0_);(#,##0)", ""),
    ],
)
def test_the_unit_of_a_format(code: str, unit: str) -> None:
    assert unit_in_format(code) == unit


@pytest.mark.parametrize(
    ("shown", "unit"), [("1 250,5", ""), ("(12.50)", ""), ("1.25E+03", ""), ("12.5 %", "%"), ("-3,5 kg", "kg")]
)
def test_the_unit_in_a_text(shown: str, unit: str) -> None:
    assert unit_in_text(shown) == unit
