"""Writes values into workbook cells exactly as the warehouse holds them.

Text never becomes a formula, breaks the file or loses its end silently.
"""

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal

from openpyxl.cell import Cell

CELL_LIMIT = 32_767  # UTF-16 code units, as Excel counts
SHEET_ROWS = 1_048_576
LARGEST_EXACT = 10**15  # workbooks keep 15 digits of a number

_LIVE_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LOOKS_ESCAPED = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_CONTROL_PICTURES = 0x2400
_LONGEST_ESCAPE = len("_x005F_")

CellValue = str | int | float | Decimal | bool | date | datetime | bytes | None


def set_cell(cell: Cell, value: CellValue, number_format: str = "") -> None:
    """Write a value: text as text, an instant as UTC, bytes as their text, null as an empty cell."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="backslashreplace")
    is_long = type(value) is int and not is_exact(value)
    if is_long or (isinstance(value, float | Decimal) and not math.isfinite(value)):
        value = str(value)
    if isinstance(value, str):
        set_text(cell, value)
        return
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None)  # Excel knows no time zones
    cell.value = value
    if number_format and value is not None:
        cell.number_format = number_format


def is_exact(value: object) -> bool:
    """Whether a value is a whole number that a workbook keeps with all its digits."""
    return type(value) is int and abs(value) <= LARGEST_EXACT


def set_text(cell: Cell, text: str) -> None:
    """Write text as text; the quote prefix keeps it text when somebody edits the cell."""
    cell.value = _encoded(shown(text))
    cell.data_type = "s"
    if text.startswith(_LIVE_STARTS):
        cell.quotePrefix = True


def shown(text: str) -> str:
    """Return text as a cell stores and returns it: with pictures for control characters, and cut at the limit."""
    return _fitting(visible(text))


def visible(text: str) -> str:
    """Return text with pictures for the characters that a workbook or a database cannot hold."""
    return _ILLEGAL.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    """Return the picture of a control character, or the replacement character for an invalid one."""
    code = ord(match.group())
    return chr(_CONTROL_PICTURES + code) if code < ord(" ") else "\N{REPLACEMENT CHARACTER}"


def fits(text: str) -> bool:
    """Whether a cell can hold the whole text."""
    return len(text) * _LONGEST_ESCAPE <= CELL_LIMIT or _units(_encoded(text)) <= CELL_LIMIT


def _fitting(text: str) -> str:
    """Cut text that no cell can hold, and end it with a note of the cut."""
    if fits(text):
        return text
    mark = f" … [cut here: {len(text):,} characters in all]"
    limit = CELL_LIMIT - _units(mark)
    if _units(_encoded(text[:limit])) > limit:
        # Rare: text of wide characters or of escapes. The longest escape bounds the growth of the kept part.
        limit //= _LONGEST_ESCAPE
    return text[:limit] + mark


def _encoded(text: str) -> str:
    """Escape text that a workbook would misread: it reads `_x000D_` as CR, and a bare CR as LF."""
    return _LOOKS_ESCAPED.sub("_x005F_", text).replace("\r", "_x000D_")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
