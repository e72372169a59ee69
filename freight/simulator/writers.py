"""Writes frames in the formats of source systems: CSV in several styles, JSON, and Excel that looks handmade.

Every file appears whole or not at all, and the same rows always produce the same bytes.
"""

import codecs
import json
import math
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import polars as pl
from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.worksheet.worksheet import Worksheet

TOTALS_LABEL = "TOTAL"
EXCEL_HEADER = ("ID Transaction", "Machine", "Date Heure", "Volume (t)", "Statut")
EXCEL_HEADER_ROW = 4

_TEXT_DATE_EVERY = 7  # every 7th date of a workbook is text, as if typed by hand
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can store
_WORKBOOK_TIME = datetime(2026, 1, 1)
_MODIFIED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*")


@dataclass(frozen=True)
class CsvStyle:
    """The style of a system's CSV files.

    Attributes:
        encoding: The encoding's name in Python.
        separator: The one character between cells.
        line_end: The end of each line.
        decimal_comma: Whether numbers have a decimal comma.
        french_dates: Whether dates are DD/MM/YYYY instead of YYYY-MM-DD.
        headers: The headers that differ from the column names.
    """

    encoding: str = "utf-8"
    separator: str = ","
    line_end: str = "\n"
    decimal_comma: bool = False
    french_dates: bool = False
    headers: dict[str, str] = field(default_factory=dict)


COMMA = CsvStyle()
FRENCH = CsvStyle(
    encoding="cp1252",
    separator=";",
    line_end="\r\n",
    decimal_comma=True,
    french_dates=True,
    headers={
        "transaction_id": "id_transaction",
        "machine_id": "machine",
        "date": "date_heure",
        "volume_transferred": "volume_transféré",
        "status_code": "statut",
    },
)


def write_csv(frames: pl.DataFrame | Iterable[pl.DataFrame], path: Path, style: CsvStyle = COMMA) -> int:
    """Write frames with the same columns under one header.

    Args:
        frames: One frame, or several that need not be in memory together.
        path: The file to create or replace.
        style: The style to write.

    Returns:
        The number of data rows written.

    Raises:
        UnicodeEncodeError: The style's encoding lacks a character; the file stays as it was.
    """
    rows = 0
    with _appearing_whole(path) as file:
        for index, frame in enumerate([frames] if isinstance(frames, pl.DataFrame) else frames):
            _write_chunk(_in_style(frame, style), file, style, include_header=index == 0)
            rows += frame.height
    return rows


def write_json(frame: pl.DataFrame, path: Path) -> int:
    """Write a frame as a list of objects in UTF-8, indented like the reference service's; return the number of rows."""
    text = json.dumps(frame.to_dicts(), ensure_ascii=False, indent=4, separators=(",", ":"))
    with _appearing_whole(path) as file:
        file.write(text.encode())
    return frame.height


def write_erp_excel(rows: pl.DataFrame, path: Path, day: date) -> int:
    """Write transactions as a workbook like those that people export and decorate.

    A merged title and a subtitle are above the header; most dates are date cells, some are text; numbers are number
    cells and anything else stays text, except Excel's own error values, which become error cells. The last data row
    is a totals line (`TOTALS_LABEL` in the first column): it breaks the contract and belongs in quarantine. The second
    sheet contains notes.

    Args:
        rows: The transactions with the columns of `Corridor.transactions`, typed or as text; all are held in memory.
        path: The file to create or replace.
        day: The local day in the title.

    Returns:
        The number of data rows written, the totals line included.
    """
    book = Workbook()
    sheet: Worksheet = book.worksheets[0]
    _write_title(sheet, day)
    volumes = _write_rows(sheet, rows)
    sheet.append([TOTALS_LABEL, None, None, round(math.fsum(volumes), 3), None])
    _write_notes(book.create_sheet("Notes"))
    book.properties.creator = "ERP"
    book.properties.created = _WORKBOOK_TIME
    with _appearing_whole(path) as file:
        file.write(_without_clock(book))
    return rows.height + 1


@contextmanager
def _appearing_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a hidden file beside `path` that replaces it if the block succeeds, and is removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _in_style(frame: pl.DataFrame, style: CsvStyle) -> pl.DataFrame:
    if style.decimal_comma and "volume_transferred" in frame.columns:
        volume = pl.col("volume_transferred").cast(pl.String)
        frame = frame.with_columns(volume.str.replace(".", ",", literal=True))
    if style.french_dates and "date" in frame.columns:
        # Replace text, without parsing: an impossible date must reach the file, too.
        frame = frame.with_columns(pl.col("date").str.replace(r"^(\d{4})-(\d{2})-(\d{2})", "$3/$2/$1"))
    return frame.rename(style.headers, strict=False)


def _write_chunk(frame: pl.DataFrame, file: BinaryIO, style: CsvStyle, *, include_header: bool) -> None:
    if codecs.lookup(style.encoding).name == "utf-8":
        frame.write_csv(file, include_header=include_header, separator=style.separator, line_terminator=style.line_end)
        return
    text = frame.write_csv(include_header=include_header, separator=style.separator, line_terminator=style.line_end)
    file.write(text.encode(style.encoding))


def _write_title(sheet: Worksheet, day: date) -> None:
    sheet.title = "Export ERP"
    sheet.append(["Corridor Douala - Ngaoundéré : transferts de fret"])
    sheet.merge_cells(start_row=1, end_row=1, start_column=1, end_column=len(EXCEL_HEADER))
    sheet["A1"].font = Font(bold=True, size=14)
    sheet["A1"].alignment = Alignment(horizontal="center")
    sheet.append([f"Journée du {day:%d/%m/%Y}, heure locale de Douala"])
    sheet.append([])
    for column, header in enumerate(EXCEL_HEADER, start=1):
        sheet.cell(row=EXCEL_HEADER_ROW, column=column, value=header).font = Font(bold=True)


def _write_rows(sheet: Worksheet, rows: pl.DataFrame) -> list[float]:
    """Append the rows, and return the volumes that are numbers, in tonnes."""
    volumes = []
    for index, (transaction_id, machine_id, moment, volume, status) in enumerate(rows.iter_rows(), start=1):
        as_date = moment if index % _TEXT_DATE_EVERY == 0 else _date_or_text(moment)
        number = _number_or_text(volume)
        if isinstance(number, float):
            volumes.append(number)
        sheet.append([transaction_id, machine_id, as_date, number, status])
    return volumes


def _date_or_text(text: str | None) -> datetime | str | None:
    try:
        return datetime.fromisoformat(text) if text else text
    except ValueError:
        return text


def _number_or_text(value: float | str | None) -> float | str | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def _write_notes(sheet: Worksheet) -> None:
    sheet.append(["Notes"])
    sheet.append(["Volumes en tonnes ; une cellule vide : la bascule n'a pas donné de mesure."])
    sheet.append(["La ligne TOTAL est ajoutée à la main."])


def _without_clock(book: Workbook) -> bytes:
    """Return the workbook's bytes without the time of saving, which openpyxl writes to two places."""
    saved, timeless = BytesIO(), BytesIO()
    book.save(saved)
    moment = _WORKBOOK_TIME.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(timeless, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "docProps/core.xml":
                content = _MODIFIED.sub(rb"\g<1>" + moment, content)
            target.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content, zipfile.ZIP_DEFLATED)
    return timeless.getvalue()
