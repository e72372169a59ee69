"""Names and shapes of frames that pass between readers, validation and the warehouse."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import polars as pl

ROW_NUMBER = "row_number"
PARTITION = "partition_number"  # of a topic

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


def bad_rows(rows: Iterable[BadRow] = ()) -> pl.DataFrame:
    """Return bad rows as a frame of `BAD_ROWS_SCHEMA`."""
    return pl.DataFrame(list(rows), schema=BAD_ROWS_SCHEMA, orient="row")


def each_bad_row(frame: pl.DataFrame) -> Iterator[BadRow]:
    """Give the rows of a frame of `BAD_ROWS_SCHEMA`."""
    return map(BadRow._make, frame.select(BAD_ROWS_SCHEMA.names()).iter_rows())


DecimalMark = Literal[".", ","]
