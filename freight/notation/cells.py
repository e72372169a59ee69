"""Cells: what they say, and those that prove something about a file or leave it open, for people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from freight.errors import SourceError, SourceFault
from freight.frames import ROW_NUMBER


class Read(NamedTuple):
    """What cells say.

    Attributes:
        values: The values; null where a cell is empty, has none, or is disputed.
        disputed: Which cells have two readings that are both proved or stated; None if there are none.
        clock_changes: Of local times that the clocks of their zone skip or repeat, the fault; None if there are none.
    """

    values: pl.Series
    disputed: pl.Series | None = None
    clock_changes: pl.Series | None = None


class Place(NamedTuple):
    """A cell of a file."""

    text: str
    row: int
    column: str

    def at(self, place: Callable[[int], int | str]) -> str:
        """Return the cell for people, who are told the number of its row by `place`."""
        return f"{self.text!r} in row {place(self.row)}, column {self.column!r}"


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


def undecided(fault: SourceFault, cell: Place, readings: str, why: str, options: tuple[str, str]) -> SourceError:
    """Return the refusal of a file that does not prove how a cell is to be read.

    Args:
        fault: The code of the refusal.
        cell: The cell.
        readings: Its two readings, as the end of a sentence that begins with its text.
        why: The reason for which neither is proved.
        options: The two options of the catalog between which somebody has to choose.
    """
    lines = " or ".join(f"`options: {{{option}}}`" for option in options)
    return SourceError(
        fault,
        f"{cell.text!r} {readings}, and {why}",
        row=cell.row,
        column=cell.column,
        remedy=f"say it in the catalog: {lines}, then `dpa retry`",
    )


def contradicted(fault: SourceFault, cell: Place, stated: str, found: str, option: str) -> SourceError:
    """Return the refusal of a file that proves the opposite of what the catalog says.

    Args:
        fault: The code of the refusal.
        cell: The cell that proves it.
        stated: What the catalog says, as a clause.
        found: What the cell has instead.
        option: The option of the catalog that would fit the cell.
    """
    return SourceError(
        fault,
        f"the catalog says that {stated}, but {cell.text!r} has {found}",
        row=cell.row,
        column=cell.column,
        remedy=f"if the source has changed, say `options: {{{option}}}` in the catalog, then `dpa retry`; else have "
        "the file corrected",
    )
