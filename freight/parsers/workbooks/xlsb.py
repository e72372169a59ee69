"""Binary workbooks (.xlsb): a ZIP as an .xlsx is, whose parts are records instead of XML ([MS-XLSB]).

Written here because the libraries for it lose content: python-calamine returns an empty text for an error, and pyxlsb
does not know which numbers are dates.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import dropwhile, takewhile
from struct import pack, unpack, unpack_from
from typing import IO, BinaryIO

from openpyxl.packaging.relationship import get_dependents, get_rels_path
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

from freight.parsers.workbooks.cells import (
    ERRORS,
    Block,
    Row,
    WriteNumber,
    after,
    error_cell,
    format_codes,
    number_text,
    written_as,
)
from freight.parsers.workbooks.package import Package

Record = tuple[int, bytes]


class Kind(IntEnum):
    """Kinds of records; a formula's record carries its result in the place of a plain cell's value."""

    ROW, BLANK, RK, ERROR, BOOL, REAL, TEXT, SHARED_TEXT = range(8)
    FORMULA_TEXT, FORMULA_REAL, FORMULA_BOOL, FORMULA_ERROR = range(8, 12)
    SHORT_BLANK, SHORT_SHARED_TEXT = 12, 18  # the same as BLANK to SHARED_TEXT, to the right of the previous cell
    SHARED_ITEM, FORMAT, STYLE, COLUMN, RICH_TEXT = 19, 44, 47, 60, 62
    SHEET_DATA, SHEET_DATA_END, WORKBOOK_PROPERTIES, SHEET = 145, 146, 153, 156
    MERGED = 176
    CELL_STYLES, CELL_STYLES_END = 617, 618


CELLS = {*range(Kind.BLANK, Kind.SHORT_BLANK), Kind.RICH_TEXT}
HIDDEN_ROW = 1 << 4  # in the 12th byte of a row
# The record that begins merged cells, and the first of them. They come after all rows, and to cut these into records
# twice would take too long.
MERGED = re.compile(rb"\xb1\x01\x04.{4}\xb0\x01\x10", re.DOTALL)
LOOK_BYTES, MERGED_BYTES = 1 << 20, 16
SHORT_CELLS = range(Kind.SHORT_BLANK, Kind.SHORT_SHARED_TEXT + 1)


class XlsbWorkbook:
    """A workbook; its sheets are read row by row, without chart sheets and macro sheets.

    Attributes:
        sheets: The names of the sheets, in order.
        hidden: The names of those that are hidden.
        remark: Empty.

    Raises:
        Exception: The file is damaged.
    """

    remark = ""

    def __init__(self, content: BinaryIO) -> None:
        self._archive = Package(content)
        workbook = _targets(get_dependents(self._archive, "_rels/.rels"))["officeDocument"]
        relations = get_dependents(self._archive, get_rels_path(workbook))
        parts, records = _targets(relations), [*self._records(workbook)]
        self._parts = _worksheets(records, relations)
        self.sheets = list(self._parts)
        self.hidden = frozenset(_hidden_sheets(records))
        self._strings = [_string(data[1:]) for kind, data in self._shared_items(parts) if kind == Kind.SHARED_ITEM]
        since_1904 = any(kind == Kind.WORKBOOK_PROPERTIES and data[0] & 1 for kind, data in records)
        styles = [*self._records(parts["styles"])] if "styles" in parts else []
        self._styled = _styled_numbers(styles, since_1904=since_1904)

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet.

        Raises:
            SourceError: Rows or cells are out of order, so it is unclear which one counts.
        """
        row, column = Row(0, {}, {}), 0
        for kind, data in _between(self._records(self._parts[sheet]), Kind.SHEET_DATA, Kind.SHEET_DATA_END):
            if kind == Kind.ROW:
                yield row
                place = _integer(data) + 1
                row, column = Row(after(row.number, place, "row", place), {}, {}, _is_hidden_row(data)), 0
            elif kind in CELLS:
                place = _integer(data) + 1
                column = after(column, place, "cell of column", place)
                row.put(column, self._text, kind, data[4:])
            elif kind in SHORT_CELLS:
                column += 1
                row.put(column, self._text, kind - Kind.SHORT_BLANK + Kind.BLANK, data)
        yield row

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        part = self._parts[sheet]
        with self._archive.open(part) as stream:
            if not _has_merged_cells(stream):
                return []
        return [_block(data) for kind, data in self._records(part) if kind == Kind.MERGED]

    def hidden_columns(self, sheet: str) -> Sequence[range]:
        """Return the hidden columns of a sheet, which are declared before its rows."""
        before_rows = takewhile(lambda record: record[0] != Kind.SHEET_DATA, self._records(self._parts[sheet]))
        columns = [data for kind, data in before_rows if kind == Kind.COLUMN]
        return [range(_integer(data) + 1, _integer(data[4:]) + 2) for data in columns if _integer16(data[16:]) & 1]

    def _shared_items(self, parts: dict[str, str]) -> Iterable[Record]:
        return self._records(parts["sharedStrings"]) if "sharedStrings" in parts else ()

    def _records(self, part: str) -> Iterator[Record]:
        with self._archive.open(part) as stream:
            yield from _records(stream)

    def _text(self, kind: int, data: bytes) -> str:
        """Return the text of a cell from its style and its value."""
        style, value = _integer(data) & 0xFFFFFF, data[4:]
        match kind:
            case Kind.RK:
                return self._number(_short_number(value), style)
            case Kind.REAL | Kind.FORMULA_REAL:
                return self._number(unpack_from("<d", value)[0], style)
            case Kind.SHARED_TEXT:
                return self._strings[_integer(value)]
            case Kind.TEXT | Kind.FORMULA_TEXT:
                return _string(value)
            case Kind.RICH_TEXT:
                return _string(value[1:])
            case Kind.BOOL | Kind.FORMULA_BOOL:
                return "true" if value[0] else "false"
            case Kind.ERROR | Kind.FORMULA_ERROR:
                raise error_cell(ERRORS.get(value[0], f"number {value[0]}"))
        return ""

    def _number(self, value: float, style: int) -> str:
        return number_text(repr(value), self._styled.get(style))


def _records(stream: IO[bytes]) -> Iterator[Record]:
    while first := stream.read(1):
        kind = first[0]
        if kind & 0x80:
            kind = kind & 0x7F | (stream.read(1)[0] & 0x7F) << 7
        length = _length(stream)
        data = stream.read(length)
        if len(data) < length:
            raise EOFError("a part ends within a record")
        yield kind, data


def _length(stream: IO[bytes]) -> int:
    length = 0
    for shift in (0, 7, 14, 21):
        byte = stream.read(1)[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return length


def _between(records: Iterable[Record], start: int, end: int) -> Iterator[Record]:
    return takewhile(lambda record: record[0] != end, dropwhile(lambda record: record[0] != start, records))


def _targets(relations: Iterable[object]) -> dict[str, str]:
    """Return the parts that a part refers to, by the last word of their type."""
    return {found.Type.rpartition("/")[2]: found.target for found in relations}  # type: ignore[attr-defined]


def _worksheets(records: Iterable[Record], relations: Iterable[object]) -> dict[str, str]:
    worksheets = {found.Id: found.target for found in relations if found.Type.endswith("/worksheet")}  # type: ignore[attr-defined]
    sheets = [data[8:] for kind, data in records if kind == Kind.SHEET]  # after visibility and number
    named = [(_string(data), _string(data[4 + 2 * _integer(data) :])) for data in sheets]
    return {name: worksheets[relation] for relation, name in named if relation in worksheets}


def _hidden_sheets(records: Iterable[Record]) -> Iterator[str]:
    for kind, data in records:
        if kind == Kind.SHEET and _integer(data):
            yield _string(data[12 + 2 * _integer(data[8:]) :])


def _has_merged_cells(stream: IO[bytes]) -> bool:
    rest = b""
    while block := stream.read(LOOK_BYTES):
        if MERGED.search(rest + block):
            return True
        rest = block[-MERGED_BYTES:]
    return False


def _is_hidden_row(data: bytes) -> bool:
    return len(data) > 11 and bool(data[11] & HIDDEN_ROW)


def _block(data: bytes) -> Block:
    first_row, last_row, first_column, last_column = unpack_from("<4I", data)
    return Block(first_row + 1, last_row + 1, first_column + 1, last_column + 1)


def _styled_numbers(records: Iterable[Record], *, since_1904: bool) -> dict[int, WriteNumber]:
    """Return the number writers of the cell styles that show dates, leading zeros or units."""
    epoch = CALENDAR_MAC_1904 if since_1904 else CALENDAR_WINDOWS_1900
    records = list(records)
    codes = format_codes({_integer16(data): _string(data[2:]) for kind, data in records if kind == Kind.FORMAT})
    styles = [data for kind, data in _between(records, Kind.CELL_STYLES, Kind.CELL_STYLES_END) if kind == Kind.STYLE]
    written = {style: written_as(codes.get(_integer16(data[2:]), ""), epoch) for style, data in enumerate(styles)}
    return {style: write for style, write in written.items() if write}


def _integer(data: bytes) -> int:
    return int(unpack_from("<I", data)[0])


def _integer16(data: bytes) -> int:
    return int(unpack_from("<H", data)[0])


def _short_number(data: bytes) -> float:
    """Return a number stored in 30 bits; two more bits give its format."""
    bits = _integer(data)
    whole = unpack_from("<i", data)[0] >> 2
    value = whole if bits & 2 else unpack("<d", bytes(4) + pack("<I", bits & ~3))[0]
    return float(value / 100 if bits & 1 else value)


def _string(data: bytes) -> str:
    """Return a length-prefixed text."""
    length = 2 * _integer(data)
    if len(data) < 4 + length:
        raise EOFError("a record ends within a text")
    return data[4 : 4 + length].decode("utf-16-le")
