"""The quarantine workbooks that people return."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from freight.frames import NATIVE, ROW_NUMBER
from freight.readers.isolated import read_isolated
from freight.readers.locations import SourceFile
from freight.readers.raw import RawTable
from freight.types import Number


@dataclass(frozen=True)
class GivenBack:
    """A row of a returned workbook that still has its key.

    Attributes:
        sheet, row: The place of the row.
        author: The person who last saved the workbook; empty if unknown.
        key: The key of the row in quarantine.
        texts: The text by heading, empty cells included; a `Number` is a number in the workbook.
        errors: The reason, by heading, for each cell without a value.
    """

    sheet: str
    row: int
    author: str
    key: str
    texts: Mapping[str, str]
    errors: Mapping[str, str]

    @property
    def place(self) -> str:
        """The place of the row in words."""
        return f"{self.sheet} row {self.row}"


def read_given_back(file: SourceFile, key: str) -> Iterator[GivenBack]:
    """Yield the rows of a workbook.

    Args:
        file: The workbook.
        key: The heading of the column with the keys.

    Raises:
        SourceError: The workbook cannot be used, or has changed meanwhile.
    """
    table = read_isolated(file, "freight.parsers.corrections.parse", {"key": key})
    yield from _rows(_cells(table))
    file.refuse_if_changed()


def _cells(table: RawTable) -> Iterator[dict[str, str]]:
    """Yield the cells of all batches: a batch may end within a row. A number of the workbook is a `Number`."""
    sign_of_text = table.header.index("text")
    for batch in table.batches:
        named = batch.rows.rename({str(position): name for position, name in enumerate(table.header)})
        for cell in named.iter_rows(named=True):
            is_number = cell[NATIVE][sign_of_text] == "1"
            yield {**cell, "text": Number(cell["text"])} if is_number else cell


def _rows(cells: Iterator[dict[str, str]]) -> Iterator[GivenBack]:
    of_a_row = ("sheet", ROW_NUMBER, "author", "key")
    for (sheet, number, author, key), row in groupby(cells, key=lambda cell: tuple(cell[name] for name in of_a_row)):
        found = list(row)
        texts = {cell["heading"]: cell["text"] for cell in found}
        errors = {cell["heading"]: cell["error"] for cell in found if cell["error"]}
        yield GivenBack(sheet, int(number), author, key, texts, errors)
