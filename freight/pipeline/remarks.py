"""What a reader says about a file: remarks for people, and the sheets of its rows."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from freight.contracts.headers import listed, sheet_names
from freight.frames import ROW_NUMBER
from freight.notation.evidence import REMARKS, SHEETS
from freight.readers import RawBatch, RawTable
from freight.types import ROWS_OF_A_SHEET

MOST_REMARKS = 20  # a hostile parser may send any number


class Remarks:
    """Collects the remarks on a table.

    Attributes:
        words: The remarks, each once.
    """

    def __init__(self, table: RawTable) -> None:
        ignored = f"left out, as the catalog says: {listed(table.ignored)}" if table.ignored else ""
        self.words: tuple[str, ...] = (ignored,) if ignored else ()

    def facts(self, sheets: Sequence[str]) -> dict[str, str]:
        """Return the remarks, and the sheets if there are several, as facts for the ledger."""
        names = [" ".join(sheet.split()) for sheet in sheets] if len(sheets) > 1 else []
        return {name: text for name, text in ((REMARKS, "; ".join(self.words)), (SHEETS, "\n".join(names))) if text}

    def note(self, batch: RawBatch) -> None:
        """Take in the remark of a batch."""
        if batch.remark and batch.remark not in self.words and len(self.words) < MOST_REMARKS:
            self.words += (batch.remark,)


def in_sheets(bad_rows: pl.DataFrame, sheets: Sequence[str], numbers_per_row: int = 1) -> pl.DataFrame:
    """Add the sheet, and the row as Excel shows it, to the details of bad rows of several sheets.

    Args:
        bad_rows: The bad rows, as `BAD_ROWS_SCHEMA`.
        sheets: The sheets by which their numbers count.
        numbers_per_row: How many numbers each row of the sheets has.
    """
    if len(sheets) < 2:
        return bad_rows
    names = {place: sheet_names([sheet]) for place, sheet in enumerate(sheets)}
    row = pl.col(ROW_NUMBER) // numbers_per_row
    sheet = (row // ROWS_OF_A_SHEET).replace_strict(names, default="?", return_dtype=pl.String)
    place = pl.format("sheet {} row {}: {}", sheet, row % ROWS_OF_A_SHEET, pl.col("detail"))
    return bad_rows.with_columns(detail=place)


def with_sheets(batch: RawBatch, sheets: Sequence[str], numbers_per_row: int) -> RawBatch:
    """Add the sheets to the faults of a batch; see `in_sheets`."""
    return replace(batch, faults=in_sheets(batch.faults, sheets, numbers_per_row))
