"""Workbooks of the quarantine that people give back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from freight.frames import ROW_NUMBER
from freight.readers.isolated import read_isolated
from freight.readers.locations import SourceFile
from freight.readers.raw import RawTable


@dataclass(frozen=True)
class GivenBack:
    """A row of the workbook that has its key.

    Attributes:
        sheet, row: where it is.
        author: who has saved the workbook, as far as it says.
        key: tells which row of the quarantine it is.
        texts: by heading, empty cells included.
        errors: why a cell holds no value, by heading.
    """

    sheet: str
    row: int
    author: str
    key: str
    texts: Mapping[str, str]
    errors: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return f"{self.sheet} row {self.row}"


def read_given_back(file: SourceFile, key: str) -> Iterator[GivenBack]:
    """Give the rows of a workbook.

    Args:
        file: the workbook.
        key: heading of the column with the keys.

    Raises:
        SourceError: it cannot be used, or was written to meanwhile.
    """
    table = read_isolated(file, "freight.parsers.corrections.parse", {"key": key})
    yield from _rows(_cells(table))
    file.refuse_if_changed()


def _cells(table: RawTable) -> Iterator[dict[str, str]]:
    """Give the cells of all batches: a batch may end within a row."""
    for batch in table.batches:
        named = batch.rows.rename({str(position): name for position, name in enumerate(table.header)})
        yield from named.iter_rows(named=True)


def _rows(cells: Iterator[dict[str, str]]) -> Iterator[GivenBack]:
    of_a_row = ("sheet", ROW_NUMBER, "author", "key")
    for (sheet, number, author, key), row in groupby(cells, key=lambda cell: tuple(cell[name] for name in of_a_row)):
        found = list(row)
        texts = {cell["heading"]: cell["text"] for cell in found}
        errors = {cell["heading"]: cell["error"] for cell in found if cell["error"]}
        yield GivenBack(sheet, int(number), author, key, texts, errors)
