"""Workbooks of Excel 2 to 2003 (.xls), read with xlrd.

xlrd also evaluates the formulas of names and reads comments, links and drawings, and gives up where it does not expect
what it finds there. None of them is a cell, so they are passed over.
"""

import io
from collections.abc import Iterator, Sequence

import xlrd
import xlrd.book
import xlrd.sheet
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

from freight.errors import SourceError
from freight.parsers.workbooks.cells import (
    ERRORS,
    Block,
    Row,
    WriteNumber,
    error_cell,
    format_codes,
    number_text,
    written_as,
)
from freight.parsers.workbooks.package import behind_a_password

FIRST_UNICODE_VERSION = 80  # of the format; texts of older ones are bytes in a code page
USUAL_ENCODING = "cp1252"  # of a workbook that names no code page


NO_CELLS = ("handle_note", "handle_obj", "handle_hlink", "handle_quicktip", "handle_feat11")
for handler in NO_CELLS:
    setattr(xlrd.sheet.Sheet, handler, lambda *_: None)
xlrd.book.evaluate_name_formula = lambda *_, **__: None


class XlsWorkbook:
    """A workbook; its sheets are read one at a time, without chart sheets and macro sheets.

    Attributes:
        sheets: The names of the sheets, in order.
        hidden: The names of those that are hidden.
        remark: Empty.

    Raises:
        SourceError: The file is protected by a password, or not a workbook. A damaged file raises any other error here,
            and not later.
    """

    remark = ""

    def __init__(self, content: bytes) -> None:
        self._book = _open(content)
        self.sheets: list[str] = self._book.sheet_names()
        states = zip(self.sheets, self._book._sheet_visibility, strict=False)
        self.hidden = frozenset(sheet for sheet, state in states if state)
        self._styled = _styled_numbers(self._book)
        for sheet in self.sheets:
            self._cells(sheet)

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet."""
        cells = self._cells(sheet)
        for place in range(cells.nrows):
            look = cells.rowinfo_map.get(place)
            row = Row(place + 1, {}, {}, bool(look and look.hidden))
            for column, cell in enumerate(cells.row(place), start=1):
                row.put(column, self._text, cell)
            yield row

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""
        merged = self._cells(sheet).merged_cells  # after the last row and column
        return [Block(row + 1, end_row, column + 1, end_column) for row, end_row, column, end_column in merged]

    def hidden_columns(self, sheet: str) -> Sequence[range]:
        """Return the hidden columns of a sheet."""
        looks = self._cells(sheet).colinfo_map
        return [range(column + 1, column + 2) for column, look in looks.items() if look.hidden]

    def _cells(self, sheet: str) -> xlrd.sheet.Sheet:
        self._forget_other_sheets(sheet)
        return self._book.sheet_by_name(sheet)

    def _forget_other_sheets(self, sheet: str) -> None:
        for other in self.sheets if self._book.on_demand else ():
            if other != sheet and self._book.sheet_loaded(other):
                self._book.unload_sheet(other)

    def _text(self, cell: xlrd.sheet.Cell) -> str:
        match cell.ctype:
            case xlrd.XL_CELL_TEXT:
                return str(cell.value)
            case xlrd.XL_CELL_NUMBER | xlrd.XL_CELL_DATE:
                return number_text(repr(cell.value), self._styled.get(cell.xf_index))
            case xlrd.XL_CELL_BOOLEAN:
                return "true" if cell.value else "false"
            case xlrd.XL_CELL_ERROR:
                raise error_cell(ERRORS.get(cell.value, f"number {cell.value}"))
        return ""


def _open(content: bytes) -> xlrd.Book:
    book = _open_as(content, None)
    if book.codepage is None and book.biff_version < FIRST_UNICODE_VERSION:
        return _open_as(content, USUAL_ENCODING)
    return book


def _open_as(content: bytes, encoding: str | None) -> xlrd.Book:
    try:
        return xlrd.open_workbook(
            file_contents=content,
            logfile=_Nowhere(),
            encoding_override=encoding,
            formatting_info=True,
            on_demand=True,
            ragged_rows=True,
            ignore_workbook_corruption=True,  # of the file's directory, not of the workbook
        )
    except xlrd.XLRDError as error:
        raise _refusal(error) from None


def _refusal(error: Exception) -> Exception:
    if "encrypted" in str(error):
        return behind_a_password()
    if "Can't find workbook" in str(error):
        return SourceError(
            "unsupported",
            "the file is from an old Office program, but not a workbook",
            remedy="deliver it as .xlsx or CSV",
        )
    return error


def _styled_numbers(book: xlrd.Book) -> dict[int, WriteNumber]:
    """Return the number writers of the cell styles that show dates, leading zeros or units."""
    epoch = CALENDAR_MAC_1904 if book.datemode else CALENDAR_WINDOWS_1900
    codes = format_codes({key: found.format_str for key, found in book.format_map.items() if found.format_str})
    written = {xf.xf_index: written_as(codes.get(xf.format_key, ""), epoch) for xf in book.xf_list}
    return {style: write for style, write in written.items() if write}


class _Nowhere(io.TextIOBase):
    """Swallows xlrd's warnings about a file, which could be a line per record."""

    def write(self, text: str, /) -> int:
        return len(text)
