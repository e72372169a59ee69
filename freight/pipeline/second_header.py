"""A second header within a table: the rows below it may have other columns, or those of the first in another order."""

import re
from collections.abc import Callable, Mapping

import polars as pl

from freight.contracts import Contract
from freight.contracts.headers import known_headers, listed, normalise
from freight.errors import SourceError
from freight.frames import NATIVE, ROW_NUMBER


class SecondHeader:
    """Looks for a row that is a header, but not that of its table.

    Args:
        header: The headers of the table by the columns of the contract.
        contract: The contract of the table.
    """

    def __init__(self, header: Mapping[str, str], contract: Contract) -> None:
        self._known = known_headers(contract)
        self._header = {column: normalise(cell) for column, cell in header.items()}
        self._column = next((column for column in contract.column_names if column in header), "")
        names = "|".join(re.escape(name).replace("_", "[_ ]") for name in {*self._known, *self._header.values()})
        self._pattern = rf"(?i)^\s*(?:{names})\s*$"

    def look_for(self, rows: pl.DataFrame, place: Callable[[int], int | str]) -> None:
        """Look at some rows.

        Args:
            rows: `row_number`, and columns of the contract as text.
            place: The way in which people are told the number of a row.

        Raises:
            SourceError: Most cells of a row are headers, but not those of their columns.
        """
        if self._column not in rows.columns:
            return
        is_like_one = rows[self._column].str.contains(self._pattern)
        for row in rows.filter(is_like_one.fill_null(value=False)).drop(NATIVE, strict=False).iter_rows(named=True):
            number = row.pop(ROW_NUMBER)
            cells = {column: cell for column, cell in row.items() if cell}
            if self._is_another({column: normalise(cell) for column, cell in cells.items()}):
                raise SourceError(
                    "second_header",
                    f"the row is another header: {listed([*cells.values()])}; so the rows below it have other columns",
                    row=place(number),
                    remedy="deliver each table in a file or sheet of its own, or all rows below one header",
                )

    def _is_another(self, cells: Mapping[str, str]) -> bool:
        headers = sum(cell in self._known for cell in cells.values())
        return 2 * headers > len(cells) and any(cell != self._header.get(column) for column, cell in cells.items())
