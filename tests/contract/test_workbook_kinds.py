"""Workbooks of every kind read alike: .xlsx, .xlsb, .xls and .ods."""

import struct
import zipfile
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.frames import NATIVE
from freight.parsers.workbooks import open_workbook
from freight.parsers.workbooks.cells import Row
from freight.readers import find_files, reader_for
from tests.lib.workbooks import ODS_TYPE, WRITERS, Error, Shown, ods_content, record, text, write_parts, write_xlsb

HEADER = ["ID transaction", "Machine", "Date", "Volume (t)", "Statut"]
GOOD = ["TRX-1", "MCH-001", datetime(2026, 2, 1, 10, 0), 12.5, "OK"]


@pytest.fixture(params=WRITERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows_of(path: Path, sheet: str = "Sheet") -> list[Row]:
    with path.open("rb") as content:
        return [row for row in open_workbook(content).rows(sheet) if row.texts or row.errors]


def cells_of(path: Path, sheet: str = "Sheet") -> list[dict[int, str]]:
    return [row.texts for row in rows_of(path, sheet)]


def refusal_of(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), {})
    assert caught.value.remedy
    return caught.value


CELLS: Mapping[str, tuple[object, str]] = {
    "a whole number": (42, "42"),
    "a fraction": (-12.75, "-12.75"),
    "a number that a float holds nearly": (0.1, "0.1"),
    "the longest number that a workbook keeps": (999_999_999_999_999, "999999999999999"),
    "yes": (True, "true"),
    "no": (False, "false"),
    "a code as text": ("00042", "00042"),
    "a code as a number": (Shown(42, "00000", "00042"), "00042"),
    "a number in the format of texts": (Shown(42, "@", "42"), "42"),
    "a day": (datetime(2026, 2, 1), "2026-02-01 00:00:00"),
    "an instant": (datetime(2026, 2, 1, 12, 59, 59, 999_700), "2026-02-01 13:00:00"),
    "the first day of Excel": (datetime(1900, 1, 1), "1900-01-01 00:00:00"),
    "the day before the one that Excel made up": (datetime(1900, 2, 28), "1900-02-28 00:00:00"),
    "the day after it": (datetime(1900, 3, 1), "1900-03-01 00:00:00"),
    "a time": (time(9, 30), "09:30:00"),
    "more hours than a day has": (timedelta(hours=36), "36:00"),
    "accents and emoji": ("Ngaoundéré 😀", "Ngaoundéré 😀"),
    "spaces": ("  two,  two\t", "  two,  two\t"),
    "lines": ("a\nb", "a\nb"),
    "markup": ("<b>&amp;</b>", "<b>&amp;</b>"),
    "what looks like a formula": ("=1+1", "=1+1"),
}


def test_a_cell_becomes_the_same_text_in_every_kind(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    WRITERS[kind](path, {"Sheet": [["x", value, None, value] for value, _ in CELLS.values()]})
    read = dict(zip(CELLS, cells_of(path), strict=True))
    assert read == {name: {1: "x", 2: written, 4: written} for name, (_, written) in CELLS.items()}


@pytest.mark.parametrize("kind", [".xlsx", ".xlsb", ".xls"])
def test_days_count_from_1904_where_the_workbook_says_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    WRITERS[kind](path, {"Sheet": [[datetime(2026, 2, 1, 10, 0), datetime(1904, 3, 1)]]}, since_1904=True)
    assert cells_of(path) == [{1: "2026-02-01 10:00:00", 2: "1904-03-01 00:00:00"}]


@pytest.mark.parametrize("kind", [".xlsx", ".xlsb", ".xls"])
@pytest.mark.parametrize("day", [60, 60.5, -1, 3e6], ids=["29 February 1900", "its noon", "before all", "after all"])
def test_a_day_that_never_was_is_no_value(kind: str, day: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    WRITERS[kind](path, {"Sheet": [[Shown(day, "yyyy-mm-dd hh:mm:ss")]]})
    ((_, texts, errors, _),) = rows_of(path)
    assert float(texts[1]) == day
    assert "which its format cannot show" in errors[1]


@pytest.mark.parametrize("number", [10.0**15, 2.0**53 + 2, -1e21])
def test_a_number_of_which_the_program_loses_digits_is_no_value(kind: str, number: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    WRITERS[kind](path, {"Sheet": [[number, Shown(number, "00000")]]})
    ((_, texts, errors, _),) = rows_of(path)
    assert {float(text) for text in texts.values()} == {number}
    assert all("of which a workbook keeps 15 digits; format its column as text" in fault for fault in errors.values())
    assert len(errors) == 2


@pytest.mark.parametrize("name", ["#N/A", "#DIV/0!", "#REF!"])
def test_an_error_is_no_value(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    WRITERS[kind](path, {"Sheet": [["#N/A is a word here", Error(name)]]})
    ((_, texts, errors, _),) = rows_of(path)
    assert texts == {1: "#N/A is a word here", 2: name}
    assert errors == {2: f"the cell holds the error {name}"}


def test_rows_keep_the_numbers_that_the_program_shows(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    WRITERS[kind](path, {"Sheet": [[], ["x"], [None, None], [None, "y"]]})
    assert [row[:2] for row in rows_of(path)] == [(2, {1: "x"}), (4, {2: "y"})]


def read(path: Path, **options: object) -> tuple[tuple[str, ...], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    table = reader_for("excel")(find_files(str(path), path.parent)[0], contract_for("transactions"), options)
    batches = list(table.batches)
    rows = [row for batch in batches for row in batch.rows.drop(NATIVE, strict=False).rows()]
    return table.header, rows, [row[:3] for batch in batches for row in batch.faults.rows()]


def test_a_table_is_found_and_cut_alike_whatever_the_file_is_called(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "export.xls"
    notes = [["only words"]]
    faulty = [[*GOOD[:3], Error("#N/A"), "OK"], [*GOOD, "beyond"]]
    WRITERS[kind](
        path, {"Notes": notes, "Export": [["Title"], [], HEADER, GOOD, *faulty, GOOD], "Old": [["id"], ["x"]]}
    )
    row = ("TRX-1", "MCH-001", "2026-02-01 10:00:00", "12.5", "OK")
    faults = [(5, "Volume (t)", "excel_error"), (6, None, "ragged_row")]
    assert read(path) == (tuple(HEADER), [(*row, 4), (*row, 7)], faults)
    assert read(path, sheet="Old", header_row=1)[:2] == (("id",), [("x", 2)])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html><body>Please sign in</body></html>", "a page of HTML without a table"),
        (b'<?xml version="1.0"?><office:document xmlns:x="urn:oasis:names:tc:opendocument">', "a flat OpenDocument"),
        (b"ID;Produit;Date\nTRX-1;MCH-001;2026-02-01\n", "reader: csv"),
        (b"%PDF-1.7\n", "a PDF"),
    ],
    ids=["HTML", "flat OpenDocument", "CSV", "PDF"],
)
def test_another_file_by_the_name_of_a_workbook_is_told_by_what_it_is(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "export.xls").write_bytes(content)
    error = refusal_of(tmp_path / "export.xls")
    assert error.fault == "unsupported"
    assert says in str(error)


def test_a_word_document_is_no_workbook(tmp_path: Path) -> None:
    write_parts(tmp_path / "a.xlsx", {"word/document.xml": b"<w/>"})
    assert "a Word document" in refusal_of(tmp_path / "a.xlsx").message
    write_parts(tmp_path / "a.ods", {"content.xml": b"<office><body><text/></body></office>"})
    assert "not a spreadsheet" in refusal_of(tmp_path / "a.ods").message


ENCRYPTED = b'<manifest><file-entry full-path="content.xml"><encryption-data/></file-entry></manifest>'


def test_a_workbook_behind_a_password_is_refused_with_the_remedy(tmp_path: Path) -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    (tmp_path / "a.xlsx").write_bytes(ole + "EncryptedPackage".encode("utf-16-le"))
    write_parts(tmp_path / "a.ods", {"META-INF/manifest.xml": ENCRYPTED, "content.xml": b"\x8f\x01"})
    (tmp_path / "a.xls").write_bytes(old_workbook(biff(0x2F, bytes(6))))
    for name in ("a.xlsx", "a.ods", "a.xls"):
        error = refusal_of(tmp_path / name)
        assert (error.fault, "remove the password" in error.remedy) == ("encrypted", True)


def biff(kind: int, data: bytes) -> bytes:
    """Return a record of an .xls."""
    return struct.pack("<HH", kind, len(data)) + data


def old_workbook(*records: bytes) -> bytes:
    """Return a workbook of Excel 5 without its OLE file: these records, then a sheet with the text of byte C9 in A1."""
    start = biff(0x809, struct.pack("<HHHH", 0x500, 5, 0, 0)) + b"".join(records)
    name = bytes([5]) + b"Sheet"
    where = len(start) + 4 + 6 + len(name) + 4
    sheet = biff(0x809, struct.pack("<HHHH", 0x500, 0x10, 0, 0)) + biff(
        0x204, struct.pack("<HHHH", 0, 0, 0, 1) + b"\xc9"
    )
    return start + biff(0x85, struct.pack("<IBB", where, 0, 0) + name) + biff(0x0A, b"") + sheet + biff(0x0A, b"")


@pytest.mark.parametrize(
    ("records", "letter"),
    [([], "É"), ([biff(0x42, b"\xe4\x04")], "É"), ([biff(0x42, b"\xe3\x04")], "Й"), ([biff(0x42, b"\x10\x27")], "…")],
    ids=["no code page", "Western", "Cyrillic", "Macintosh"],
)
def test_texts_of_old_workbooks_are_read_in_their_code_page(tmp_path: Path, records: list[bytes], letter: str) -> None:
    (tmp_path / "a.xls").write_bytes(old_workbook(*records))
    assert cells_of(tmp_path / "a.xls") == [{1: letter}]


def test_a_result_of_a_formula_is_read_from_an_xlsb(tmp_path: Path) -> None:
    """A text, a number, a yes and an error that formulas gave; a rich text and one that is not shared."""
    write_xlsb(tmp_path / "a.xlsb", {"Sheet": [["x"]]})
    cells = [
        (8, text("given")),
        (9, struct.pack("<d", 2.5)),
        (10, b"\x01"),
        (11, b"\x2a"),
        (62, b"\x00" + text("rich")),
        (6, text("apart")),
        (2, struct.pack("<i", 1_234 << 2 | 3)),
        (2, struct.pack("<d", 0.5)[4:]),
        (1, b""),
    ]
    row = record(0, struct.pack("<I", 0) + bytes(13))
    written = b"".join(record(kind, struct.pack("<II", at, 0) + held) for at, (kind, held) in enumerate(cells))
    replace_sheet(tmp_path / "a.xlsb", record(145) + row + written + record(146))
    ((_, texts, errors, _),) = rows_of(tmp_path / "a.xlsb")
    assert [*texts.values()] == ["given", "2.5", "true", "#N/A", "rich", "apart", "12.34", "0.5"]
    assert [*errors] == [4]


def replace_sheet(path: Path, sheet: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    write_parts(path, {**parts, "xl/worksheets/sheet1.bin": sheet})


@pytest.mark.parametrize(
    "records",
    [
        [record(0, struct.pack("<I", 5)), record(0, struct.pack("<I", 5))],
        [record(0, struct.pack("<I", 0)), *[record(1, struct.pack("<II", 3, 0))] * 2],
    ],
    ids=["a row twice", "a cell twice"],
)
def test_rows_and_cells_of_an_xlsb_are_never_dropped_for_their_place(tmp_path: Path, records: list[bytes]) -> None:
    write_xlsb(tmp_path / "a.xlsb", {"Sheet": [["x"]]})
    replace_sheet(tmp_path / "a.xlsb", b"".join([record(145), *records, record(146)]))
    assert "appears twice" in refusal_of(tmp_path / "a.xlsb").message


def save_ods(path: Path, *rows: str, before: str = "") -> None:
    """Save a sheet with rows as written here, in XML."""
    table = f'{before}<table:table table:name="Sheet">{"".join(rows)}</table:table>'
    write_parts(path, {"mimetype": ODS_TYPE, "content.xml": ods_content(table)})


def ods_row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def ods_cell(attributes: str, *paragraphs: str) -> str:
    shown = "".join(f"<text:p>{paragraph}</text:p>" for paragraph in paragraphs)
    return f"<table:table-cell {attributes}>{shown}</table:table-cell>"


ODS_CELLS: Mapping[str, tuple[str, str]] = {
    "a percentage": (ods_cell('office:value-type="percentage" office:value="0.125"', "12.5%"), "0.125"),
    "a currency": (ods_cell('office:value-type="currency" office:value="1500"', "1 500 FCFA"), "1500"),
    "a day": (ods_cell('office:value-type="date" office:date-value="2026-02-01"', "1/2"), "2026-02-01 00:00:00"),
    "a negative duration": (ods_cell('office:value-type="time" office:time-value="-PT01H00M00S"'), "-1:00"),
    "a text of an attribute": (ods_cell('office:value-type="string" office:string-value="a  b"', "shown"), "a  b"),
    "a text without a type": (ods_cell("", "a"), "a"),
    "an empty text that a formula gave": (ods_cell('table:formula="of:=A1"', "") + ods_cell("", "a"), "a"),
    "formats within a text": (ods_cell("", 'a <text:span>b<text:s text:c="2"/></text:span>\n  c'), "a b   c"),
    "a comment": (
        ods_cell("", "a").replace("<text:p>", "<office:annotation><text:p>?</text:p></office:annotation><text:p>"),
        "a",
    ),
    "the reading of a word": (ods_cell("", "<text:ruby>a<text:ruby-text>?</text:ruby-text></text:ruby>"), "a"),
}


def test_cells_of_an_ods_are_read_as_programs_store_them(tmp_path: Path) -> None:
    save_ods(tmp_path / "a.ods", *(ods_row(cell) for cell, _ in ODS_CELLS.values()))
    read = dict(zip(ODS_CELLS, cells_of(tmp_path / "a.ods"), strict=True))
    assert {name: [*cells.values()] for name, cells in read.items()} == {
        name: [written] for name, (_, written) in ODS_CELLS.items()
    }


def test_what_is_no_value_in_an_ods_is_told(tmp_path: Path) -> None:
    detail_of = {
        ods_cell('table:formula="of:=A1" office:value-type="float" office:value="0"', "Err:522"): "error Err:522",
        ods_cell('table:formula="of:=1/0" office:value-type="string"', "#DIV/0!"): "error #DIV/0!",
        ods_cell('table:formula="of:=A1"'): "a formula without a result",
        ods_cell('office:value-type="float" office:value="abc"'): "holds abc",
        ods_cell('office:value-type="date" office:date-value="2026-02-30"'): "holds 2026-02-30",
        ods_cell('office:value-type="time" office:time-value="noon"'): "holds noon",
        ods_cell('office:value-type="boolean" office:boolean-value="perhaps"'): "holds perhaps",
    }
    save_ods(tmp_path / "a.ods", *(ods_row(cell) for cell in detail_of))
    errors = [row.errors[1] for row in rows_of(tmp_path / "a.ods")]
    assert all(detail in error for detail, error in zip(detail_of.values(), errors, strict=True))


def test_repeated_rows_and_cells_of_an_ods_are_all_there(tmp_path: Path) -> None:
    twice, thrice = 'table:number-columns-repeated="2"', 'table:number-rows-repeated="3"'
    filler = ods_row('<table:table-cell table:number-columns-repeated="16384"/>', attributes=thrice)
    rest = ods_row("<table:table-cell/>", attributes='table:number-rows-repeated="1048000"')
    save_ods(tmp_path / "a.ods", filler, ods_row(ods_cell(twice, "x"), ods_cell("", "y"), attributes=thrice), rest)
    cells = {1: "x", 2: "x", 3: "y"}
    assert [row[:2] for row in rows_of(tmp_path / "a.ods")] == [(4, cells), (5, cells), (6, cells)]


def test_rows_in_groups_and_tables_in_cells_of_an_ods(tmp_path: Path) -> None:
    inner = '<table:table table:name="Inner">' + ods_row(ods_cell("", "no")) + "</table:table>"
    group = f"<table:table-row-group><table:table-header-rows>{ods_row(ods_cell('', 'a'))}</table:table-header-rows>"
    deleted = (
        "<table:tracked-changes><table:deletion>" + ods_cell("", "gone") + "</table:deletion></table:tracked-changes>"
    )
    first = '<table:table table:name="First">' + ods_row(ods_cell("", "first")) + "</table:table>"
    outer = ods_row(ods_cell("", "b"), f"<table:table-cell>{inner}</table:table-cell>")
    save_ods(tmp_path / "a.ods", group, outer, "</table:table-row-group>", before=deleted + first)
    assert cells_of(tmp_path / "a.ods") == [{1: "a"}, {1: "b"}]
    assert cells_of(tmp_path / "a.ods", "First") == [{1: "first"}]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (ods_row(ods_cell("", "x"), attributes='table:number-rows-repeated="99999999999"'), "too_large"),
        (ods_row(ods_cell('table:number-columns-repeated="99999999999"', "x")), "too_large"),
        (ods_row(ods_cell('table:number-columns-repeated="16384"', "x" * 50_000)), "too_large"),
        (ods_row(ods_cell("", '<text:s text:c="99999999999"/>')), "too_large"),
        (ods_row(ods_cell("", "x"), attributes='table:number-rows-repeated="-2"'), "corrupt"),
    ],
    ids=["rows", "columns", "long texts", "blanks", "fewer than none"],
)
def test_an_ods_that_repeats_without_end_does_not_unfold(tmp_path: Path, row: str, fault: str) -> None:
    save_ods(tmp_path / "a.ods", row)
    assert refusal_of(tmp_path / "a.ods").fault == fault


def test_an_xml_bomb_in_an_ods_does_not_unfold(tmp_path: Path) -> None:
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    save_ods(tmp_path / "a.ods", ods_row(ods_cell("", "&l9;")))
    with zipfile.ZipFile(tmp_path / "a.ods") as archive:
        content = archive.read("content.xml")
    write_parts(tmp_path / "a.ods", {"content.xml": f'<!DOCTYPE x [<!ENTITY l0 "lol">{levels}]>'.encode() + content})
    assert refusal_of(tmp_path / "a.ods").fault in ("corrupt", "too_large")
