"""Workbooks as people export them: with title rows, merged cells, several sheets, dates as cells or as text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from openpyxl.utils import get_column_letter

from freight.contracts.headers import normalise, place_of, sheet_names, without_header
from freight.contracts.measures import unit_of
from freight.contracts.rows_above import refuse_rows_above
from freight.errors import SourceError
from freight.parsers.merged import Merged
from freight.parsers.output import Output, open_counted
from freight.parsers.sheets import SheetTable, Tables, find_tables
from freight.parsers.workbooks import Row, Workbook, open_workbook
from freight.parsers.workbooks.cells import LAST_ROW, Day, Shown, day_in_a_text, within
from freight.parsers.workbooks.formats import SCALED
from freight.types import ROWS_OF_A_SHEET, FaultCode, row_as_json
from freight.words import counted

OTHER_ROW = (
    "if it is another row, name that in the option header_row; if it has two rows, say `options: {header_rows: 2}`; "
)
NO_COLUMN = 0  # columns count from 1
NO_UNITS = ("%", "‰", SCALED)  # these show another number
ENDS_EARLY = "the workbook is damaged: its parts do not fit together, or it ends too early"


def parse(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the rows of all sheets with the best-matching header.

    Row numbers are those that Excel shows; from the second sheet on, they count from a multiple of `ROWS_OF_A_SHEET`.

    Args:
        path: The workbook, of any kind and name.
        wishes: The known `columns` by header, the `needed` ones, and the options of the reader.
        output: The output for rows, and for faults: rows with an unusable cell, with merged cells that may belong to
            several columns, or with cells beyond the header.

    Raises:
        SourceError: The file is not a workbook, is protected by a password, damaged, too large or empty, does not match
            the options, has a column without a header, or it is unclear which of its sheets are the table.
    """
    with open_counted(path, output) as content:
        try:
            _parse(open_workbook(content, wishes["encoding"]), wishes, output)
        except (SourceError, MemoryError, OSError):
            raise
        except Exception:  # a library over a damaged file may raise anything
            raise SourceError("corrupt", ENDS_EARLY, remedy="deliver the whole file again") from None


def _parse(workbook: Workbook, wishes: Mapping[str, Any], output: Output) -> None:
    tables = find_tables(workbook, wishes)
    known = wishes["columns"], wishes["needed"]
    output.begin([*tables.header.values()], [table.sheet for table in tables.sheets])
    remarks = [workbook.remark, *tables.remarks]
    for place, table in enumerate(tables.sheets):
        try:
            refuse_rows_above(_above(workbook, table, wishes), [*table.header.values()], *known)
            remarks += _Sheet(workbook, table, tables, wishes).send(output, place * ROWS_OF_A_SHEET)
        except SourceError as error:
            raise _in_sheet(error, table, tables) from None
    for remark in filter(None, remarks):
        output.remark(remark)


def _above(workbook: Workbook, table: SheetTable, wishes: Mapping[str, Any]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows above the header of a sheet, as far as the catalog does not say where it is."""
    first = 0 if wishes["header_row"] is not None else table.header_row - wishes["header_rows"] + 1
    for row in takewhile(lambda row: row.number < first, workbook.rows(table.sheet) if first > 1 else ()):
        yield row.number, [row.texts.get(column, "") for column in table.header]


def _in_sheet(error: SourceError, table: SheetTable, tables: Tables) -> SourceError:
    """Return an error that names its sheet, if there are several."""
    told = f"in the sheet {sheet_names([table.sheet])}, {error.message}" if len(tables.sheets) > 1 else error.message
    return SourceError(error.fault, told, remedy=error.remedy, row=error.row, column=error.column)


class _Sheet:
    """Sends the rows of one sheet."""

    def __init__(self, workbook: Workbook, table: SheetTable, tables: Tables, wishes: Mapping[str, Any]) -> None:
        self._rows = workbook.rows(table.sheet)
        self._hidden_columns = workbook.hidden_columns(table.sheet)
        self._merged = Merged(workbook.blocks(table.sheet), table)
        self._table, self._header = table, tables.header
        self._places = [table.keys.get(key, NO_COLUMN) for key in tables.header]
        ignored = {normalise(name) for name in wishes["ignore"]}
        self._ignored = {column for column, text in table.header.items() if normalise(text) in ignored}
        self._unnamed: set[int] | None = set() if "" in ignored else None  # the columns left out, if they are
        names = {column: wishes["columns"].get(normalise(text), "") for column, text in table.header.items()}
        self._texts = [column for column, name in names.items() if name in wishes["texts"]]
        self._units = {column: wishes["units"].get(name, "") for column, name in names.items()}
        self._shown_units = {unit.strip().lower() for unit in wishes["shown_units"]}
        self._is_one_of_several = len(tables.sheets) > 1

    def send(self, output: Output, before: int) -> list[str]:
        """Send the rows below the header, and return remarks on them; `before` is added to their numbers."""
        hidden: list[int] = []
        for row in self._rows:
            if row.number > self._table.header_row:
                within(row.number, LAST_ROW)
                if row.hidden and row.texts:
                    hidden.append(row.number)
                self._send_row(row, output, before)
        return [*self._remarks(hidden)]

    def _send_row(self, row: Row, output: Output, before: int) -> None:
        unclear = ""
        if self._merged.is_needed:
            row, unclear = self._merged.fill(row)
        if self._unnamed is not None:
            row = self._without_unnamed(row, self._unnamed)
        for column in self._texts:
            if type(row.texts.get(column)) is Day:
                row.errors.setdefault(column, day_in_a_text(row.texts[column]))
        if row.errors:
            row = row._replace(errors={c: told for c, told in row.errors.items() if not self._is_fine(c, told)})
        if unclear or row.errors or not row.texts.keys() <= self._table.header.keys():
            self._send_fault(row, unclear, output, before)
        elif row.texts:
            output.row(before + row.number, self._cells(row))

    def _without_unnamed(self, row: Row, left_out: set[int]) -> Row:
        header = self._table.header
        left_out |= row.texts.keys() - header.keys()
        texts, errors = ({c: text for c, text in cells.items() if c in header} for cells in (row.texts, row.errors))
        return row._replace(texts=texts, errors=errors)

    def _is_fine(self, column: int, told: str) -> bool:
        """Whether a cell is left out, or shows only a unit that the contract or the catalog states."""
        if column in self._ignored:
            return True
        unit = told.unit if isinstance(told, Shown) else ""
        return bool(unit) and (unit.lower() in self._shown_units or self._is_of_contract(column, unit))

    def _is_of_contract(self, column: int, unit: str) -> bool:
        return unit not in NO_UNITS and unit_of(unit) == self._units.get(column)

    def _cells(self, row: Row) -> list[str]:
        return [row.texts.get(column, "") for column in self._places]

    def _send_fault(self, row: Row, unclear: str, output: Output, before: int) -> None:
        """Send a row that does not fit the header's cells, with the reason.

        Raises:
            SourceError: The row has a cell in a column within the table that has no header.
        """
        header = self._table.header
        stray = sorted((row.texts.keys() | row.errors.keys()) - header.keys())
        if stray and stray[0] < max(header):
            raise without_header(place_of(stray[0] - 1), row.texts.get(stray[0], ""), row.number, OTHER_ROW)
        named = dict(zip(self._header.values(), self._cells(row), strict=True))
        number, unusable = before + row.number, next((column for column in row.errors if column in header), None)
        if unclear:
            output.fault(number, None, "merged_cells", unclear, row_as_json(named))
        elif unusable is not None:
            told = row.errors[unusable]
            reason: FaultCode = "shown_otherwise" if isinstance(told, Shown) else "excel_error"
            output.fault(number, header[unusable], reason, told, row_as_json(named))
        else:
            beyond = {get_column_letter(column): row.texts.get(column, "") for column in stray}
            detail = "cells to the right of the header"
            output.fault(number, None, "ragged_row", detail, row_as_json([*named.values(), beyond]))

    def _remarks(self, hidden: Sequence[int]) -> Iterator[str]:
        of_sheet = f" of the sheet {sheet_names([self._table.sheet])}" if self._is_one_of_several else ""
        if hidden:
            yield f"read like the others: {counted(len(hidden), 'hidden or filtered row')}{of_sheet}: {_spans(hidden)}"
        columns = [c for c in self._table.header if any(c in found for found in self._hidden_columns)]
        if columns:
            yield f"read like the others: hidden columns{of_sheet}: {', '.join(map(get_column_letter, columns))}"
        if self._unnamed:
            letters = ", ".join(map(get_column_letter, sorted(self._unnamed)))
            yield f"left out, as the catalog says: columns without a name{of_sheet}, {letters}"
        if self._merged.filled:
            yield f"filled down in merged cells{of_sheet}: {counted(self._merged.filled, 'cell')}"


def _spans(numbers: Sequence[int], most: int = 5) -> str:
    """Return sorted numbers for a message, such as 2-4, 7."""
    runs = [[*run] for _, run in groupby(enumerate(numbers), key=lambda numbered: numbered[1] - numbered[0])]
    told = [f"{run[0][1]}-{run[-1][1]}" if len(run) > 1 else str(run[0][1]) for run in runs[:most]]
    return ", ".join(told) + (" and others" if len(runs) > most else "")
