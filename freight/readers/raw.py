"""The result of every reader: text as the source wrote it, with row numbers, in batches that fit in memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
import polars as pl

from freight.frames import ROW_NUMBER


@dataclass(frozen=True)
class RawBatch:
    """Some rows of a source.

    Attributes:
        rows: The column `row_number` and one text column per header cell, named by its position ("0", "1", ...); with
            `native_numbers` if the source tells numbers from text.
        faults: Rows that could not be cut into cells, as `BAD_ROWS_SCHEMA`; they are not in `rows`.
        skipped: The number of rows that the catalog leaves out.
        remark: How the source is read, for people; empty if there is nothing to say.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame
    skipped: int = 0
    remark: str = ""


@dataclass(frozen=True)
class RawTable:
    """A source being read.

    Attributes:
        header: The header cells as written.
        batches: The rows; each batch is read on demand.
        facts: What the reader found out about the source, such as its encoding and its delimiter.
        most_rows: The maximum number of good rows, if known; each takes some bytes.
        cut: Cuts the raw text of a row that cannot be used into cells; by default that of a parser.
        sheets: The sheets with the rows, if they are numbered by sheet: see `ROWS_OF_A_SHEET`.
        ignored: The header cells of the columns that the catalog leaves out.
        passed_over: The other columns of the source, if known; they are not read, as the contract does not know them.
    """

    header: tuple[str, ...]
    batches: Iterator[RawBatch]
    facts: Mapping[str, str] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    most_rows: int | None = None
    cut: Callable[[bytes], Sequence[str]] | None = None
    sheets: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def has_commas_between_cells(self) -> bool:
        """Whether commas delimit the cells."""
        return self.facts.get("delimiter") == ","

    def cells_of_fault(self, raw: bytes) -> Sequence[str]:
        """Return the cells of a row that cannot be used, from the left: those that it has."""
        return self.cut(raw) if self.cut else _cells_of_record(raw, self.header)


def _cells_of_record(raw: bytes, header: Sequence[str]) -> list[str]:
    """Return the cells of the JSON list or object that a parser sends of a row; of other text, one cell."""
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return [raw.decode("utf-8", "replace")]
    if isinstance(record, dict):
        record = [record.get(name) for name in header]
    cells = record if isinstance(record, list) else [record]
    return ["" if cell is None else str(cell) for cell in cells]


def no_rows(width: int) -> pl.DataFrame:
    """Return the `rows` of a batch that has only faults."""
    return pl.DataFrame(schema={**{str(position): pl.String for position in range(width)}, ROW_NUMBER: pl.Int64})
