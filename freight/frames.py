"""Names and shapes of frames that pass between readers, validation and the warehouse."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from freight.types import Number, row_as_json

ROW_NUMBER = "row_number"
SOURCE_ROW = "source_row"  # of a row that a source's own function has made: the row of the file that it came from
PLACE = "place"  # of a bad row in a workbook with several sheets: its row, and the sheet
PARTITION = "partition_number"  # of a topic
# One sign for each column of text, in their order: "1" for a `Number`, "0" for text. A source that stores everything as
# text lacks the column.
NATIVE = "native_numbers"

BAD_ROWS_SCHEMA = pl.Schema(
    {
        ROW_NUMBER: pl.Int64,
        "column_name": pl.String,
        "reason": pl.String,
        "detail": pl.String,
        "raw": pl.Binary,
        "broken_rules": pl.String,
    }
)


class BadRow(NamedTuple):
    """A row that cannot be used; many of them are a frame of `BAD_ROWS_SCHEMA`.

    Attributes:
        row_number: Its number.
        column_name: The first column that is bad; None where it is the row.
        reason: The code of the first fault.
        detail: All faults, in words.
        raw: Its text as bytes.
        broken_rules: The rules of the contract that it breaks, as JSON; None where it was not judged by them.
    """

    row_number: int
    column_name: str | None
    reason: str
    detail: str
    raw: bytes
    broken_rules: str | None = None


def are_native(rows: pl.DataFrame, position: int) -> pl.Series | None:
    """Return which cells of a column are numbers in their source; None if the source has only text.

    Args:
        rows: Text columns, and `native_numbers` if the source has numbers.
        position: The position of the column in the signs of `native_numbers`.
    """
    signs = rows.get_column(NATIVE, default=None)
    return None if signs is None else signs.str.slice(position, 1) == "1"


def as_json(rows: pl.DataFrame, names: Sequence[str], signed: Sequence[str]) -> pl.Series:
    """Return rows as JSON objects, in bytes; a number of the source is a JSON number, with all its digits.

    Args:
        rows: Text columns, and `native_numbers` if the source has numbers.
        names: The columns to write.
        signed: The columns that the signs of `native_numbers` stand for, in their order.
    """
    if NATIVE not in rows.columns or not rows[NATIVE].str.contains("1", literal=True).any():
        return rows.select(pl.struct(names).struct.json_encode().cast(pl.Binary)).to_series()
    positions = [signed.index(name) for name in names]
    written = [
        row_as_json(dict(zip(names, map(_as_stored, texts, (signs[at] for at in positions)), strict=True)))
        for *texts, signs in rows.select(*names, NATIVE).iter_rows()
    ]
    return pl.Series(written, dtype=pl.Binary)


def _as_stored(text: str | None, sign: str) -> str | None:
    return Number(text) if sign == "1" and text else text


def row_in_file(row: Mapping[str, Any]) -> object:
    """Return how people find a row in its file, such as `17 of sheet 'Mars'`; a function may have made several."""
    return row.get(PLACE) or row.get(SOURCE_ROW) or row[ROW_NUMBER]


def with_place_in_detail(bad: pl.DataFrame) -> pl.DataFrame:
    """Return bad rows as the warehouse stores them: those that have a `place` name it in their detail."""
    if PLACE not in bad.columns:
        return bad
    return bad.with_columns(detail=pl.format("row {}: {}", PLACE, "detail")).drop(PLACE)


def bad_rows(rows: Iterable[BadRow] = ()) -> pl.DataFrame:
    """Return bad rows as a frame of `BAD_ROWS_SCHEMA`."""
    return pl.DataFrame(list(rows), schema=BAD_ROWS_SCHEMA, orient="row")


def each_bad_row(frame: pl.DataFrame) -> Iterator[BadRow]:
    """Give the rows of a frame of `BAD_ROWS_SCHEMA`."""
    return map(BadRow._make, frame.select(BAD_ROWS_SCHEMA.names()).iter_rows())
