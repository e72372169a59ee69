"""The actions of a person on a quarantine workbook."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.worksheet.worksheet import Worksheet

HEADING_ROW = 2


def headings(sheet: Worksheet) -> list[Any]:
    """Return the headings of a sheet in order."""
    return [cell.value for cell in sheet[HEADING_ROW]]


def cell(sheet: Worksheet, row: int, heading: str) -> Any:
    """Return a cell by its heading; row numbers start below the heading."""
    return sheet.cell(HEADING_ROW + row, headings(sheet).index(heading) + 1)


def shown(path: Path, sheet: str = "transactions") -> list[dict[str, Any]]:
    """Return the rows of a sheet by heading."""
    found = openpyxl.load_workbook(path)[sheet]
    rows = found.iter_rows(min_row=HEADING_ROW + 1, values_only=True)
    return [dict(zip(headings(found), row, strict=True)) for row in rows]


def correct(
    path: Path, changes: Mapping[int, Mapping[str, object]], saved_by: str = "Awa Ngo", sheet: str = "transactions"
) -> Path:
    """Change cells of rows, numbered from 1, and save."""
    workbook = openpyxl.load_workbook(path)
    for row, cells in changes.items():
        for heading, value in cells.items():
            cell(workbook[sheet], row, heading).value = value
    workbook.properties.lastModifiedBy = saved_by
    workbook.save(path)
    return path
