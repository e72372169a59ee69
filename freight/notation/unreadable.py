"""Cells that cannot be read: their fault, by what their file has proved, and the options that would read them."""

import json
from collections.abc import Callable, Mapping, Sequence

from freight.contracts.contract import Column, Dtype
from freight.contracts.rules import OPTIONS
from freight.notation.days import DayOrder, formats_of
from freight.notation.evidence import Notation
from freight.notation.forms import Forms
from freight.notation.numbers import NAMES, OTHER, Reading


def unreadable(dtype: Dtype, notation: Notation, forms: Forms, formats: Sequence[str]) -> str:
    """Return the fault of a cell that cannot be read, to follow the name of its column.

    Args:
        dtype: The type of the column.
        notation: The notation of the file.
        forms: What the catalog says about values.
        formats: The formats that the catalog states for the column.
    """
    in_words = FAULTS.get(dtype)
    return in_words(notation, forms, formats) if in_words else ""


def _number(notation: Notation, _: Forms, __: Sequence[str]) -> str:
    return f"is not a number with a decimal {_marks(notation.numbers)}"


def _whole_number(notation: Notation, _: Forms, __: Sequence[str]) -> str:
    groups = f" ({NAMES[OTHER[notation.numbers.decimal]]}s may group it)" if notation.numbers.groups else ""
    return f"is not a whole number{groups}"


def _marks(reading: Reading) -> str:
    groups = f", and {NAMES[OTHER[reading.decimal]]}s between thousands" if reading.groups else ""
    return NAMES[reading.decimal] + groups


def _instant(notation: Notation, _: Forms, formats: Sequence[str]) -> str:
    return f"is not a date and time such as 2026-03-14 10:30:00{_or_short(notation.days, ' 10:30', formats)}"


def _day(notation: Notation, _: Forms, formats: Sequence[str]) -> str:
    return f"is not a day such as 2026-03-14{_or_short(notation.days, '', formats)}"


def _or_short(order: DayOrder, time: str, formats: Sequence[str]) -> str:
    """Return the other forms that the cells of a column may have."""
    if formats:
        return f", or in the format {' or '.join(formats)} of the catalog"
    if order.is_disputed:  # only a day after the 12th is sure then
        return ""
    return f" or 14/03/2026{time}, day first" if order.day_first else f" or 03/14/2026{time}, month first"


def _truth(_: Notation, forms: Forms, __: Sequence[str]) -> str:
    true, false = (", ".join(map(repr, texts)) for texts in (forms.true_values, forms.false_values))
    return f"is neither true ({true}) nor false ({false})"


FAULTS: Mapping[Dtype, Callable[[Notation, Forms, Sequence[str]], str]] = {
    "number": _number,
    "integer": _whole_number,
    "instant": _instant,
    "date": _day,
    "boolean": _truth,
}


def options_for(column: Column, text: str) -> str:
    """Return the options of a catalog that may read a cell, ready to paste if it is clear which.

    Args:
        column: The column of the cell.
        text: The cell, without outer space.
    """
    is_time = column.dtype in ("instant", "date")
    if formats := formats_of(text, has_time=column.dtype == "instant") if is_time else []:
        return " or ".join(f'`options: {{formats: {{{column.name}: "{pattern}"}}}}`' for pattern in formats)
    if text and not any(sign.isdigit() for sign in text) and column.dtype != "boolean":
        return f"`options: {{null_values: [{json.dumps(text, ensure_ascii=False)}]}}`, which makes it an empty cell"
    return OPTIONS[column.dtype]
