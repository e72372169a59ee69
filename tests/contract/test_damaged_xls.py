"""Damaged .xls files: what xlrd gives up on is read all the same, or refused in our own words."""

import io
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import xlrd
import xlwt

from freight.parsers.workbooks import open_workbook
from freight.parsers.workbooks.cells import Row
from freight.parsers.workbooks.second import REMARK
from tests.contract.test_sheets import HEADER, read, refusal, row
from tests.lib.workbooks import Error, Look, Sheets, Shown, write_xls

CELLS: Mapping[str, tuple[object, str]] = {
    "a text": ("Ngaoundéré", "Ngaoundéré"),
    "a whole number": (42, "42"),
    "a fraction": (-12.75, "-12.75"),
    "more than a float counts one by one": (2.0**53 + 2, "9007199254740994"),
    "a large number": (1e21, "1e+21"),
    "yes": (True, "true"),
    "an instant": (datetime(2026, 2, 1, 12, 59, 59, 999_700), "2026-02-01 13:00:00"),
    "a day": (datetime(2026, 2, 1), "2026-02-01 00:00:00"),
    "a duration": (timedelta(hours=26.5), "26:30"),
}


def rows_of(content: bytes) -> tuple[list[Row], str]:
    workbook = open_workbook(io.BytesIO(content))
    return [found for found in workbook.rows(workbook.sheets[0]) if found.texts or found.errors], workbook.remark


def damaged(path: Path, sheets: Sheets, looks: Mapping[str, Look] = {}) -> bytes:
    """Write an .xls with a record that ends too early, in the place of another one; check that xlrd refuses it."""
    write_xls(path, sheets, looks=looks)
    content = path.read_bytes().replace(b"\x82\x00\x02\x00", b"\xa0\x00\x02\x00")
    path.write_bytes(content)
    with pytest.raises(struct.error):
        xlrd.open_workbook(file_contents=content, logfile=io.StringIO(), formatting_info=True)
    return content


def test_cells_of_a_damaged_file_are_read_by_another_engine_with_the_same_texts(tmp_path: Path) -> None:
    content = damaged(tmp_path / "a.xls", {"Data": [[value] for value, _ in CELLS.values()]})
    rows, remark = rows_of(content)
    assert dict(zip(CELLS, [found.texts[1] for found in rows], strict=True)) == {
        name: text for name, (_, text) in CELLS.items()
    }
    assert remark == REMARK


def test_an_error_of_a_damaged_file_is_a_fault_and_not_an_empty_cell(tmp_path: Path) -> None:
    path = tmp_path / "erp.xls"
    damaged(path, {"Data": [HEADER, row(1), row(2, Error("#N/A")), row(3)]})
    found = read(path)
    assert found.keys == [("TRX-1", 2), ("TRX-3", 4)]
    assert [(bad.row_number, bad.column_name, bad.reason) for bad in found.faults] == [(3, "Volume (t)", "excel_error")]
    assert found.remarks == [REMARK]


def test_a_formula_that_failed_in_a_damaged_file_is_a_fault(tmp_path: Path) -> None:
    """Xlwt calculates nothing, so the result of the formula is written into its record here."""
    path = tmp_path / "erp.xls"
    content = damaged(path, {"Data": [HEADER, row(1), row(2, xlwt.Formula("1/0"))]})
    record = struct.pack("<HH", 2, 3)  # row and column
    at = content.find(record, content.find(b"\x06\x00")) + 6
    result = b"\x02\x00\x07\x00\x00\x00\xff\xff"
    path.write_bytes(content[:at] + result + content[at + 8 :])
    (fault,) = read(path).faults
    assert (fault.row_number, fault.detail) == (3, "the cell holds the error #DIV/0!")


def test_hidden_sheets_and_merged_cells_of_a_damaged_file_count(tmp_path: Path) -> None:
    path = tmp_path / "erp.xls"
    merged = [HEADER, row(1), ["TRX-2", None, *row(2)[2:]]]
    looks = {"Old": Look("hidden"), "Data": Look(merged=[(2, 3, 2, 2)])}
    damaged(path, {"Old": [HEADER, row(9)], "Data": merged}, looks)
    found = read(path)
    assert [cells[:2] for cells in found.rows] == [("TRX-1", "MCH-001"), ("TRX-2", "MCH-001")]


def test_leading_zeros_that_the_other_engine_drops_refuse_the_file(tmp_path: Path) -> None:
    path = tmp_path / "erp.xls"
    damaged(path, {"Data": [HEADER, [Shown(42, "00000"), *row(1)[1:]]]})
    error = refusal(path)
    assert (error.fault, "without changing them" in error.message) == ("corrupt", True)


def globals_with(*records: bytes, in_sheet: bytes = b"") -> bytes:
    """Return an .xls without its OLE file, with records added to its globals and to its only sheet."""
    book = xlwt.Workbook()
    book.add_sheet("Data").write(0, 0, "x")
    content = book.get_biff_data()
    added, pieces, at = b"".join(records), list[bytes](), 0
    ends = 0
    while at < len(content):
        kind, length = struct.unpack_from("<HH", content, at)
        record, at = content[at : at + 4 + length], at + 4 + length
        if kind == 0x85:  # where the sheet begins
            (start,) = struct.unpack_from("<I", record, 4)
            record = record[:4] + struct.pack("<I", start + len(added)) + record[8:]
        if kind == 0x0A:  # the end of the globals, then of the sheet
            pieces.append((added, in_sheet)[ends])
            ends += 1
        pieces.append(record)
        if ends == 2:
            break
    return b"".join(pieces)


def biff(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def test_formulas_of_names_and_comments_that_xlrd_gives_up_on_do_not_matter() -> None:
    """A name with a reference that names do not have, and a comment that ends too late."""
    area = b"\x2d" + bytes(8)
    name = biff(0x18, struct.pack("<HBBHHHBBBB", 0, 0, 4, len(area), 0, 0, 0, 0, 0, 0) + b"\0Zone" + area)
    comment = biff(0x1C, struct.pack("<HHHHH", 0, 0, 0, 1, 3) + b"\0abc" + bytes(9))
    for content in (globals_with(name), globals_with(in_sheet=comment)):
        rows, remark = rows_of(content)
        assert ([found.texts for found in rows], remark) == ([{1: "x"}], "")


@pytest.mark.parametrize("cut", [600, 1_500, 3_000, 6_000])
def test_half_a_file_is_refused_in_our_words(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "erp.xls"
    write_xls(path, {"Data": [HEADER, *(row(number) for number in range(60))]})
    path.write_bytes(path.read_bytes()[:cut])
    error = refusal(path)
    assert error.fault == "corrupt"
    assert "Error" not in error.message


def test_no_end_of_the_stream_loses_a_row(tmp_path: Path) -> None:
    """Whatever length the directory names: all rows are there, or the file is refused."""
    rows: list[list[Any]] = [row(number) for number in range(300)]
    content = bytearray(damaged(tmp_path / "erp.xls", {"Data": [HEADER, *rows]}))
    size_at = content.find("Workbook".encode("utf-16-le")) + 0x78
    (size,) = struct.unpack_from("<I", content, size_at)
    outcomes = set()
    for shorter in range(0, size - 512, 1_021):
        struct.pack_into("<I", content, size_at, size - shorter)
        try:
            found, remark = rows_of(bytes(content))
        except Exception as error:
            outcomes.add(getattr(error, "fault", repr(error)))
            continue
        outcomes.add(remark)
        assert len(found) == 301
    assert outcomes == {REMARK, "corrupt"}
