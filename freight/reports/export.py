"""Exports a table or view to a CSV file or a workbook; text stays text, whatever its first character."""

import csv
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from freight.errors import ConfigurationError
from freight.reports.cells import CELL_LIMIT, SHEET_ROWS, fits, is_exact, set_cell
from freight.reports.formulas import GUARD, guarded
from freight.reports.workbook import DAY, INSTANT, NARROWEST, SHARE, TONNES
from freight.warehouse.connect import Engine
from freight.warehouse.dictionary import SHARE as SHARE_UNIT
from freight.warehouse.dictionary import described
from freight.warehouse.extracts import Extract, extract
from freight.whole_files import new_file
from freight.words import counted

log = logging.getLogger(__name__)

FORMATS = {SHARE_UNIT: SHARE, "tonnes": TONNES, "hours": TONNES}  # by the unit of a column
ROOM_FOR_A_BUTTON = 4  # characters
SHEET_NAME_CHARS, NUMBERED_NAME_CHARS = 31, 25  # Excel's limits


@dataclass(frozen=True)
class TableExport:
    """The result of an export.

    Attributes:
        name: The table or view.
        path: The file.
        rows: The number of its rows.
        guarded: The number of texts that got an apostrophe, so that no spreadsheet calculates them.
    """

    name: str
    path: Path
    rows: int
    guarded: int

    def __str__(self) -> str:
        summary = f"{counted(self.rows, 'row')} of {self.name} written to {self.path}"
        if not self.guarded:
            return summary
        guarded = f"{counted(self.guarded, 'text')} got a {GUARD}"
        return f"{summary}; {guarded} so that no spreadsheet calculates a text (--raw: none does)"


def export(engine: Engine, name: str, path: Path, *, replace: bool = False, raw: bool = False) -> TableExport:
    """Write a table or view.

    In a CSV file (UTF-8) all text is quoted, and null is an empty field without quotes. In a workbook the rows continue
    on the next sheet where one is full.

    Args:
        engine: The engine of the warehouse.
        name: The table or view.
        path: The file; its extension selects the format.
        replace: True if an existing file may be replaced.
        raw: True if text in a CSV file stays unchanged, for programs, even if a spreadsheet would calculate it.

    Raises:
        ConfigurationError: The table or view does not exist, the file cannot be written, or a text exceeds a cell.
        TransientError: The warehouse is not ready.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigurationError(f"{path.name}: name a file that ends with {' or '.join(WRITERS)}")
    texts = _Texts(raw)
    with extract(engine, name) as found, new_file(path, replace=replace) as unfinished:
        write(found, name, unfinished, texts)
    exported = TableExport(name, path, found.taken, texts.guarded)
    log.info("%s", exported)
    return exported


@dataclass
class _Texts:
    """Makes the texts of a CSV file safe to open, unless they stay raw, and counts the changed ones."""

    raw: bool
    guarded: int = 0

    def safe(self, text: str) -> str:
        """Return text that no spreadsheet calculates."""
        if self.raw or (safe := guarded(text)) == text:
            return text
        self.guarded += 1
        return safe


def _write_csv(found: Extract, _: str, path: Path, texts: _Texts) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # Excel recognises UTF-8 by the byte order mark
        writer = csv.writer(file, quoting=csv.QUOTE_STRINGS)
        writer.writerow([texts.safe(column) for column in found.columns])
        writer.writerows(_csv_rows(found, texts))


def _csv_rows(found: Extract, texts: _Texts) -> Iterator[list[str | int | float | Decimal | None]]:
    for row in found:
        plain = map(_plain, row)
        yield [texts.safe(value) if isinstance(value, str) else value for value in plain]


def _plain(value: Any) -> str | int | float | Decimal | None:
    """Return a value in SQLite's notation, so that both engines give the same file."""
    match value:
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        case date():
            return value.isoformat()
        case bytes() | memoryview():
            return bytes(value).decode("utf-8", "backslashreplace")
        case bool():
            return int(value)
    return value  # type: ignore[no-any-return]


def _write_workbook(found: Extract, name: str, path: Path, _: _Texts) -> None:
    workbook = Workbook(write_only=True)
    try:
        _fill(workbook, found, name)
    except BaseException:
        for sheet in workbook.worksheets:
            sheet.close()
        raise
    workbook.save(path)


def _fill(workbook: Workbook, found: Extract, name: str) -> None:
    sheet, formats = _new_sheet(workbook, name, found.columns), _formats(name)
    for row in found:
        if found.taken > 1 and found.taken % (SHEET_ROWS - 1) == 1:
            sheet = _new_sheet(workbook, name, found.columns)
        place = f"row {found.taken}, "
        cells = zip(found.columns, formats, row, strict=True)
        sheet.append([_held(sheet, value, place + column, shown_as) for column, shown_as, value in cells])
    _let_filter(workbook, len(found.columns), found.taken)


def _formats(name: str) -> list[str]:
    """Return how each column shows fractions: as in the report. The cells keep all digits."""
    return [FORMATS.get(column.unit, "") for column in described(name).values()]


def _let_filter(workbook: Workbook, columns: int, rows: int) -> None:
    for number, sheet in enumerate(workbook.worksheets):
        below = min(rows - number * (SHEET_ROWS - 1), SHEET_ROWS - 1)
        sheet.auto_filter.ref = f"A1:{get_column_letter(columns)}{below + 1}"


def _new_sheet(workbook: Workbook, name: str, columns: Sequence[str]) -> WriteOnlyWorksheet:
    number = len(workbook.worksheets) + 1
    sheet = workbook.create_sheet(
        name[:SHEET_NAME_CHARS] if number == 1 else f"{name[:NUMBERED_NAME_CHARS]} ({number})"
    )
    sheet.freeze_panes = "A2"
    for position, column in enumerate(columns, start=1):
        sheet.column_dimensions[get_column_letter(position)].width = max(NARROWEST, len(column) + ROOM_FOR_A_BUTTON)
    sheet.append([_heading(sheet, column) for column in columns])
    return sheet


def _heading(sheet: WriteOnlyWorksheet, column: str) -> Cell:
    cell = WriteOnlyCell(sheet)
    set_cell(cell, column)
    cell.font = Font(name="Calibri", bold=True)
    return cell


def _held(sheet: WriteOnlyWorksheet, value: Any, place: str, shown_as: str) -> Cell | int | float | None:
    """Return the content of a cell.

    Raises:
        ConfigurationError: No cell can hold the value.
    """
    if type(value) is float and shown_as and isfinite(value):
        return _cell(sheet, value, shown_as)
    if value is None or (type(value) is float and isfinite(value)) or is_exact(value):
        return value  # nearly all values: an explicit cell takes five times as long
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if isinstance(text, str) and not fits(text):
        raise ConfigurationError(
            f"{place}: {len(text):,} characters, but a cell of a workbook holds {CELL_LIMIT:,}: export it as .csv"
        )
    return _cell(sheet, text, INSTANT if isinstance(text, datetime) else DAY if isinstance(text, date) else "")


def _cell(sheet: WriteOnlyWorksheet, value: Any, number_format: str) -> Cell:
    cell = WriteOnlyCell(sheet)
    set_cell(cell, value, number_format)
    return cell


WRITERS: dict[str, Callable[[Extract, str, Path, _Texts], None]] = {".csv": _write_csv, ".xlsx": _write_workbook}
