"""Workbooks of all formats with the same content, written like those of the real programs."""

import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import openpyxl
import xlwt
from openpyxl.cell import WriteOnlyCell
from openpyxl.utils import get_column_letter
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900, to_excel

DATE, TIME, DURATION = "yyyy-mm-dd hh:mm:ss", "hh:mm:ss", "[h]:mm:ss"
ERROR_CODES = {"#DIV/0!": 0x07, "#N/A": 0x2A, "#REF!": 0x17}


@dataclass(frozen=True)
class Shown:
    """A number, and the number format of its cell."""

    value: float
    number_format: str
    shown: str = ""


@dataclass(frozen=True)
class Error:
    """The error value of a failed formula, such as #N/A."""

    text: str


@dataclass(frozen=True)
class Look:
    """What a sheet hides and merges.

    Attributes:
        state: Whether the sheet is shown; veryHidden is hidden in an .ods.
        rows, columns: The hidden rows and columns, from 1.
        merged: The merged cells: first row, last row, first column and last column, from 1.
    """

    state: Literal["visible", "hidden", "veryHidden"] = "visible"
    rows: Sequence[int] = ()
    columns: Sequence[int] = ()
    merged: Sequence[tuple[int, int, int, int]] = ()


PLAIN = Look()
Sheets = Mapping[str, Sequence[Sequence[object]]]
Looks = Mapping[str, Look]


def write_xlsx(path: Path, sheets: Sheets, *, since_1904: bool = False, looks: Looks = MappingProxyType({})) -> None:
    """Write with openpyxl."""
    book = openpyxl.Workbook(write_only=not looks)
    book.epoch = _epoch(since_1904)
    for sheet in book.worksheets:
        book.remove(sheet)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append([_xlsx_cell(sheet, value, since_1904) for value in row])
        if name in looks:
            _look_xlsx(sheet, looks[name])
    book.save(path)


def _look_xlsx(sheet: Any, look: Look) -> None:
    sheet.sheet_state = look.state
    for row in look.rows:
        sheet.row_dimensions[row].hidden = True
    for column in look.columns:
        sheet.column_dimensions[get_column_letter(column)].hidden = True
    for first_row, last_row, first_column, last_column in look.merged:
        sheet.merge_cells(None, first_row, first_column, last_row, last_column)


def _xlsx_cell(sheet: Any, value: object, since_1904: bool) -> Any:
    cell = WriteOnlyCell(sheet)
    match value:
        case str():
            # Text that looks like an escaped character is escaped as in Excel, so that it stays text.
            cell.value, cell.data_type = re.sub(r"_(?=x[0-9A-Fa-f]{4}_)", "_x005F_", value), "s"
        case Error(text):
            cell.value, cell.data_type = text, "e"
        case _:
            cell.value, cell.number_format = _number(value, since_1904)
    return cell


def write_xls(path: Path, sheets: Sheets, *, since_1904: bool = False, looks: Looks = MappingProxyType({})) -> None:
    """Write with xlwt, in the format of Excel 97 to 2003."""
    book = xlwt.Workbook(encoding="utf-8")
    book.dates_1904 = since_1904
    styles = {name: xlwt.XFStyle() for name in _formats(sheets)}
    for name, style in styles.items():
        style.num_format_str = name
    for name, rows in sheets.items():
        sheet = book.add_sheet(name)
        for place, row in enumerate(rows):
            for column, value in enumerate(row):
                if isinstance(value, Error):
                    sheet.row(place).set_cell_error(column, ERROR_CODES[value.text])
                elif isinstance(value, str):
                    sheet.write(place, column, value)
                elif value is not None:
                    number, number_format = _number(value, since_1904)
                    sheet.write(place, column, number, styles[number_format])
        _look_xls(sheet, looks.get(name, PLAIN))
    book.save(str(path))


def _look_xls(sheet: Any, look: Look) -> None:
    sheet.visibility = ("visible", "hidden", "veryHidden").index(look.state)
    for row in look.rows:
        sheet.row(row - 1).hidden = True
    for column in look.columns:
        sheet.col(column - 1).hidden = True
    for first_row, last_row, first_column, last_column in look.merged:
        sheet.merge(first_row - 1, last_row - 1, first_column - 1, last_column - 1)


def _epoch(since_1904: bool) -> Any:
    return CALENDAR_MAC_1904 if since_1904 else CALENDAR_WINDOWS_1900


def _formats(sheets: Sheets) -> list[str]:
    cells = (cell for rows in sheets.values() for row in rows for cell in row)
    own = (cell.number_format for cell in cells if isinstance(cell, Shown))
    return [*dict.fromkeys(["General", DATE, TIME, DURATION, *own])]


def _number(value: Any, since_1904: bool) -> tuple[Any, str]:
    """Return the value for a binary workbook, and the format that gives it its meaning."""
    match value:
        case datetime():
            return to_excel(value, _epoch(since_1904)), DATE
        case time():
            return to_excel(value), TIME
        case timedelta():
            return to_excel(value), DURATION
        case Shown():
            return value.value, value.number_format
    return value, "General"


def write_xlsb(path: Path, sheets: Sheets, *, since_1904: bool = False, looks: Looks = MappingProxyType({})) -> None:
    """Write record by record according to [MS-XLSB]; all texts are shared, and every second cell is in short form."""
    formats, strings = _formats(sheets), list[str]()
    parts = {
        "[Content_Types].xml": _content_types(sheets),
        "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.bin")}),
        "xl/_rels/workbook.bin.rels": _relations(
            {f"rId{place}": ("worksheet", f"worksheets/sheet{place}.bin") for place, _ in enumerate(sheets, 1)}
            | {"rId100": ("styles", "styles.bin"), "rId101": ("sharedStrings", "sharedStrings.bin")}
        ),
        "xl/workbook.bin": record(131)
        + record(153, struct.pack("<II", since_1904, 0) + text(""))
        + record(143)
        + b"".join(
            record(156, struct.pack("<II", _state(looks, s), n) + text(f"rId{n}") + text(s))
            for n, s in enumerate(sheets, 1)
        )
        + record(144)
        + record(132),
        "xl/styles.bin": _styles(formats),
    }
    for place, (name, rows) in enumerate(sheets.items(), 1):
        parts[f"xl/worksheets/sheet{place}.bin"] = _sheet(rows, formats, strings, since_1904, looks.get(name, PLAIN))
    items = b"".join(record(19, b"\0" + text(string)) for string in strings)
    parts["xl/sharedStrings.bin"] = record(159, struct.pack("<II", len(strings), len(strings))) + items + record(160)
    write_parts(path, parts)


def record(kind: int, data: bytes = b"") -> bytes:
    """Return a record of an .xlsb."""
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    length, left = b"", len(data)
    while left > 0x7F:
        length, left = length + bytes([left & 0x7F | 0x80]), left >> 7
    return head + length + bytes([left]) + data


def text(string: str) -> bytes:
    """Return a text of an .xlsb: its length, then UTF-16."""
    encoded = string.encode("utf-16-le")
    return struct.pack("<I", len(encoded) // 2) + encoded


def _content_types(sheets: Sheets) -> bytes:
    kinds = {f"/xl/worksheets/sheet{place}.bin": "worksheet" for place, _ in enumerate(sheets, 1)}
    kinds |= {"/xl/styles.bin": "styles", "/xl/sharedStrings.bin": "sharedStrings"}
    overrides = "".join(
        f'<Override PartName="{part}" ContentType="application/vnd.ms-excel.{kind}"/>' for part, kind in kinds.items()
    )
    return (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/>'
        f"{overrides}</Types>"
    ).encode()


def _relations(relations: Mapping[str, tuple[str, str]]) -> bytes:
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    listed = "".join(
        f'<Relationship Id="{name}" Type="{office}/{kind}" Target="{target}"/>'
        for name, (kind, target) in relations.items()
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
    return f'<Relationships xmlns="{namespace}">{listed}</Relationships>'.encode()


def _styles(formats: Sequence[str]) -> bytes:
    own = b"".join(record(44, struct.pack("<H", 164 + n) + text(name)) for n, name in enumerate(formats))
    styles = b"".join(
        record(47, struct.pack("<HHHHHBBHH", 0, 164 + n, 0, 0, 0, 0, 0, 0, 1)) for n in range(len(formats))
    )
    return (
        record(278)
        + (record(615, struct.pack("<I", len(formats))) + own + record(616))
        + (record(617, struct.pack("<I", len(formats))) + styles + record(618))
        + record(279)
    )


def _state(looks: Looks, sheet: str) -> int:
    return ("visible", "hidden", "veryHidden").index(looks.get(sheet, PLAIN).state)


def _sheet(
    rows: Iterable[Sequence[object]], formats: list[str], strings: list[str], since_1904: bool, look: Look
) -> bytes:
    columns = [record(60, struct.pack("<IIIIH", c - 1, c - 1, 2_000, 0, 1)) for c in look.columns]
    pieces = [record(129), *([record(390), *columns, record(391)] if columns else []), record(145)]
    for place, row in enumerate(rows):
        hidden = 0x10 if place + 1 in look.rows else 0
        pieces.append(record(0, struct.pack("<IIHBBBI", place, 0, 300, 0, hidden, 0, 0)))
        previous = -2
        for column, value in enumerate(row):
            if value is not None:
                kind, style, held = _xlsb_cell(value, formats, strings, since_1904)
                short = column == previous + 1 and column % 2 and kind in range(1, 8)
                start = b"" if short else struct.pack("<I", column)
                pieces.append(record(kind + 11 if short else kind, start + struct.pack("<I", style) + held))
                previous = column
    corners = [record(176, struct.pack("<4I", *(corner - 1 for corner in block))) for block in look.merged]
    merged = [record(177, struct.pack("<I", len(corners))), *corners, record(178)] if corners else []
    return b"".join([*pieces, record(146), *merged, record(130)])


def _xlsb_cell(value: object, formats: list[str], strings: list[str], since_1904: bool) -> tuple[int, int, bytes]:
    match value:
        case str():
            strings.append(value)
            return 7, 0, struct.pack("<I", len(strings) - 1)
        case bool():
            return 4, 0, bytes([value])
        case Error(name):
            return 3, 0, bytes([ERROR_CODES[name]])
    number, number_format = _number(value, since_1904)
    style = formats.index(number_format)
    if float(number).is_integer() and abs(number) < 1 << 29:
        return 2, style, struct.pack("<i", int(number) << 2 | 2)
    return 5, style, struct.pack("<d", number)


def write_ods(path: Path, sheets: Sheets, *, since_1904: bool = False, looks: Looks = MappingProxyType({})) -> None:
    """Write like LibreOffice."""
    assert not since_1904, "an .ods holds dates, and counts no days"
    tables = "".join(_ods_table(name, rows, looks.get(name, PLAIN)) for name, rows in sheets.items())
    write_parts(
        path, {"mimetype": ODS_TYPE, "META-INF/manifest.xml": _ods_manifest(), "content.xml": ods_content(tables)}
    )


def _ods_table(name: str, rows: Sequence[Sequence[object]], look: Look) -> str:
    style = "shown" if look.state == "visible" else "hidden"
    hidden = 'table:visibility="collapse"'
    width = max(map(len, rows), default=1)
    columns = [f"<table:table-column {hidden if c in look.columns else ''}/>" for c in range(1, width + 1)]
    starts = [f"<table:table-row {hidden if number in look.rows else ''}>" for number in range(1, len(rows) + 1)]
    written = [
        f"{start}{''.join(_ods_cells(row, number, look))}</table:table-row>"
        for number, (start, row) in enumerate(zip(starts, rows, strict=True), start=1)
    ]
    table = f"<table:table table:name={quoteattr(name)} table:style-name={quoteattr(style)}>"
    return f"{table}{''.join(columns)}{''.join(written)}</table:table>"


def _ods_cells(row: Sequence[object], number: int, look: Look) -> Iterator[str]:
    for column, value in enumerate(row, start=1):
        written = _ods_cell(value)
        for first_row, last_row, first_column, last_column in look.merged:
            if (number, column) == (first_row, first_column):
                spans = f'table:number-rows-spanned="{last_row - first_row + 1}" '
                spans += f'table:number-columns-spanned="{last_column - first_column + 1}"'
                written = written.replace("<table:table-cell", f"<table:table-cell {spans}", 1)
            elif first_row <= number <= last_row and first_column <= column <= last_column:
                written = written.replace("table:table-cell", "table:covered-table-cell")
        yield written


ODS_TYPE = b"application/vnd.oasis.opendocument.spreadsheet"


def ods_content(tables: str) -> bytes:
    """Return the XML content of an .ods with these tables."""
    names = {name: f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0" for name in ("office", "table", "text", "style")}
    names["calcext"] = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"
    declared = " ".join(f'xmlns:{prefix}="{name}"' for prefix, name in names.items())
    styles = "".join(
        f'<style:style style:name="{name}" style:family="table"><style:table-properties table:display="{shown}"/>'
        "</style:style>"
        for name, shown in {"shown": "true", "hidden": "false"}.items()
    )
    body = f"<office:automatic-styles>{styles}</office:automatic-styles>"
    body += f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
    return f'<office:document-content {declared} office:version="1.3">{body}</office:document-content>'.encode()


def _ods_manifest() -> bytes:
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{kind}"/>'
        for path, kind in {"/": ODS_TYPE.decode(), "content.xml": "text/xml"}.items()
    )
    namespace = "urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"
    return (
        f'<manifest:manifest xmlns:manifest="{namespace}" manifest:version="1.3">{entries}</manifest:manifest>'.encode()
    )


def _ods_cell(value: object) -> str:
    match value:
        case None:
            return "<table:table-cell/>"
        case str():
            return _typed("string", "", "", value)
        case bool():
            return _typed("boolean", "boolean-value", str(value).lower(), str(value).upper())
        case Error(shown):
            failed = 'table:formula="of:=NA()" calcext:value-type="error" office:value-type="string"'
            return f'<table:table-cell {failed} office:string-value=""><text:p>{shown}</text:p></table:table-cell>'
        case datetime():
            return _typed("date", "date-value", value.isoformat(), f"{value:%d/%m/%y}")
        case time():
            return _typed("time", "time-value", f"{value:PT%HH%MM%SS}", f"{value:%H:%M}")
        case timedelta():
            minutes, seconds = divmod(round(value.total_seconds()), 60)
            return _typed("time", "time-value", f"PT{minutes // 60}H{minutes % 60}M{seconds}S", f"{minutes} min")
        case Shown():
            return _typed("float", "value", repr(value.value), value.shown)
    return _typed("float", "value", repr(value), f"{value:.2f}")


def _typed(kind: str, attribute: str, value: str, shown: str) -> str:
    held = f' office:{attribute}="{value}"' if attribute else ""
    paragraphs = "".join(f"<text:p>{_ods_text(line)}</text:p>" for line in shown.split("\n"))
    return f'<table:table-cell office:value-type="{kind}"{held}>{paragraphs}</table:table-cell>'


def _ods_text(line: str) -> str:
    """Write white space as elements: plain characters would collapse to one blank."""
    spaced = re.sub(r"  +|^ | $", lambda found: f'<text:s text:c="{len(found[0])}"/>', escape(line))
    return spaced.replace("\t", "<text:tab/>")


def write_parts(path: Path, parts: Mapping[str, bytes]) -> None:
    """Write a ZIP of parts."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


WRITERS: Mapping[str, Callable[..., None]] = {
    ".xlsx": write_xlsx,
    ".xls": write_xls,
    ".xlsb": write_xlsb,
    ".ods": write_ods,
}
