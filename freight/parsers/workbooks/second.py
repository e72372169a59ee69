"""A second opinion on workbooks of Excel 97 to 2003 (.xls) that xlrd cannot read: python-calamine reads their cells.

It returns an empty text for an error, and no number formats. So errors are looked up in the bytes of the file, and a
file with a format that shows leading zeros is refused.
"""

import io
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta

from python_calamine import CalamineSheet, CalamineWorkbook, SheetVisibleEnum

from freight.errors import SourceError
from freight.parsers.workbooks.cells import (
    ERRORS,
    Block,
    Row,
    duration_text,
    error_cell,
    instant,
    number_text,
)

REMARK = "the .xls is damaged: a second engine, python-calamine, has read its cells, but not what is hidden"
SINCE_EXCEL_97 = re.compile(rb"\x09\x08\x10\x00\x00\x06")  # texts of older ones would be read in a wrong code page
CODES = b"[" + b"".join(re.escape(bytes([code])) for code in ERRORS) + b"]"
# The records of an error, and of a formula that failed: row, column, style and error.
ERROR = re.compile(rb"\x05\x02\x08\x00(?P<place>....)..(?P<code>" + CODES + rb")\x01", re.DOTALL)
FAILED = re.compile(rb"\x06\x00..(?P<place>....)..\x02.(?P<code>" + CODES + rb")...\xff\xff", re.DOTALL)
ZEROS = re.compile(rb"\x1e\x04..(?:..)(?P<length>.)\x00\x00(?P<code>0{2,})", re.DOTALL)
MILLISECOND = timedelta(milliseconds=1)


class SecondOpinion:
    """A workbook as the other engine reads it; see `Workbook`.

    Raises:
        SourceError: It cannot read the workbook either, or would change its values.
    """

    remark = REMARK

    def __init__(self, content: bytes) -> None:
        if not SINCE_EXCEL_97.search(content) or _shows_leading_zeros(content):
            raise unreadable()
        book = _opened(content)
        self._tables = {name: _table(book, name) for name in book.sheet_names}
        self._errors = _errors(content)
        self.sheets = [*self._tables]
        shown = {sheet.name for sheet in book.sheets_metadata if sheet.visible == SheetVisibleEnum.Visible}
        self.hidden = frozenset(self.sheets) - shown

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet."""
        table = self._tables[sheet]
        for number, cells in enumerate(table.to_python(skip_empty_area=False), start=1):
            row = Row(number, {}, {})
            for column, value in enumerate(cells, start=1):
                row.put(column, self._text, value, (number, column))
            yield row

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        merged = self._tables[sheet].merged_cell_ranges or []
        return [Block(first[0] + 1, last[0] + 1, first[1] + 1, last[1] + 1) for first, last in merged]

    def hidden_columns(self, _sheet: str) -> Sequence[range]:
        """Return no column: the engine does not know which ones are hidden."""
        return []

    def _text(self, value: object, place: tuple[int, int]) -> str:
        match value:
            case "" if place in self._errors:
                raise error_cell(self._errors[place])
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
                return f"{value.isoformat()} 00:00:00"
            case timedelta():
                return duration_text(value)
            case time():
                return value.isoformat("seconds")
        raise unreadable()


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


def _shows_leading_zeros(content: bytes) -> bool:
    return any(len(found["code"]) >= found["length"][0] for found in ZEROS.finditer(content))


def _errors(content: bytes) -> dict[tuple[int, int], str]:
    """Return the errors by row and column, of any sheet: the bytes alone do not tell which one."""
    places = {}
    for found in (*ERROR.finditer(content), *FAILED.finditer(content)):
        row, column = (int.from_bytes(found["place"][at : at + 2], "little") for at in (0, 2))
        places[row + 1, column + 1] = ERRORS[found["code"][0]]
    return places
