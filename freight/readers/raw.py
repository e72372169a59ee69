"""The result of every reader: text as the source wrote it, with row numbers, in batches that fit in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from freight.frames import ROW_NUMBER
from freight.numbers import AS_PROGRAMS_WRITE, Evidence, Reading


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a source.

    Attributes:
        rows: The column `row_number` and one text column per header cell, named by its position ("0", "1", ...).
        faults: Rows that could not be cut into cells, as `BAD_ROWS_SCHEMA`; they are not in `rows`.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame


@dataclass(frozen=True)
class RawTable:
    """A source being read.

    Attributes:
        header: The header cells as written.
        batches: The rows; each batch is read on demand.
        numbers: The format of numbers, unless `evidence` has to find it.
        evidence: Collects numbers to find their format; None if the format is known.
        most_rows: The maximum number of good rows, if known; each takes some bytes.
        passed_over: The other columns of the source, if known; they are not read, as the contract does not know them.
    """

    header: tuple[str, ...]
    batches: Iterator[RawBatch]
    numbers: Reading = AS_PROGRAMS_WRITE
    evidence: Evidence | None = None
    passed_over: tuple[str, ...] = ()
    most_rows: int | None = None


def no_rows(width: int) -> pl.DataFrame:
    """Return the `rows` of a batch that has only faults."""
    return pl.DataFrame(schema={**{str(position): pl.String for position in range(width)}, ROW_NUMBER: pl.Int64})
