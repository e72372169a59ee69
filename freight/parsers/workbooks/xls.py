"""Workbooks of Excel 2 to 2003 (.xls), read with xlrd."""

import io
from collections.abc import Iterator
from typing import BinaryIO

import xlrd
from openpyxl.utils.datetime import CALENDAR_MAC_1904, CALENDAR_WINDOWS_1900

from freight.errors import SourceError
from freight.parsers.workbooks.cells import ERRORS, Row, WriteNumber, error_cell, format_codes, number_text, written_as
from freight.parsers.workbooks.package import behind_a_password

FIRST_UNICODE_VERSION = 80  # of the format; texts of older ones are bytes in a code page
USUAL_ENCODING = "cp1252"  # of a workbook that names no code page


class XlsWorkbook:
    """A workbook; its sheets are read one at a time, without chart sheets and macro sheets.

    Attributes:
        sheets: The names of the sheets, in order.

    Raises:
        SourceError: The file is protected by a password, or not a workbook. A damaged file can raise any other error.
    """

    def __init__(self, content: BinaryIO) -> None:
        self._book = _open(content.read())
        self.sheets: list[str] = self._book.sheet_names()
        self._styled = _styled_numbers(self._book)

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet."""
        self._forget_other_sheets(sheet)
        cells = self._book.sheet_by_name(sheet)
        for place in range(cells.nrows):
            row = Row(place + 1, {}, {})
            for column, cell in enumerate(cells.row(place), start=1):
                row.put(column, self._text, cell)
            yield row

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
    """Return the number writers of the cell styles that show dates or leading zeros."""
    epoch = CALENDAR_MAC_1904 if book.datemode else CALENDAR_WINDOWS_1900
    codes = format_codes({key: found.format_str for key, found in book.format_map.items() if found.format_str})
    written = {xf.xf_index: written_as(codes.get(xf.format_key, ""), epoch) for xf in book.xf_list}
    return {style: write for style, write in written.items() if write}


class _Nowhere(io.TextIOBase):
    """Swallows xlrd's warnings about a file, which could be a line per record."""

    def write(self, text: str, /) -> int:
        return len(text)
