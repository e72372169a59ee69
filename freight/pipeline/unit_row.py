"""A row of units below a header: it says in which unit the numbers below it are."""

from collections.abc import Callable, Mapping

import polars as pl

from freight.contracts import Contract
from freight.contracts.measures import other_units
from freight.errors import SourceError
from freight.frames import ROW_NUMBER

FIRST_ROWS = 5


def refuse_other_units(
    rows: pl.DataFrame, header: Mapping[str, str], contract: Contract, place: Callable[[int], int | str]
) -> None:
    """Refuse a table of which one of the first rows names another unit than the contract.

    Args:
        rows: `row_number`, and columns of the contract as text.
        header: The headers of the table by the columns of the contract.
        contract: The contract of the table.
        place: The way in which people are told the number of a row.

    Raises:
        SourceError: A cell names another unit of the same kind, such as kg for tonnes.
    """
    for column in contract.columns:
        if column.unit and column.name in rows.columns:
            written = pl.col(column.name).str.strip_chars(" ()[]").str.to_lowercase()
            found = rows.head(FIRST_ROWS).filter(written.is_in(other_units(column.unit)))
            for number, text in found.select(ROW_NUMBER, column.name).iter_rows():
                raise SourceError(
                    "other_unit",
                    f"the row names the unit {text!r} for the numbers below it, and the contract has {column.unit}",
                    row=place(number),
                    column=header[column.name],
                    remedy=f"deliver the column in {column.unit}; or convert it by a function of the source, "
                    "`transform` in the catalog",
                )
