"""Frames of text for a source's own function: from Arrow to pandas, and back to rows with a check of each promise."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc

from freight.types import Number
from freight.words import counted

ROW_NUMBER, NATIVE = "row_number", "native_numbers"  # as in freight.frames, which would import polars
TEXT = pd.StringDtype(na_value=np.nan)  # what pandas 3 calls "str"
TWO_READINGS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
SHOWN_NUMBERS = 5
SLICE_ROWS = 20_000


class Native(Number):
    """A number of the file, as a text that has one reading, even if the function makes other text of it.

    It has the decimal mark of its source. If the catalog does not state one, a point before three digits could also be
    between thousands: then the text has one more zero.
    """

    plain: str

    @classmethod
    def of(cls, plain: str, decimal: str | None) -> "Native":
        """Return a number, given its usual text and the decimal mark that the catalog states."""
        shown = f"{plain}0" if decimal is None and TWO_READINGS.fullmatch(plain) else plain
        native = cls(shown.replace(".", decimal or "."))
        native.plain = plain
        return native


class BrokenPromise(Exception):
    """A function returns something else than a frame of text with row numbers; the message follows its name."""


class TextRows(NamedTuple):
    """The rows that a function returns; they become text as they are read, as all at once would take much memory.

    Attributes:
        header: The names of the columns.
        numbers: The row numbers, which the file has.
        cells: The cells.
    """

    header: Sequence[str]
    numbers: pd.Index
    cells: pd.DataFrame

    def rows(self) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield the number and the text of each row.

        Raises:
            BrokenPromise: A cell holds something else than text or a number.
        """
        for first in range(0, len(self.numbers), SLICE_ROWS):
            numbers = self.numbers[first : first + SLICE_ROWS].tolist()
            part = self.cells.iloc[first : first + SLICE_ROWS]
            columns = [_texts(part.iloc[:, n], numbers) for n in range(len(self.header))]
            yield from zip(numbers, zip(*columns, strict=True) if columns else [()] * len(numbers), strict=True)


def read_frame(path: Path, header: Sequence[str], decimal: str | None) -> pd.DataFrame:
    """Return the rows of an Arrow file as text columns under the header; an empty cell is missing.

    Args:
        path: The Arrow file.
        header: The header of the rows.
        decimal: The decimal mark that the catalog states; None if it does not.

    Returns:
        The rows, with their numbers as the index `row_number`; a number of the file is a text, too, a `Native`.
    """
    with pa.OSFile(str(path)) as source, ipc.open_file(source) as reader:
        table = reader.read_all()
    numbers = pd.Index(table[ROW_NUMBER].to_numpy(), name=ROW_NUMBER)
    columns = {n: pd.Series(_cells(table, n, decimal), numbers) for n in range(len(header))}
    return pd.DataFrame(columns, index=numbers).set_axis(list(header), axis="columns")


def _cells(table: pa.Table, position: int, decimal: str | None) -> Any:
    text = table[str(position)]
    filled = pc.if_else(pc.equal(text, ""), pa.scalar(None, text.type), text)
    signs = pc.utf8_slice_codeunits(table[NATIVE], position, position + 1) if NATIVE in table.column_names else None
    if signs is None or not pc.any(pc.equal(signs, "1")).as_py():
        return TEXT.__from_arrow__(filled)
    cells = zip(filled.to_pylist(), signs.to_pylist(), strict=True)
    texts = [Native.of(text, decimal) if text and sign == "1" else text for text, sign in cells]
    # pandas' own type for text would forget what is a number
    return pd.Series(texts, dtype=object).array


def lookup_frames(lookups: Mapping[str, Mapping[str, Sequence[object]]]) -> dict[str, pd.DataFrame]:
    """Return reference tables, which are given as columns, as frames."""
    return {name: pd.DataFrame(columns) for name, columns in lookups.items()}


def text_rows(result: object, known: pd.Index) -> TextRows:
    """Return the rows of a function's result.

    Args:
        result: The result.
        known: The row numbers that the function was given.

    Raises:
        BrokenPromise: It is not a frame, has lost or invented row numbers, or has columns without a name.
    """
    if not isinstance(result, pd.DataFrame):
        raise BrokenPromise(f"returns {_kind(result)} instead of a DataFrame")
    numbers, cells = _apart(result)
    _refuse_odd_numbers(numbers, known)
    odd = next((name for name in cells.columns if not isinstance(name, str)), None)
    if odd is not None:
        raise BrokenPromise(f"returns a column that is named {odd!r}: the names of columns must be text")
    return TextRows([*cells.columns], numbers, cells)


def _apart(result: pd.DataFrame) -> tuple[pd.Index, pd.DataFrame]:
    """Return the row numbers, from the index or a column, and the other columns; a named index is one, too."""
    levels = list(result.index.names)
    if ROW_NUMBER in levels:
        others = [level for level, name in enumerate(levels) if name != ROW_NUMBER]
        rest = result.reset_index(level=others) if others else result
        return rest.index, rest.reset_index(drop=True)
    rest = result.reset_index(drop=all(name is None for name in levels))
    if list(rest.columns).count(ROW_NUMBER) != 1:
        raise BrokenPromise(
            f"loses the row numbers: keep the index {ROW_NUMBER!r}, or return it as a column (a merge and a groupby "
            f"drop the index: call reset_index() before; melt keeps it with ignore_index=False)"
        )
    return pd.Index(rest.pop(ROW_NUMBER)), rest


def _refuse_odd_numbers(numbers: pd.Index, known: pd.Index) -> None:
    if missing := int(numbers.isna().sum()):
        raise BrokenPromise(f"returns {counted(missing, 'row')} without a row number")
    if not pd.api.types.is_integer_dtype(numbers.infer_objects().dtype):
        raise BrokenPromise(f"returns row numbers of the type {numbers.dtype}: they must stay whole numbers")
    if len(invented := numbers[~numbers.isin(known)].unique()):
        told = ", ".join(str(number) for number in invented[:SHOWN_NUMBERS])
        raise BrokenPromise(f"invents row numbers, which the file does not have: {told}")


def _texts(column: pd.Series, rows: Sequence[int]) -> list[str]:
    if isinstance(column.dtype, pd.StringDtype):
        return column.fillna("").tolist()  # type: ignore[no-any-return]
    texts = [_text(value) for value in column]
    odd = next((place for place, text in enumerate(texts) if text is None), None)
    if odd is None:
        return texts  # type: ignore[return-value]
    raise BrokenPromise(
        f"returns {_kind(column.iloc[odd])} in the column {column.name!r} of row {rows[odd]}: return text or numbers"
    )


def _text(value: object) -> str | None:
    """Return a value as text, a number with all its digits; None if it is something else."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    match value:
        case Native():
            return Number(value.plain)
        case str():
            return value
        case bool() | np.bool_():
            return "true" if value else "false"
        case int() | np.integer():
            return Number(int(value))
        case float() | np.floating():
            return "" if np.isnan(value) else Number(_plain(float(value)))
        case Decimal():
            return Number(f"{value:f}")
        case date():  # an instant is one, too
            return value.isoformat() if type(value) is date else value.isoformat(" ")  # type: ignore[call-arg]
    return None


def _plain(value: float) -> str:
    """Return the shortest text that reads as this number, without exponent; `42.0` as `42`."""
    return f"{Decimal(repr(value)).normalize():f}" if np.isfinite(value) else str(value)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a value of the type {type(value).__name__}"
