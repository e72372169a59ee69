"""Common parts of all kinds of workbooks: rows of text, cells without a usable value, and the text of numbers."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple, Never, Protocol

from openpyxl.styles.numbers import BUILTIN_FORMATS, is_date_format, is_timedelta_format
from openpyxl.utils import range_boundaries
from openpyxl.utils.datetime import CALENDAR_WINDOWS_1900, from_excel

from freight.errors import SourceError
from freight.parsers.workbooks.formats import unit_in_format
from freight.types import Number

EXACT_FLOAT_INTEGERS = 1e15  # below it a float holds every whole number, so its text needs no exponent
AS_TEXT = "format its column as text, and enter the code again"
BOOLEANS = {"0": "false", "1": "true", "false": "false", "true": "true"}
LEADING_ZEROS = re.compile(r"0{2,}")  # of a number format: 42 shows as 00042
EAST_ASIAN_DATES = dict.fromkeys([*range(27, 37), *range(50, 59)], "yyyy-mm-dd h:mm")  # missing in openpyxl
LAST_ROW, LAST_COLUMN = 1 << 20, 1 << 14  # the limits of the programs, in each kind of workbook
SHOWN_CHARS = 40  # of a text or a format, in a message
NO_DAY = 60  # 29 February 1900, which exists only in Excel
ERRORS = {  # of the binary kinds, by code
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}

WriteNumber = Callable[[str], str]  # from a number in the file to its text


class UnusableCell(Exception):
    """A cell holds no usable value; carries its content and the reason."""

    def __init__(self, text: str, detail: str) -> None:
        super().__init__(detail)
        self.text = text
        self.detail = detail


class Shown(str):
    """Why people see something else in a cell than it holds.

    Attributes:
        unit: The unit that its number format shows; empty if it is not about a unit.
    """

    unit: str = ""


class Day(str):
    """A day or an instant that the program stores as such; one that was entered as text is a plain text."""

    __slots__ = ()


class Row(NamedTuple):
    """A row of a sheet; columns count from 1.

    Attributes:
        number: The row number that Excel shows.
        texts: The texts of the cells with content, by column.
        errors: The reasons why cells hold no value, by column.
        hidden: Whether the program does not show it, because it is hidden or filtered out.
    """

    number: int
    texts: dict[int, str]
    errors: dict[int, str]
    hidden: bool = False

    def put[**P](self, column: int, read: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> None:
        """Keep the text that a function reads from a cell, or the reason why it has none."""
        try:
            text = read(*args, **kwargs)
        except UnusableCell as unusable:
            text, self.errors[column] = unusable.text, unusable.detail
        if text:
            self.texts[column] = text


class Block(NamedTuple):
    """Merged cells, of which the first one holds the value; rows and columns count from 1."""

    first_row: int
    last_row: int
    first_column: int
    last_column: int

    @property
    def is_one_cell(self) -> bool:
        """Whether nothing is merged."""
        return self.first_row == self.last_row and self.first_column == self.last_column


class Workbook(Protocol):
    """A workbook of any kind; its sheets are read row by row.

    Attributes:
        sheets: The names of the sheets, in order.
        hidden: The names of those that the program does not show.
        remark: The unusual way in which the workbook was read, for people; empty if there is none.
    """

    sheets: list[str]
    hidden: frozenset[str]
    remark: str

    def rows(self, sheet: str) -> Iterator[Row]:
        """Yield the rows of a sheet in order; empty rows may be left out."""

    def blocks(self, sheet: str) -> Sequence[Block]:
        """Return the merged cells of a sheet."""

    def hidden_columns(self, sheet: str) -> Sequence[range]:
        """Return the columns of a sheet that the program does not show."""


def after(previous: int, position: int, kind: str, written: object) -> int:
    """Return the position of a row or a cell.

    Raises:
        SourceError: It does not follow the previous one, so it is unclear which one counts.
    """
    if position <= previous:
        raise SourceError(
            "corrupt",
            f"the workbook is damaged: the {kind} {written} is out of order or appears twice",
            remedy="open it in Excel, let Excel repair it, check it and save it",
        )
    return position


def shown_with(text: str, unit: str, how: str) -> UnusableCell:
    """Return the doubt about a number that is shown with a unit, in some format."""
    told = Shown(
        f"the cell holds {text}, but {how} shows {unit[:SHOWN_CHARS]!r}, which the contract does not state; if the "
        f"number that it holds counts, add `options: {{shown_units: [{unit[:SHOWN_CHARS]!r}]}}` in the catalog, then "
        "save the file again and deliver it"
    )
    told.unit = unit
    return UnusableCell(text, told)


def marked_text(text: str, marked: str) -> UnusableCell:
    """Return the doubt about a text of which some characters are struck out, raised or lowered."""
    told = f"the cell holds {text[:SHOWN_CHARS]!r}, of which {marked[:SHOWN_CHARS]!r} is struck out, raised or lowered"
    return UnusableCell(text, Shown(f"{told}, so it shows something else; write its value plainly"))


def day_in_a_text(day: str) -> Shown:
    """Return the doubt about a day in a column of texts."""
    return Shown(
        f"the cell holds the day {day} in a column of text: the program may have made it of a code such as 1-2; "
        "format the column as text, and enter the value again"
    )


def cells_within(reference: str) -> Block:
    """Return the block of a reference such as B2:C4."""
    first_column, first_row, last_column, last_row = range_boundaries(reference)
    return Block(first_row, last_row, first_column, last_column)


def within(position: int, limit: int) -> int:
    """Return the position of a row or a cell.

    Raises:
        SourceError: No sheet is that large.
    """
    if position > limit:
        raise SourceError(
            "too_large",
            f"the sheet has more than {limit:,} rows or columns",
            remedy="deliver it in parts, or as CSV",
        )
    return position


def error_cell(text: str) -> UnusableCell:
    """Return the fault of a cell that holds an error, such as #N/A."""
    return UnusableCell(text, f"the cell holds the error {text}")


def formula_without_result(formula: str) -> UnusableCell:
    """Return the fault of a cell whose formula was never calculated."""
    return UnusableCell(formula, "the cell holds a formula without a result; open the workbook in Excel and save it")


def format_codes(own: dict[int, str]) -> dict[int, str]:
    """Return number formats by their number: the built-in ones and the workbook's own."""
    return {**EAST_ASIAN_DATES, **BUILTIN_FORMATS, **own}


def written_as(code: str, epoch: datetime) -> WriteNumber | None:
    """Return the writer of a number format for dates, leading zeros or units; None if its numbers need no change."""
    duration = is_timedelta_format(code)
    if duration or is_date_format(code):
        return partial(_date, epoch=epoch, duration=duration)
    if LEADING_ZEROS.fullmatch(code):
        return partial(_padded_number, width=len(code))
    unit = unit_in_format(code)
    return partial(_with_unit, unit=unit, code=code) if unit else None


def number_text(value: str, write: WriteNumber | None) -> str:
    """Return a number as a `Number`, or as the text that its format shows.

    Raises:
        UnusableCell: The value is not a number, or its format cannot show it.
    """
    try:
        return write(value) if write else Number(plain_number(value))
    except (ValueError, OverflowError):
        raise UnusableCell(value, f"the cell holds {value}, which its format cannot show") from None


def plain_number(value: str) -> str:
    """Return the shortest text of a number, without an exponent if it is whole.

    Raises:
        ValueError: The value is not a number.
        UnusableCell: The number has more digits than the program has kept.
    """
    value = value.removesuffix(".0")
    is_plain = value.isdigit()
    number = int(value) if is_plain else float(value)
    if not is_plain and not float(number).is_integer():
        return str(number)
    if abs(number) >= EXACT_FLOAT_INTEGERS:
        raise UnusableCell(value, f"the cell holds the number {value}, of which a workbook keeps 15 digits; {AS_TEXT}")
    return str(int(number))


def duration_text(length: timedelta) -> str:
    """Return a duration in hours, such as 26:30, to the millisecond; seconds only if there are any."""
    whole = abs(length)
    minutes, seconds = divmod(whole.days * 86_400 + whole.seconds, 60)
    fraction = f".{whole.microseconds // 1_000:03}" if whole.microseconds else ""
    below = f":{seconds:02}{fraction}" if seconds or fraction else ""
    return f"{'-' if length < timedelta() else ''}{minutes // 60}:{minutes % 60:02}{below}"


def instant(when: datetime) -> str:
    """Return an instant to the millisecond, in the format of all dates here."""
    return Day(when.isoformat(" ", "milliseconds" if when.microsecond else "seconds"))


def _with_unit(value: str, unit: str, code: str) -> Never:
    raise shown_with(Number(plain_number(value)), unit, f"its format {code[:SHOWN_CHARS]}")


def _padded_number(value: str, width: int) -> str:
    text = plain_number(value)
    return text.zfill(width) if text.isdigit() else text


def _date(value: str, epoch: datetime, *, duration: bool) -> str:
    """Return days since an epoch as an instant, rounded to milliseconds since Excel stores a float."""
    days = float(value)
    if not duration and (days < 0 or (int(days) == NO_DAY and epoch == CALENDAR_WINDOWS_1900)):
        raise ValueError("there is no such day")
    when = from_excel(days, epoch, timedelta=duration)
    if isinstance(when, timedelta):
        return duration_text(when)
    return instant(when) if isinstance(when, datetime) else str(when)
