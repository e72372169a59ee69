"""Rows of a table that stand above its header, since somebody has sorted it together with its rows."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from freight.contracts.headers import listed, normalise
from freight.errors import SourceError


def refuse_rows_above(
    above: Iterable[tuple[int, Sequence[str]]], header: Sequence[str], known: Mapping[str, str], needed: Collection[str]
) -> None:
    """Refuse a table of which some rows may stand above the header, since somebody has sorted it.

    Args:
        above: The rows above the header, each with its number and its cells by the position of the header's.
        header: The cells of the header.
        known: The columns of the contract by their known headers.
        needed: The columns that the contract needs.

    Raises:
        SourceError: A row has a value in most columns that the contract needs.
    """
    places = [position for position, cell in enumerate(header) if known.get(normalise(cell)) in needed]
    for number, cells in above:
        filled = [position for position in places if position < len(cells) and cells[position].strip()]
        if len(places) > 1 and 2 * len(filled) > len(places):  # a title or a note has fewer cells
            raise SourceError(
                "rows_above_header",
                f"the row has values for most columns of the header {listed(header)}, which stands below it",
                row=number,
                remedy="move the header to the top, since the rows above it are no part of the table; or say in the "
                "options of the source that they are no rows: `header_row` of a workbook, `columns` and `skip_lines` "
                "of a text file",
            )
