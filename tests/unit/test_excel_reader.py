"""Workbooks as people make them, and as nobody should."""

import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.readers import excel as excel_reader
from freight.readers import find_files, reader_for

HEADER: list[Any] = ["ID transaction", "Machine", "Date", "Volume (t)", "Statut"]
ROW: list[Any] = ["TRX-1", "MCH-001", datetime(2026, 2, 1, 10, 0), 12.5, "OK"]
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "erp.xlsx"


def save(path: Path, rows: Sequence[Sequence[object]], prepare: Callable[[Any], object] | None = None) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    if prepare:
        prepare(book)
    book.save(path)


def read(path: Path, **options: object) -> tuple[tuple[str, ...], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    table = reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), options)
    batches = list(table.batches)
    rows = [row for batch in batches for row in batch.rows.rows()]
    faults = [row[:3] for batch in batches for row in batch.faults.rows()]
    return table.header, rows, faults


def refused(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path)
    assert caught.value.location == "erp.xlsx"
    assert caught.value.remedy
    return caught.value


def replace_part(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in {**parts, name: content}.items():
            archive.writestr(part, data)


def test_title_rows_a_merged_header_and_blank_rows_are_passed_over(path: Path) -> None:
    rows: list[list[Any]] = [["Société du corridor"], [], ["Export du 2026-02-01"], HEADER, ROW, [], ROW]
    save(path, rows, lambda book: book.active.merge_cells("A1:E1"))
    header, found, faults = read(path)
    assert header == tuple(HEADER)
    assert [row[-1] for row in found] == [5, 7]
    assert found[0] == ("TRX-1", "MCH-001", "2026-02-01 10:00:00", "12.5", "OK", 5)
    assert faults == []


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("00042", "00042"),
        (42.0, "42"),
        (0.1, "0.1"),
        (True, "true"),
        (None, ""),
        ("1,5", "1,5"),
        (datetime(2026, 2, 1, 12, 59, 59, 999_700), "2026-02-01 13:00:00"),
        ("01/02/2026 10:00", "01/02/2026 10:00"),
        (" é\n=x", " é\n=x"),
    ],
    ids=repr,
)
def test_a_cell_becomes_the_text_that_the_contract_types(path: Path, cell: object, text: str) -> None:
    save(path, [HEADER, ["TRX-1", "MCH-001", "x", cell, "OK"]])
    assert read(path)[1][0][3] == text


def test_days_count_from_1904_where_the_workbook_says_so(path: Path) -> None:
    save(path, [HEADER, ROW], lambda book: setattr(book, "epoch", openpyxl.utils.datetime.CALENDAR_MAC_1904))
    assert read(path)[1][0][2] == "2026-02-01 10:00:00"


def test_an_error_cell_is_never_an_empty_value(path: Path) -> None:
    save(path, [HEADER, [*ROW[:3], "#REF!", "OK"]])
    assert read(path)[1:] == ([], [(2, "Volume (t)", "excel_error")])


def test_cells_beyond_the_header_make_the_row_a_fault(path: Path) -> None:
    save(path, [HEADER, [*ROW, "?"], ROW])
    _, rows, faults = read(path)
    assert (len(rows), faults) == (1, [(2, None, "ragged_row")])


def test_the_sheet_whose_header_fits_is_taken_or_the_one_that_is_named(path: Path) -> None:
    def add_notes(book: Any) -> None:
        book.create_sheet("Notes", 0).append(["only words"])
        book.create_sheet("Other").append(HEADER)

    save(path, [HEADER, ROW], add_notes)
    assert len(read(path)[1]) == 1
    assert read(path, sheet="Other")[1] == []


def test_a_wrong_dimension_does_not_hide_rows(path: Path) -> None:
    save(path, [HEADER, ROW, ROW])
    with zipfile.ZipFile(path) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml")
    replace_part(path, "xl/worksheets/sheet1.xml", sheet.replace(b'ref="A1:E3"', b'ref="A1"'))
    assert len(read(path)[1]) == 2


def test_a_column_without_a_header_is_named_by_its_letter(path: Path) -> None:
    save(path, [["ID transaction", None, "Date"], ROW])
    assert "column B has no header" in str(refused(path))


def test_an_empty_workbook_is_empty(path: Path) -> None:
    save(path, [])
    assert refused(path).fault == "empty"


def test_a_cut_off_workbook_is_corrupt(path: Path) -> None:
    save(path, [HEADER, *[ROW] * 200])
    path.write_bytes(path.read_bytes()[:-400])
    assert refused(path).fault == "corrupt"


def test_a_csv_by_the_name_of_a_workbook_is_told_from_one(path: Path) -> None:
    path.write_text("transaction_id,machine_id\n", encoding="utf-8")
    error = refused(path)
    assert (error.fault, "reader: csv" in error.remedy) == ("unsupported", True)


@pytest.mark.parametrize(
    ("content", "fault"),
    [("EncryptedPackage".encode("utf-16-le"), "encrypted"), (b"Workbook", "unsupported")],
    ids=["behind a password", "old .xls"],
)
def test_an_ole_file_is_encrypted_or_of_the_old_format(path: Path, content: bytes, fault: str) -> None:
    path.write_bytes(excel_reader.OLE_START + bytes(600) + content)
    assert refused(path).fault == fault


def test_a_zip_that_is_no_workbook_is_corrupt(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refused(path).fault == "corrupt"


def test_a_zip_bomb_is_refused_before_it_unfolds(path: Path) -> None:
    save(path, [HEADER, ROW])
    replace_part(path, "xl/sharedStrings.xml", b" " * (64 << 20))
    assert refused(path).fault == "too_large"


def test_an_xml_bomb_does_not_unfold(path: Path) -> None:
    """Nine entities, each ten times the one before: a billion laughs in one cell."""
    save(path, [HEADER, ROW])
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    cell = '<row r="1"><c r="A1" t="inlineStr"><is><t>&l9;</t></is></c></row>'
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{cell}</sheetData></worksheet>'
    replace_part(path, "xl/worksheets/sheet1.xml", f'<!DOCTYPE x [<!ENTITY l0 "lol">{levels}]>{sheet}'.encode())
    assert refused(path).fault in ("corrupt", "too_large")


def test_a_few_bytes_that_claim_sixteen_million_cells_are_bounded(path: Path) -> None:
    """One cell in the last column of every row: each row unfolds to 16,384 cells."""
    save(path, [HEADER, ROW])
    rows = "".join(f'<row r="{i}"><c r="XFD{i}"><v>1</v></c></row>' for i in range(3, 1_027))
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    replace_part(path, "xl/worksheets/sheet1.xml", sheet.encode())
    assert refused(path).fault == "too_large"


def test_a_parser_that_runs_out_of_memory_costs_its_file_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, *[[f"TRX-{i}", *ROW[1:4], "x" * 200 + str(i)] for i in range(20_000)]])
    monkeypatch.setattr(excel_reader, "MEMORY_LIMIT_BYTES", 40 << 20)
    assert refused(path).fault in ("too_large", "corrupt")


def test_a_parser_that_takes_too_long_is_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, ROW])
    monkeypatch.setattr(excel_reader, "BASE_TIME_S", 0)
    assert refused(path).fault == "timed_out"


def test_a_parser_that_dies_is_a_fault_of_its_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, ROW])
    monkeypatch.setattr(sys, "executable", "false")
    assert "its parser died with code 1" in str(refused(path))


def test_the_parser_sees_no_environment_of_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, ROW])
    seen: dict[str, Any] = {}
    run = subprocess.run

    def spying(*arguments: Any, **more: Any) -> Any:
        seen.update(more["env"])
        return run(*arguments, **more)

    monkeypatch.setattr(subprocess, "run", spying)
    read(path)
    assert set(seen) == {"PYTHONPATH"}
