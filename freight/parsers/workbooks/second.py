"""A second opinion on workbooks of Excel 97 to 2003 (.xls) that xlrd cannot read: python-calamine reads their cells.

It returns an empty text for an error, no number formats, and the rows of a stream that is cut off. So the records of
the file are looked through for errors, for formats with leading zeros, and for the end of each sheet.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from struct import unpack_from

from openpyxl.styles.numbers import is_date_format
from python_calamine import CalamineSheet, CalamineWorkbook, SheetVisibleEnum

from freight.errors import SourceError
from freight.parsers.workbooks.cells import (
    ERRORS,
    LEADING_ZEROS,
    Block,
    Day,
    Row,
    duration_text,
    error_cell,
    instant,
    number_text,
)
from freight.parsers.workbooks.formats import unit_in_format

REMARK = "the .xls is damaged: a second engine, python-calamine, has read its cells, but not which rows are hidden"
GLOBALS = b"\x09\x08\x10\x00\x00\x06\x05\x00"  # how a workbook since Excel 97 begins; older texts have code pages
STREAM_NAME, SIZE_AT = "Workbook\0".encode("utf-16-le"), 0x78  # in the directory of the file
RESULT_ERROR, NO_NUMBER = 2, b"\xff\xff"  # at the start and the end of the result of a formula that failed
MILLISECOND = timedelta(milliseconds=1)


class Kind(IntEnum):
    """Kinds of records."""

    FORMULA, EOF, SHEET = 0x06, 0x0A, 0x85
    ERROR, FORMAT, BOF = 0x205, 0x41E, 0x809


class SecondOpinion:
    """A workbook as the other engine reads it; see `Workbook`.

    Raises:
        SourceError: It cannot read the workbook either, or would change its values.
    """

    remark = REMARK

    def __init__(self, content: bytes) -> None:
        self._errors = _errors(content)
        book = _opened(content)
        self._tables = {name: _table(book, name) for name in book.sheet_names}
        self.sheets = [*self._tables]
        shown = {sheet.name for sheet in book.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible}
        self.hidden = frozenset(self.sheets) - shown

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet."""
        table, errors = self._tables[sheet], self._errors.get(sheet, {})
        for number, cells in enumerate(table.to_python(skip_empty_area=False), start=1):
            row = Row(number, {}, {})
            for column, value in enumerate(cells, start=1):
                row.put(column, _text, value, errors.get((number, column), ""))
            yield row

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        merged = self._tables[sheet].merged_cell_ranges or []
        return [Block(first[0] + 1, last[0] + 1, first[1] + 1, last[1] + 1) for first, last in merged]

    def hidden_columns(self, _sheet: str) -> Sequence[range]:
        """Return no column: the engine does not know which ones are hidden."""
        return []


def unreadable() -> SourceError:
    """Return the error for a workbook that no engine can read."""
    return SourceError(
        "corrupt",
        "the .xls is damaged: its cells cannot be read without changing them",
        remedy="open it in Excel, let it be repaired, check it and save it as `Excel Workbook (*.xlsx)`",
    )


def _opened(content: bytes) -> CalamineWorkbook:
    try:
        return CalamineWorkbook.from_filelike(io.BytesIO(content))
    except MemoryError:
        raise
    except BaseException:  # it may also panic, which is no Exception
        raise unreadable() from None


def _table(book: CalamineWorkbook, name: str) -> CalamineSheet:
    try:
        return book.get_sheet_by_name(name)
    except MemoryError:
        raise
    except BaseException:
        raise unreadable() from None


def _text(value: object, error: str) -> str:
    match value:
        case "" if error:
            raise error_cell(error)
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(repr(value), None)
        case datetime():
            rounded = value + MILLISECOND / 2
            return instant(rounded - timedelta(microseconds=rounded.microsecond % 1_000))
        case date():
            return Day(f"{value.isoformat()} 00:00:00")
        case timedelta():
            return duration_text(value)
        case time():
            return value.isoformat("seconds")
    raise unreadable()


Errors = dict[tuple[int, int], str]  # by row and column


class _Records:
    """The records of a workbook, for what the engine does not tell.

    Attributes:
        errors: The errors of each sheet.
    """

    def __init__(self) -> None:
        self.errors: dict[str, Errors] = {}
        self._names: dict[int, str] = {}  # of the sheets that have not ended, by the place of their first record
        self._depth = self._first = 0

    def note(self, place: int, kind: int, data: bytes) -> bool:
        """Take in a record; return whether it is the last one."""
        match kind:
            case Kind.BOF:
                self._first = self._first if self._depth else place
                self._depth += 1
            case Kind.EOF:
                self._depth -= 1
                return not self._depth and self._has_ended()
            case Kind.SHEET:
                name = self._names[unpack_from("<I", data)[0]] = _text_of(data[6], data[7:])
                self.errors[name] = {}
            case Kind.FORMAT if _shows_more(_text_of(unpack_from("<H", data, 2)[0], data[4:])):
                raise unreadable()
            case Kind.ERROR | Kind.FORMULA if self._first in self._names:
                self.errors[self._names[self._first]] |= _error(kind, data)
        return False

    def _has_ended(self) -> bool:
        """Whether the last sheet has ended; the first record of the workbook belongs to none."""
        self._names.pop(self._first, None)
        return not self._names


def _errors(content: bytes) -> dict[str, Errors]:
    """Return the errors of each sheet.

    Raises:
        SourceError: The records do not reach the end of each sheet, or a number format shows leading zeros or a unit.
    """
    start, found = content.find(GLOBALS), _Records()
    stream = content[start : start + _size_of_stream(content)] if start >= 0 else b""
    try:
        if any(found.note(*record) for record in _each_record(stream)):
            return found.errors
    except (struct.error, IndexError, UnicodeError):  # what looks like a record is none
        pass
    raise unreadable()


def _shows_more(code: str) -> bool:
    """Whether a number format shows leading zeros or a unit."""
    return bool(LEADING_ZEROS.fullmatch(code) or (not is_date_format(code) and unit_in_format(code)))


def _size_of_stream(content: bytes) -> int:
    """Return how much of a workbook the directory of its file names, which is what the engine reads."""
    at = content.find(STREAM_NAME)
    return int(unpack_from("<I", content, at + SIZE_AT)[0]) if 0 <= at < len(content) - SIZE_AT - 4 else 0


def _each_record(stream: bytes) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    while place + 4 <= len(stream):
        kind, length = unpack_from("<HH", stream, place)
        yield place, kind, stream[place + 4 : place + 4 + length]
        place += 4 + length


def _error(kind: int, data: bytes) -> Errors:
    """Return the error of a cell, or of a formula that failed; nothing if it has another value."""
    row, column = unpack_from("<HH", data)
    if kind == Kind.ERROR:
        code, is_error = data[6], data[7] == 1
    else:
        code, is_error = data[8], data[6] == RESULT_ERROR and data[12:14] == NO_NUMBER
    return {(row + 1, column + 1): ERRORS.get(code, f"number {code}")} if is_error else {}


def _text_of(length: int, data: bytes) -> str:
    """Return a text behind the byte that tells its encoding."""
    is_wide = data[0] & 1
    return data[1 : 1 + length * 2].decode("utf-16-le") if is_wide else data[1 : 1 + length].decode("latin-1")
