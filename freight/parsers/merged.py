"""Merged cells among the rows of a table: a value over several rows belongs to each of them."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from openpyxl.utils import get_column_letter

from freight.parsers.sheets import SheetTable
from freight.parsers.workbooks import Block, Row


class _Open(NamedTuple):
    """Merged cells that the current row may be part of: their columns in the table, and the row with their value."""

    block: Block
    columns: tuple[int, ...]
    first: Row


class Merged:
    """Fills the merged cells of a table down, row by row.

    Attributes:
        filled: The number of cells that were filled.
    """

    def __init__(self, blocks: Iterable[Block], table: SheetTable) -> None:
        self.filled = 0
        self._starting = defaultdict[int, list[tuple[Block, tuple[int, ...]]]](list)
        self._open: list[_Open] = []
        for block in blocks:
            columns = tuple(c for c in table.header if block.first_column <= c <= block.last_column)
            if block.first_row > table.header_row and columns:
                self._starting[block.first_row].append((block, columns))

    @property
    def is_needed(self) -> bool:
        """Whether there are merged cells at all."""
        return bool(self._starting)

    def fill(self, row: Row) -> tuple[Row, str]:
        """Return a row with the values of merged cells that began above it.

        Args:
            row: The next row.

        Returns:
            The row, and why the value of one of its cells may belong to several columns; empty if it does not.
        """
        self._open = [merged for merged in self._open if merged.block.last_row >= row.number]
        begun = self._starting.get(row.number, ())
        self._open += [_Open(block, columns, row) for block, columns in begun]
        if not row.texts and not row.errors:
            return row, ""
        unclear = next(filter(None, (_unclear(merged, row) for merged in self._open)), "")
        return self._filled(row), unclear

    def _filled(self, row: Row) -> Row:
        texts, errors = dict(row.texts), dict(row.errors)
        for block, columns, first in self._open:
            column = block.first_column
            if first.number == row.number or columns != (column,) or column in texts:
                continue
            texts |= {column: first.texts[column]} if column in first.texts else {}
            errors |= {column: first.errors[column]} if column in first.errors else {}
            self.filled += column in texts
        return row._replace(texts=texts, errors=errors)


def _unclear(merged: _Open, row: Row) -> str:
    """Return why the value of merged cells may belong to several cells, or another one lies hidden below it."""
    block, columns, first = merged
    held = first.texts.get(block.first_column)
    if held is None:
        return ""
    where = f"{get_column_letter(block.first_column)}{block.first_row}"
    where += f":{get_column_letter(block.last_column)}{block.last_row}"
    if len(columns) > 1:
        return f"the cells {where} are merged: their value may belong to any of their columns"
    is_shown = row.texts.get(block.first_column, held) == held
    return "" if is_shown else f"the cells {where} are merged, but one of them holds a value that they do not show"
