"""Corrected workbooks of quarantined rows: reads each cell of the rows that still have their key."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError, fromstring
from zipfile import BadZipFile, ZipFile

from freight.errors import SourceError
from freight.parsers.output import Output, open_counted
from freight.parsers.workbooks import Row, Workbook, open_workbook

HEADING_SEARCH_ROWS = 20
PROPERTIES = "docProps/core.xml"
LAST_MODIFIED_BY = "{http://schemas.openxmlformats.org/package/2006/metadata/core-properties}lastModifiedBy"


def parse(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send a row for each cell: author, sheet, key of its row, heading, text, and the reason if it holds no value.

    Row numbers are those that Excel shows. Empty cells are included; rows without a key are not.

    Args:
        path: The workbook, of any kind and name.
        wishes: The `key`: the heading of the column with the keys.
        output: The output for the cells.

    Raises:
        SourceError: The file is not a workbook, is protected by a password or too large, or no sheet has such a column.
    """
    with open_counted(path, output) as content:
        workbook = open_workbook(content)
        author = _last_modified_by(content)
        output.begin(["author", "sheet", "key", "heading", "text", "error"])
        sheets = [sheet for sheet in workbook.sheets if _send(workbook, sheet, wishes["key"], author, output)]
    if not sheets:
        raise SourceError(
            "missing_column",
            f"no sheet has the heading {wishes['key']!r}",
            remedy="return a workbook that `dpa quarantine export` has written, with all its columns",
        )


def _last_modified_by(content: BinaryIO) -> str:
    """Return who last saved the workbook, as its program noted it; empty if it did not."""
    try:
        with ZipFile(content) as archive:
            return fromstring(archive.read(PROPERTIES)).findtext(LAST_MODIFIED_BY) or ""
    except (BadZipFile, KeyError, ParseError):
        return ""


def _send(workbook: Workbook, sheet: str, key: str, author: str, output: Output) -> bool:
    """Send the cells of a sheet; return whether the sheet has keys."""
    rows = workbook.rows(sheet)
    headings = _headings(rows, key)
    for row in rows if headings else ():
        named = {heading: column for column, heading in headings.items()}
        if row_key := row.texts.get(named.pop(key), ""):
            for heading, column in named.items():
                cells = row.texts.get(column, ""), row.errors.get(column, "")
                output.row(row.number, [author, sheet, row_key, heading, *cells])
    return bool(headings)


def _headings(rows: Iterator[Row], key: str) -> dict[int, str]:
    """Return the headings by column if the key is in one of the first rows."""
    for row in rows:
        if key in row.texts.values():
            return row.texts
        if row.number >= HEADING_SEARCH_ROWS:
            break
    return {}
