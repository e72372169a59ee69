"""What every reader returns: text as the source wrote it, with row numbers, in batches that fit in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from freight.frames import ROW_NUMBER
from freight.numbers import AS_PROGRAMS_WRITE, Evidence, Reading


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a source.

    Attributes:
        rows: `row_number` and one text column per header cell, named by its position ("0", "1", ...).
        faults: rows that could not be cut into cells, as `BAD_ROWS_SCHEMA`; they are not in `rows`.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame


@dataclass(frozen=True)
class RawTable:
    """A source being read.

    Attributes:
        header: header cells as written.
        batches: the rows, each batch read when it is asked for.
        numbers: How the numbers are read, unless they have to prove it.
        evidence: Takes the numbers in, where they have to prove how they are read; None where that is known.
        most_rows: no more good rows than this can be in it, as far as that is known; each takes some bytes.
        passed_over: what else the source has, if it is known; it is not read, since the contract does not know it.
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
