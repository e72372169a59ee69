"""Cells that prove something about a file: their count, and the first of them for people."""

from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from freight.frames import ROW_NUMBER


class Place(NamedTuple):
    """A cell of a file."""

    text: str
    row: int
    column: str

    def __str__(self) -> str:
        return f"{self.text!r} in row {self.row}, column {self.column!r}"


@dataclass
class Cells:
    """Cells of one kind: their count, and the first of them."""

    count: int = 0
    first: Place | None = None

    def note(self, cells: pl.DataFrame, column: str) -> None:
        """Count some of them.

        Args:
            cells: `row_number` and `text`, and `times` if they stand for several.
            column: The name of the column that people know.
        """
        if cells.height and not self.first:
            self.first = Place(cells["text"][0], int(cells[ROW_NUMBER][0]), column)
        self.count += int(cells["times"].sum()) if "times" in cells.columns else cells.height
