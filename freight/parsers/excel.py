"""Workbooks as people export them: with title rows, merged headers, dates as cells or as text, a totals line."""

import json
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from openpyxl.utils import get_column_letter

from freight.contracts.headers import listed, normalise, shown
from freight.errors import SourceError
from freight.parsers.output import Output, open_counted
from freight.parsers.workbooks import Row, Workbook, open_workbook
from freight.parsers.workbooks.cells import LAST_ROW, within

HEADER_SEARCH_ROWS = 30
LONGEST_HEADER_CHARS = 1_000  # no contract has a longer one


class SheetTable(NamedTuple):
    """The place of the rows: the sheet, the row of the header, and its cells by column; columns count from 1."""

    sheet: str
    header_row: int
    header: dict[int, str]


def parse(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the rows of the sheet with the best-matching header; row numbers are those that Excel shows.

    Args:
        path: The workbook, of any kind and name.
        wishes: The known `headers`, and the options `sheet` and `header_row` or None.
        output: The output for rows, and for faults: rows with an unusable cell or with cells beyond the header.

    Raises:
        SourceError: The file is not a workbook, is protected by a password, too large or empty, does not match the
            options, or has a column without a header. A damaged file can raise any other error.
    """
    with open_counted(path, output) as content:
        workbook = open_workbook(content)
        table = _find_table(workbook, wishes)
        output.begin([*table.header.values()])
        _send(workbook.rows(table.sheet), table, output)


def _find_table(workbook: Workbook, wishes: Mapping[str, Any]) -> SheetTable:
    """Return the table whose header has the most known cells; of equals the first; if none is known, the widest row."""
    known = set(wishes["headers"])
    found = [
        SheetTable(sheet, row.number, row.texts)
        for sheet in _sheets(workbook, wishes["sheet"])
        for row in _header_candidates(workbook.rows(sheet), wishes["header_row"])
    ]
    if not found:
        raise _nothing_there(wishes["header_row"])
    return max(found, key=lambda table: _fit(table, known))


def _fit(table: SheetTable, known: set[str]) -> tuple[int, int]:
    """Return the number of known cells in a header, and as a tie-breaker its width if none is known."""
    hits = sum(len(text) <= LONGEST_HEADER_CHARS and normalise(text) in known for text in table.header.values())
    return hits, 0 if hits else len(table.header)


def _sheets(workbook: Workbook, wanted: str | None) -> list[str]:
    if wanted is None or wanted in workbook.sheets:
        return [wanted] if wanted else workbook.sheets
    there_are = listed(workbook.sheets)
    raise SourceError(
        "missing_column", f"there is no sheet {wanted!r}", remedy=f"name one of these in the option sheet: {there_are}"
    )


def _header_candidates(rows: Iterator[Row], header_row: int | None) -> Iterator[Row]:
    """Yield the rows that may be the header: the named one, or the first ones with content."""
    last = header_row or HEADER_SEARCH_ROWS
    for row in takewhile(lambda row: row.number <= last, rows):
        if row.texts and header_row in (None, row.number):
            yield row


def _nothing_there(header_row: int | None) -> SourceError:
    if header_row is None:
        return SourceError(
            "empty",
            f"no sheet has any cell in its first {HEADER_SEARCH_ROWS} rows",
            remedy="deliver the rows; where they start further down, name their header in the option header_row",
        )
    return SourceError(
        "missing_column",
        "the row that the option header_row names is empty",
        row=header_row,
        remedy="correct header_row in the catalog: it is the row's number as Excel shows it",
    )


def _send(rows: Iterator[Row], table: SheetTable, output: Output) -> None:
    for row in rows:
        if row.number <= table.header_row:
            continue
        within(row.number, LAST_ROW)
        if row.errors or not row.texts.keys() <= table.header.keys():
            _send_fault(row, table.header, output)
        elif row.texts:
            output.row(row.number, [row.texts.get(column, "") for column in table.header])


def _send_fault(row: Row, header: dict[int, str], output: Output) -> None:
    """Return why a row does not fit the header's cells.

    Raises:
        SourceError: The row has a cell in a column within the table that has no header.
    """
    stray = sorted((row.texts.keys() | row.errors.keys()) - header.keys())
    if stray and stray[0] < max(header):
        raise _without_header(stray[0], row)
    named = {name: row.texts.get(column, "") for column, name in header.items()}
    unusable = next((column for column in row.errors if column in header), None)
    if unusable is not None:
        output.fault(row.number, header[unusable], "excel_error", row.errors[unusable], _raw(named))
        return
    beyond = {get_column_letter(column): row.texts.get(column, "") for column in stray}
    detail = "cells to the right of the header"
    output.fault(row.number, None, "ragged_row", detail, _raw([*named.values(), beyond]))


def _raw(cells: object) -> bytes:
    return json.dumps(cells, ensure_ascii=False).encode()


def _without_header(column: int, row: Row) -> SourceError:
    held = shown(row.texts.get(column, ""))
    return SourceError(
        "unknown_column",
        f"column {get_column_letter(column)} has no header but holds {held}",
        row=row.number,
        remedy="give the column a header, or empty it; if the header is another row, name it in the option header_row",
    )
