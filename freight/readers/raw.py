"""What every reader returns: text as the source wrote it, with row numbers, in batches that fit in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

ROW_NUMBER = "row_number"

FAULTS_SCHEMA = pl.Schema(
    {
        ROW_NUMBER: pl.Int64,
        "column_name": pl.String,
        "reason": pl.String,
        "detail": pl.String,
        "raw": pl.Binary,
    }
)

DecimalMark = Literal[".", ","]


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a source.

    Attributes:
        rows: `row_number` and one text column per header cell, named by its position ("0", "1", ...).
        faults: rows that could not be cut into cells, as `FAULTS_SCHEMA`; they are not in `rows`.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame


@dataclass(frozen=True)
class RawTable:
    """A source being read.

    Attributes:
        header: header cells as written.
        batches: the rows, each batch read when it is asked for.
        decimal: decimal mark of the numbers.
    """

    header: tuple[str, ...]
    batches: Iterator[RawBatch]
    decimal: DecimalMark = "."


def no_faults() -> pl.DataFrame:
    """Return an empty frame of faults."""
    return pl.DataFrame(schema=FAULTS_SCHEMA)


def fault_row(row_number: int, column: str | None, reason: str, detail: str, raw: bytes) -> dict[str, object]:
    """Return one row of `FAULTS_SCHEMA`."""
    return {ROW_NUMBER: row_number, "column_name": column, "reason": reason, "detail": detail, "raw": raw}
