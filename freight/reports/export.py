"""A table or view as a CSV file or a workbook, in which text is text, whatever it begins with."""

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
from openpyxl.worksheet._write_only import WriteOnlyWorksheet

from freight.errors import ConfigurationError
from freight.reports.cells import CELL_LIMIT, SHEET_ROWS, fits, set_cell
from freight.reports.formulas import GUARD, guarded
from freight.reports.workbook import INSTANT
from freight.warehouse.connect import Engine
from freight.warehouse.extracts import Extract, extract
from freight.whole_files import new_file

log = logging.getLogger(__name__)

SHEET_NAME_CHARS, NUMBERED_NAME_CHARS = 31, 25  # as Excel has it


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        name: of the table or view.
        path: of the file.
        rows: how many it has.
        guarded: texts of it before which an apostrophe stands, so that no spreadsheet calculates them.
    """

    name: str
    path: Path
    rows: int
    guarded: int

    def __str__(self) -> str:
        told = f"{self.rows:,} rows of {self.name} are in {self.path}"
        if not self.guarded:
            return told
        return f"{told}; {self.guarded:,} texts got a {GUARD} so that no spreadsheet calculates them (--raw: none do)"


def export(engine: Engine, name: str, path: Path, *, replace: bool = False, raw: bool = False) -> Exported:
    """Write a table or view.

    In a CSV file (UTF-8) all text is in quotes, and no value is nothing, not even quotes. In a workbook rows that are
    more than a sheet takes go on in the next one.

    Args:
        engine: of the warehouse.
        name: of the table or view.
        path: of the file; its ending says which kind it is.
        replace: whether one that is there may be replaced.
        raw: whether the text of a CSV file stays as it is, for programs, also if a spreadsheet would calculate it.

    Raises:
        ConfigurationError: there is no such table or view, the file cannot be written, or a text fits into no cell.
        TransientError: the warehouse is not ready.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigurationError(f"{path.name}: name a file that ends in {' or '.join(WRITERS)}")
    texts = _Texts(raw)
    with extract(engine, name) as found, new_file(path, replace=replace) as unfinished:
        write(found, name, unfinished, texts)
    exported = Exported(name, path, found.taken, texts.guarded)
    log.info("%s", exported)
    return exported


@dataclass
class _Texts:
    """Makes texts of a CSV file safe to open, unless they stay raw, and counts those that it changes."""

    raw: bool
    guarded: int = 0

    def safe(self, text: str) -> str:
        """Return text that no spreadsheet calculates."""
        if self.raw or (safe := guarded(text)) == text:
            return text
        self.guarded += 1
        return safe


def _write_csv(found: Extract, _: str, path: Path, texts: _Texts) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # Excel knows UTF-8 by the mark at its beginning
        writer = csv.writer(file, quoting=csv.QUOTE_STRINGS)
        writer.writerow([texts.safe(column) for column in found.columns])
        writer.writerows(_csv_rows(found, texts))


def _csv_rows(found: Extract, texts: _Texts) -> Iterator[list[str | int | float | Decimal | None]]:
    for row in found:
        plain = map(_plain, row)
        yield [texts.safe(value) if isinstance(value, str) else value for value in plain]


def _plain(value: Any) -> str | int | float | Decimal | None:
    """Return a value as SQLite writes it, so that both engines give the same file."""
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
    sheet = _new_sheet(workbook, name, found.columns)
    for row in found:
        if found.taken > 1 and found.taken % (SHEET_ROWS - 1) == 1:
            sheet = _new_sheet(workbook, name, found.columns)
        place = f"row {found.taken}, "
        sheet.append([_held(sheet, value, place + c) for c, value in zip(found.columns, row, strict=True)])


def _new_sheet(workbook: Workbook, name: str, columns: Sequence[str]) -> WriteOnlyWorksheet:
    number = len(workbook.worksheets) + 1
    sheet = workbook.create_sheet(
        name[:SHEET_NAME_CHARS] if number == 1 else f"{name[:NUMBERED_NAME_CHARS]} ({number})"
    )
    sheet.append([_held(sheet, column, column) for column in columns])
    return sheet


def _held(sheet: WriteOnlyWorksheet, value: Any, place: str) -> Cell | int | float | None:
    """Return what a cell holds.

    Raises:
        ConfigurationError: no cell can hold it.
    """
    if value is None or (type(value) in (int, float) and isfinite(value)):
        return value  # as nearly all are: a cell of its own takes five times as long
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
    if isinstance(text, str) and not fits(text):
        raise ConfigurationError(
            f"{place}: {len(text):,} characters, and a cell of a workbook takes {CELL_LIMIT:,}: export it as .csv"
        )
    cell = WriteOnlyCell(sheet)
    set_cell(cell, text, INSTANT if isinstance(text, datetime) else "")
    return cell


WRITERS: dict[str, Callable[[Extract, str, Path, _Texts], None]] = {".csv": _write_csv, ".xlsx": _write_workbook}
