"""Workbooks as people make them, and as nobody should."""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import pytest
from openpyxl.chart import BarChart

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.frames import NATIVE, BadRow, each_bad_row
from freight.parsers.workbooks.package import STRICT_NAMES
from freight.readers import find_files, isolated, reader_for
from freight.settings import PROJECT_ROOT
from tests.lib.waiting import wait_until

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
    rows = [row for batch in batches for row in batch.rows.drop(NATIVE, strict=False).rows()]
    faults = [row[:3] for batch in batches for row in batch.faults.rows()]
    return table.header, rows, faults


def refused(path: Path, **options: object) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, **options)
    assert caught.value.location == "erp.xlsx"
    assert caught.value.remedy
    return caught.value


def full_faults(path: Path) -> list[BadRow]:
    table = reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), {})
    return [row for batch in table.batches for row in each_bad_row(batch.faults)]


def replace_part(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in {**parts, name: content}.items():
            archive.writestr(part, data)


def save_xml(path: Path, *rows: str, prolog: str = "", before: str = "") -> None:
    """Save a workbook whose sheet has the header in row 1 and then rows as written here, in XML."""
    save(path, [])
    header = "".join(f'<c t="inlineStr"><is><t>{escape(cell)}</t></is></c>' for cell in HEADER)
    data = f"{before}<sheetData><row>{header}</row>{''.join(rows)}</sheetData>"
    replace_part(path, "xl/worksheets/sheet1.xml", f'{prolog}<worksheet xmlns="{MAIN}">{data}</worksheet>'.encode())


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


def test_cells_as_other_programs_store_them_become_text(path: Path) -> None:
    rich = '<r><rPr><b/></rPr><t>TRX</t></r><r><t>-1</t></r><rPh sb="0" eb="1"><t>how it sounds</t></rPh>'
    text_of = {
        "<c><v>1.1000000000000001</v></c>": "1.1",
        "<c><v>1E+14</v></c>": "100000000000000",
        '<c t="b"><v>0</v></c>': "false",
        '<c t="d"><v>2026-02-01T10:00:00</v></c>': "2026-02-01T10:00:00",
        '<c t="str"><f>A1</f><v>TRX-1</v></c>': "TRX-1",
        "<c><f>A1</f><v>5</v></c>": "5",
        '<c t="str"><f>""</f><v></v></c>': "",
        '<c t="inlineStr"><is><t>_x005F_x000D_ is _x000D_</t></is></c>': "_x000D_ is \r",
        f'<c t="inlineStr"><is>{rich}</is></c>': "TRX-1",
    }
    save_xml(path, *(f"<row><c><v>1</v></c><c><v>1</v></c>{cell}</row>" for cell in text_of))
    assert [row[2] for row in read(path)[1]] == [*text_of.values()]


def test_a_number_reads_as_its_format_means_it(path: Path) -> None:
    cases = [
        ("00000", 42, "00042"),
        ("00000", 4.5, "4.5"),
        ("@", 42, "42"),
        ('#,##0.00" dy"', 12.5, "12.5"),
        ("[Red]0.00", -12.5, "-12.5"),
        ("dd/mm/yyyy", 46_054, "2026-02-01 00:00:00"),
        ("[h]:mm", 26.5 / 24, "26:30"),
        ("[h]:mm:ss", 26.5 / 24 + 1.5 / 86_400, "26:30:01.500"),
        ("hh:mm", 0.4375, "10:30:00"),
    ]

    def fill(book: Any) -> None:
        for row, (number_format, value, _) in enumerate(cases, start=2):
            book.active.cell(row, 3, value).number_format = number_format

    save(path, [HEADER], fill)
    assert [row[2] for row in read(path, shown_units=["dy"])[1]] == [text for _, _, text in cases]


def test_days_count_from_1904_where_the_workbook_says_so(path: Path) -> None:
    save(path, [HEADER, ROW], lambda book: setattr(book, "epoch", openpyxl.utils.datetime.CALENDAR_MAC_1904))
    assert read(path)[1][0][2] == "2026-02-01 10:00:00"


def test_an_error_cell_is_never_an_empty_value(path: Path) -> None:
    save(path, [HEADER, [*ROW[:3], "#REF!", "OK"]])
    assert read(path)[1:] == ([], [(2, "Volume (t)", "excel_error")])


def test_a_cell_without_a_usable_value_makes_its_row_a_fault(path: Path) -> None:
    detail_of = {
        '<c t="e"><v>#N/A</v></c>': "the cell holds the error #N/A",
        "<c><f>B1+1</f></c>": "the cell holds a formula without a result",
        "<c><f>B1+1</f><v></v></c>": "the cell holds a formula without a result",
        "<c><v>abc</v></c>": "the cell holds abc, which its format cannot show",
        "<c><f>B1+1</f><v>0</v></c>": "the cell holds a formula without a result",  # in a workbook to be calculated
        '<c t="b"><v>7</v></c>': "the cell holds '7', which is not a value of the type 'b'",
        '<c t="s"><v>-1</v></c>': "the cell holds '-1', which is not a value of the type 's'",
    }
    save_xml(path, *(f"<row>{cell}</row>" for cell in detail_of))
    faults = full_faults(path)
    assert [fault[:3] for fault in faults] == [(row, "ID transaction", "excel_error") for row in range(2, 9)]
    assert [fault.detail.partition(";")[0] for fault in faults] == [*detail_of.values()]
    assert all(json.loads(fault.raw).keys() == set(HEADER) for fault in faults)


def test_a_date_that_excel_cannot_show_makes_its_row_a_fault_that_keeps_the_number(path: Path) -> None:
    save(path, [HEADER, ["TRX-1", "MCH-001", 99_999_999]], lambda b: setattr(b.active["C2"], "number_format", "d/m/yy"))
    (fault,) = full_faults(path)
    assert (fault.column_name, fault.detail) == ("Date", "the cell holds 99999999, which its format cannot show")
    assert json.loads(fault.raw)["Date"] == "99999999"


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


def test_a_column_without_a_header_that_holds_something_is_named_by_its_letter(path: Path) -> None:
    save(path, [["ID transaction", None, "Date"], ["TRX-1"], ROW])
    error = refused(path)
    assert (error.fault, error.row) == ("unknown_column", 3)
    assert "column 2 (B) has no header but holds 'MCH-001'" in str(error)
    assert "give the column a header; " in error.remedy


def test_an_empty_column_left_of_the_table_or_within_it_is_left_out(path: Path) -> None:
    gap = [[None, *row[:2], None, *row[2:]] for row in (HEADER, ROW)]
    save(path, gap, lambda book: book.active.merge_cells("C1:D1"))
    header, rows, faults = read(path)
    assert (header, faults) == (tuple(HEADER), [])
    assert rows == [("TRX-1", "MCH-001", "2026-02-01 10:00:00", "12.5", "OK", 2)]


def test_a_header_that_is_merged_over_two_rows_is_read(path: Path) -> None:
    def merge(book: Any) -> None:
        for letter in "ABCDE":
            book.active.merge_cells(f"{letter}1:{letter}2")

    save(path, [HEADER, [], ROW], merge)
    assert [row[-1] for row in read(path)[1]] == [3]


def test_the_header_row_can_be_named(path: Path) -> None:
    save(path, [HEADER, ["old", "old", "x", 1, "OK"], [], ["id", "machine", "date", "volume", "status"], ROW])
    assert len(read(path)[1]) == 3
    header, rows, _ = read(path, header_row=4)
    assert (header[0], [row[-1] for row in rows]) == ("id", [5])


def test_a_named_header_row_may_lie_deep_and_must_not_be_empty(path: Path) -> None:
    save(path, [*[["note"]] * 40, HEADER, [], ROW])
    assert [row[-1] for row in read(path, header_row=41)[1]] == [43]
    error = refused(path, header_row=42)
    assert (error.fault, error.row, "correct header_row" in error.remedy) == ("missing_column", 42, True)


def test_a_sheet_that_is_not_there_is_answered_with_those_that_are(path: Path) -> None:
    save(path, [HEADER, ROW])
    assert refused(path, sheet="Export").remedy.endswith("'Sheet'")


def test_a_chart_sheet_is_passed_over(path: Path) -> None:
    save(path, [HEADER, ROW], lambda book: book.create_chartsheet("Chart", 0).add_chart(BarChart()))
    assert len(read(path)[1]) == 1


def test_styles_that_no_cell_needs_may_be_broken(path: Path) -> None:
    save(path, [HEADER, ROW])
    with zipfile.ZipFile(path) as archive:
        styles = archive.read("xl/styles.xml")
    replace_part(path, "xl/styles.xml", styles.replace(b'patternType="gray125"', b'patternType="plaid"'))
    assert read(path)[1][0][2] == "2026-02-01 10:00:00"


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


def test_a_zip_that_is_no_workbook_is_corrupt(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert refused(path).fault == "corrupt"


def test_parts_are_found_as_some_programs_spell_them(path: Path) -> None:
    save(path, [HEADER, ROW])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("/", "\\").replace("sharedStrings", "SharedStrings"), content)
    assert read(path)[1][0][0] == "TRX-1"


def test_a_zip_bomb_is_refused_before_it_unfolds(path: Path) -> None:
    save(path, [HEADER, ROW])
    replace_part(path, "xl/sharedStrings.xml", b" " * (64 << 20))
    assert refused(path).fault == "too_large"


def test_a_sheet_has_no_more_rows_than_a_program_writes(path: Path) -> None:
    save_xml(path, '<row r="1048576"><c><v>1</v></c></row>')
    assert read(path)[1][0][-1] == 1_048_576
    save_xml(path, '<row r="1000000000"><c><v>1</v></c></row>')
    assert (refused(path).fault, "more than 1,048,576 rows" in refused(path).message) == ("too_large", True)


def test_an_xml_bomb_does_not_unfold(path: Path) -> None:
    """Nine entities, each ten times the one before: a billion laughs in one cell."""
    save(path, [HEADER, ROW])
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    cell = '<row r="1"><c r="A1" t="inlineStr"><is><t>&l9;</t></is></c></row>'
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{cell}</sheetData></worksheet>'
    replace_part(path, "xl/worksheets/sheet1.xml", f'<!DOCTYPE x [<!ENTITY l0 "lol">{levels}]>{sheet}'.encode())
    assert refused(path).fault in ("corrupt", "too_large")


def test_an_entity_outside_the_workbook_is_not_fetched(path: Path) -> None:
    prolog = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    save_xml(path, '<row><c t="inlineStr"><is><t>&e;</t></is></c></row>', prolog=prolog)
    assert refused(path).fault == "corrupt"


def test_a_few_bytes_that_claim_sixteen_million_cells_do_not_unfold(path: Path) -> None:
    """One cell in the last column of every row: each row would unfold to 16,384 cells."""
    save_xml(path, *(f'<row r="{i}"><c r="XFD{i}"><v>1</v></c></row>' for i in range(3, 1_027)))
    faults = full_faults(path)
    assert [fault.row_number for fault in faults] == [*range(3, 1_027)]
    assert {(fault.reason, fault.detail, fault.raw) for fault in faults} == {
        ("ragged_row", "cells to the right of the header", b'["","","","","",{"XFD":"1"}]')
    }


def test_formatted_empty_columns_up_to_the_last_one_are_no_cells(path: Path) -> None:
    row = '<c t="inlineStr"><is><t>TRX-1</t></is></c>' + '<c s="0"/>' * 16_383
    save_xml(path, *[f"<row>{row}</row>"] * 3)
    assert [found[0] for found in read(path)[1]] == ["TRX-1"] * 3


@pytest.mark.parametrize(
    "rows",
    [
        '<row r="5"><c r="A5"><v>1</v></c></row><row r="3"><c r="A3"><v>1</v></c></row>',
        '<row r="5"><c r="A5"><v>1</v></c></row><row r="5"><c r="A5"><v>1</v></c></row>',
        '<row r="5"><c r="B5"><v>1</v></c><c r="A5"><v>1</v></c></row>',
        '<row r="5"><c r="A5"><v>1</v></c><c r="A5"><v>2</v></c></row>',
    ],
    ids=["rows out of order", "a row twice", "cells out of order", "a cell twice"],
)
def test_rows_and_cells_are_never_dropped_for_their_place(path: Path, rows: str) -> None:
    save_xml(path, rows)
    error = refused(path)
    assert (error.fault, "let Excel repair it" in error.remedy) == ("corrupt", True)


@pytest.mark.apart
def test_formulas_are_never_unfolded(path: Path) -> None:
    """Each of the cells would repeat a formula of a thousand terms."""
    first = f'<row><c><f t="shared" ref="A2:A5001" si="0">{"B2+" * 1_000}1</f><v>1</v></c></row>'
    save_xml(path, first, *['<row><c><f t="shared" si="0"/><v>1</v></c></row>'] * 5_000)
    assert len(read(path)[1]) == 5_001


def test_a_long_text_that_every_row_repeats_does_not_fill_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, *[["x" * 30_000]] * 2_000])
    monkeypatch.setattr(isolated, "OUTPUT_FROM_BYTES", 1 << 20)
    assert refused(path).fault == "too_large"


def test_strict_open_xml_reads_as_any_other(path: Path) -> None:
    save(path, [HEADER, ROW])
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            for strict, usual in STRICT_NAMES.items():
                content = content.replace(usual, strict)
            archive.writestr(name, content)
    assert b"purl.oclc.org" in path.read_bytes()
    assert read(path)[1] == [("TRX-1", "MCH-001", "2026-02-01 10:00:00", "12.5", "OK", 2)]


@pytest.mark.apart
def test_a_parser_that_runs_out_of_memory_costs_its_file_only(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, *[[f"TRX-{i}", *ROW[1:4], "x" * 200 + str(i)] for i in range(20_000)]])
    monkeypatch.setattr(isolated, "MEMORY_LIMIT_BYTES", 40 << 20)
    assert refused(path).fault in ("too_large", "corrupt")


@pytest.mark.apart
def test_a_parser_that_takes_too_long_is_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, ROW])
    monkeypatch.setattr(isolated, "PATIENCE_S", 0)
    assert refused(path).fault == "timed_out"


@pytest.mark.apart
def test_a_parser_that_computes_too_long_is_stopped_whatever_progress_it_makes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_xml(path, *["<row><c><v>1</v></c></row>"] * 200_000)
    monkeypatch.setattr(isolated, "CPU_S", 1)
    assert refused(path).fault == "timed_out"


@pytest.mark.apart
def test_a_parser_that_dies_is_a_fault_of_its_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, ROW])
    monkeypatch.setattr(sys, "executable", "false")
    assert "its parser died with code 1" in str(refused(path))


@pytest.mark.apart
def test_the_parser_sees_what_an_interpreter_needs_and_no_secret(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEADER, ROW])
    seen: dict[str, str] = {}
    start = subprocess.Popen

    def spying(*arguments: Any, **more: Any) -> Any:
        seen.update(more["env"])
        return start(*arguments, **more)

    monkeypatch.setattr(subprocess, "Popen", spying)
    monkeypatch.setenv("SYSTEMROOT", r"C:\Windows")
    monkeypatch.setenv("DPA_WAREHOUSE_URL", "postgresql://dpa:secret@db/freight")
    read(path)
    assert seen["SYSTEMROOT"] == r"C:\Windows"
    assert set(seen) <= {"PYTHONPATH", "HOME", "OPENBLAS_NUM_THREADS", *isolated.INTERPRETER_VARIABLES}
    assert not Path(seen["HOME"]).exists()  # it was the reader's temporary folder


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this test only."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.apart
def test_temporary_files_go_whether_a_workbook_is_read_left_alone_or_refused(path: Path, scratch: Path) -> None:
    save(path, [HEADER, ROW])
    read(path)
    assert [*scratch.iterdir()] == []
    reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), {})
    assert [*scratch.iterdir()] == []
    save(path, [])
    refused(path)
    assert [*scratch.iterdir()] == []


@pytest.mark.apart
def test_the_temporary_files_of_a_killed_run_go_after_a_day(path: Path, scratch: Path) -> None:
    for name, age_days in (("dpa-reading-old", 2), ("dpa-reading-now", 0), ("someone-elses", 9)):
        (scratch / name).mkdir()
        (scratch / name / "rows.arrow").touch()
        os.utime(scratch / name, (time.time() - age_days * 86_400,) * 2)
    save(path, [HEADER, ROW])
    read(path)
    assert sorted(folder.name for folder in scratch.iterdir()) == ["dpa-reading-now", "someone-elses"]


READ = """
import sys
from pathlib import Path
from freight.contracts import contract_for
from freight.readers import find_files, reader_for

def read(path):
    table = reader_for("excel")(find_files(path, Path(path).parent)[0], contract_for("transactions"), {})
    return sum(batch.rows.height + batch.faults.height for batch in table.batches)
"""


def workers_on(folder: Path) -> list[Path]:
    """Return the processes that were started for a temporary folder; nothing where the system does not tell."""
    return [
        process.parent
        for process in Path("/proc").glob("[0-9]*/cmdline")
        if str(folder).encode() in _content_if_there(process)
    ]


def _content_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_parser_of_a_killed_process_ends_and_takes_its_temporary_files_along(path: Path, scratch: Path) -> None:
    save_xml(path, "<row><c><v>1</v></c></row>" * 1_000_000)  # takes seconds
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{READ}\nread(sys.argv[1])", str(path)],
        env={**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)},
        cwd=PROJECT_ROOT,
    )
    try:
        wait_until(lambda: [*scratch.glob("*/stderr.txt")])
        (folder,) = scratch.iterdir()
        wait_until(lambda: workers_on(folder) or not Path("/proc").exists())
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not workers_on(folder) and not [*folder.glob("*")])


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux tells the peak memory of a process alone")
def test_memory_does_not_grow_with_bad_rows(path: Path, tmp_path: Path) -> None:
    """Half of the rows have an error cell, half a date that cannot be shown."""
    save(path, [HEADER, [*ROW[:3], "#REF!", "OK"]])
    many = tmp_path / "many.xlsx"
    save(many, [HEADER, ROW])  # brings a style with a date format
    error = '<row><c t="inlineStr"><is><t>TRX-{0}</t></is></c><c t="e"><v>#REF!</v></c></row>'
    no_date = '<row><c s="1"><v>9{0}9999999</v></c></row>'
    with zipfile.ZipFile(many) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    rows = "".join(f"{error}{no_date}".format(i) for i in range(30_000))
    replace_part(many, "xl/worksheets/sheet1.xml", sheet.replace("</sheetData>", f"{rows}</sheetData>").encode())
    script = f"""{READ}
import re, resource
def peaks_kib():
    own = re.search(r"VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1]
    return own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(*(part for path in sys.argv[1:] for part in (read(path), *peaks_kib())))
"""
    command = [sys.executable, "-c", script, str(path), str(many)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    few, parent, worker, found, parent_after, worker_after = map(int, done.stdout.split())
    assert (few, found) == (1, 60_001)
    assert (parent_after - parent) >> 10 < 40
    assert (worker_after - worker) >> 10 < 40
