"""The quarantine as a workbook for people to correct: bad cells are coloured, faults are explained in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import orjson
from openpyxl import Workbook
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet._write_only import WriteOnlyWorksheet
from openpyxl.worksheet.datavalidation import DataValidation

from freight.contracts import Column, Contract, contract_for
from freight.contracts.headers import known_headers, normalise
from freight.errors import ConfigurationError
from freight.notation.evidence import READ_AS_USUAL, ReadAs
from freight.reports.cells import set_cell, set_text
from freight.reports.faults import broken_rules_of, faults_of
from freight.reports.workbook import set_up_page
from freight.types import BatchId
from freight.warehouse.connect import Engine, reading
from freight.warehouse.quarantine import QuarantinedRow, newest_waiting_rows, read_as_of
from freight.whole_files import in_place_of
from freight.words import counted

KEY = "Key"
# The headings around the columns of the contract, and their widths in characters.
BEFORE, AFTER = {KEY: 8, "What is wrong": 64, "Source": 14, "Row": 22, "Decimals": 14}, {"As delivered": 60, "File": 60}
CELL_WIDTH = 24
HEADING_ROW = 2
LONGEST_LIST = 200  # characters that Excel takes as the values or the message of a drop-down list
AUTHOR = "DPA"  # until a person saves the workbook
AS_TEXT = "@"  # keeps Excel from converting typed text

NOTE = (
    "Correct the coloured cells, save, and return the workbook: `dpa quarantine import FILE`. Unchanged rows stay in "
    "quarantine. Write decimals as the column Decimals says. Rows may be sorted, filtered and deleted; the column Key "
    "must stay unchanged."
)
HEADING_FONT, QUIET_FONT = Font(name="Calibri", bold=True, color="FFFFFF"), Font(name="Calibri", color="888888")
HEADING_FILL, BAD_FILL = PatternFill("solid", start_color="1F3A5F"), PatternFill("solid", start_color="FFC7CE")


@dataclass(frozen=True)
class QuarantineExport:
    """The result of an export: the number of written rows, and that of all waiting rows."""

    rows: int
    waiting: int

    def summary(self, place: object) -> str:
        """Return the result in words.

        Args:
            place: The location of the workbook.
        """
        return (
            f"{self.rows:,} of {counted(self.waiting, 'waiting row')} written to {place}"
            if self.rows
            else "no row waits"
        )


def book_name(now: datetime) -> str:
    """Return the name for a workbook written now."""
    return f"quarantine_{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.xlsx"


def write_quarantine_book(engine: Engine, path: Path, source: str | None, most_rows: int) -> QuarantineExport:
    """Write the newest rows that wait in quarantine; without any, write nothing.

    Args:
        engine: The engine of the warehouse.
        path: The path of the workbook, which must not exist: it could hold corrections.
        source: The source or topic whose rows are written; None for all.
        most_rows: The largest number of rows to write.

    Raises:
        ConfigurationError: The file exists already, or cannot be written.
        TransientError: The warehouse is not ready.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists already, perhaps with corrections: name another file")
    with reading(engine) as connection:
        rows, waiting = newest_waiting_rows(connection, source, most_rows)
        read_as = read_as_of(connection, {row.batch_id for row in rows})
    if rows:
        _save(_workbook(rows, read_as), path)
    return QuarantineExport(len(rows), waiting)


def _save(workbook: Workbook, path: Path) -> None:
    try:
        with in_place_of(path) as unfinished:
            workbook.save(unfinished)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None


def key_of(row: QuarantinedRow) -> str:
    """Return a key that is unique to a row, even among the quarantines of several warehouses."""
    place = orjson.dumps([row.source, row.location, row.row_number])
    return f"{row.quarantine_id}-{sha256(place + row.raw).hexdigest()[:12]}"


def cells_of(row: QuarantinedRow, contract: Contract) -> dict[str, str]:
    """Return the text of a row by column, as far as it is known; text outside all columns is left out."""
    known = known_headers(contract)
    named = {known.get(normalise(name), ""): value for name, value in row.record.items()}
    return {name: _text(value) for name, value in named.items() if name and isinstance(value, str | bool)}


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else "true" if value else "false"


def _workbook(rows: Iterable[QuarantinedRow], read_as: Mapping[BatchId, ReadAs]) -> Workbook:
    workbook = Workbook(write_only=True)
    workbook.properties.creator = workbook.properties.lastModifiedBy = AUTHOR
    ordered = sorted(rows, key=lambda row: (row.dataset, row.source, row.location, row.row_number))
    for dataset, of_dataset in groupby(ordered, key=lambda row: row.dataset):
        _add_sheet(workbook, contract_for(dataset), list(of_dataset), read_as)
    return workbook


def _add_sheet(
    workbook: Workbook, contract: Contract, rows: Sequence[QuarantinedRow], read_as: Mapping[BatchId, ReadAs]
) -> None:
    sheet = workbook.create_sheet(contract.dataset)
    widths = {**BEFORE, **dict.fromkeys(contract.column_names, CELL_WIDTH), **AFTER}
    for position, width in enumerate(widths.values(), start=1):
        sheet.column_dimensions[get_column_letter(position)].width = width
    sheet.freeze_panes = f"B{HEADING_ROW + 1}"
    set_up_page(sheet)
    last_row = HEADING_ROW + len(rows)
    sheet.auto_filter.ref = f"A{HEADING_ROW}:{get_column_letter(len(widths))}{last_row}"
    for choice in _choices(contract, last_row):
        sheet.data_validations.append(choice)
    sheet.append([_quiet(sheet, NOTE)])
    sheet.append([_heading(sheet, heading) for heading in widths])
    for row in rows:
        sheet.append(_row(sheet, row, contract, read_as.get(row.batch_id)))


def _choices(contract: Contract, last_row: int) -> Iterator[DataValidation]:
    """Yield a drop-down list for each column with allowed values; other input only causes a warning."""
    for position, column in enumerate(contract.columns, start=len(BEFORE) + 1):
        listed = ",".join(column.allowed)
        if listed and len(listed) <= LONGEST_LIST:
            letter = get_column_letter(position)
            choices = DataValidation("list", formula1=f'"{listed}"', errorStyle="warning", allow_blank=True)
            choices.errorTitle, choices.error = column.name, f"Choose one of {', '.join(column.allowed)}"
            choices.add(f"{letter}{HEADING_ROW + 1}:{letter}{last_row}")
            yield choices


def _decimals(read_as: ReadAs | None) -> str:
    """Return how to write decimals in a file's rows, with an example; empty if that is no longer known."""
    return read_as.notation.numbers.in_words if read_as else ""


def _row(sheet: WriteOnlyWorksheet, row: QuarantinedRow, contract: Contract, read_as: ReadAs | None) -> list[Cell]:
    texts, broken = cells_of(row, contract), broken_rules_of(row)
    bad = {name for rule in broken for name in rule.columns} & contract.by_name.keys()
    return [
        _quiet(sheet, key_of(row)),
        _plain(sheet, faults_of(row, contract, texts)),
        _quiet(sheet, row.source),
        _place(sheet, (read_as or READ_AS_USUAL).place(row.row_in_file)),
        _quiet(sheet, _decimals(read_as)),
        *(_editable(sheet, column, texts, bad) for column in contract.columns),
        _quiet(sheet, row.raw.decode("utf-8", "backslashreplace")),
        _quiet(sheet, row.location),
    ]


def _editable(sheet: WriteOnlyWorksheet, column: Column, texts: Mapping[str, str], bad: set[str]) -> Cell:
    cell = _plain(sheet, texts.get(column.name, ""))
    cell.number_format = AS_TEXT
    if column.name in bad or not bad:  # without a bad column, any of them may be the cause
        cell.fill = BAD_FILL
    return cell


def _plain(sheet: WriteOnlyWorksheet, text: str) -> Cell:
    cell = WriteOnlyCell(sheet)
    if text:
        set_text(cell, text)
    return cell


def _quiet(sheet: WriteOnlyWorksheet, text: str) -> Cell:
    cell = _plain(sheet, text)
    cell.font = QUIET_FONT
    return cell


def _place(sheet: WriteOnlyWorksheet, place: int | str) -> Cell:
    cell = WriteOnlyCell(sheet)
    set_cell(cell, place)
    cell.font = QUIET_FONT
    return cell


def _heading(sheet: WriteOnlyWorksheet, text: str) -> Cell:
    cell = _plain(sheet, text)
    cell.font, cell.fill, cell.alignment = HEADING_FONT, HEADING_FILL, Alignment(horizontal="left")
    return cell
