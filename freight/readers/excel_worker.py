"""Parses one workbook in a process of its own; started by `excel.py`, which names a folder on the command line.

Reads `task.json` there, writes `rows.arrow` (one text column per header cell, and row_number) and `faults.arrow` (rows
with an unusable cell or with cells beyond the header, as `BAD_ROWS_SCHEMA`), and answers with `answer.json`: the
header, or a fault with message and remedy. Memory does not grow with the number of rows, good or bad.
"""

import errno
import gc
import json
import os
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc
from openpyxl.utils import get_column_letter

from freight.contracts.headers import normalise
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER
from freight.readers.excel_sheets import Refusal, Row, Workbook
from freight.readers.raw import fault_row

HEADER_SEARCH_ROWS = 30
HEADER_LIMIT_CHARS = 1 << 20  # the whole header travels to the parent
BATCH_ROWS = 20_000
ROWS_FILE, FAULTS_FILE = "rows.arrow", "faults.arrow"
FAULTS = pl.DataFrame(schema=BAD_ROWS_SCHEMA).to_arrow(compat_level=pl.CompatLevel.oldest()).schema


class Table(NamedTuple):
    """Where the rows are: the sheet, the row of the header, and its cells by column; columns count from 1."""

    sheet: str
    header_row: int
    header: dict[int, str]


def main() -> None:
    """Do what the task says, and answer."""
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    gc.disable()  # no cycles are made here, and looking for them takes a seventh of the time
    task = json.loads((folder / "task.json").read_bytes())
    warnings.simplefilter("ignore")  # of parts of the workbook that are not read; one for each would fill the disk
    _limit("RLIMIT_DATA", task["memory_limit_bytes"])
    _limit("RLIMIT_FSIZE", task["file_limit_bytes"])
    answer = _answer(folder, task)
    if "header" not in answer:
        _remove_rows(folder)
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def _end_with_parent(folder: Path) -> None:
    """Wait for the end of standard input, which comes however the parent ends; then remove the folder and end."""
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _remove_rows(folder: Path) -> None:
    """Make room for the answer: the disk may be full of what was written so far."""
    for name in (ROWS_FILE, FAULTS_FILE):
        with suppress(OSError):
            (folder / name).unlink()


def _limit(name: str, limit_bytes: int) -> None:
    with suppress(ImportError):  # Windows has no such limits; there only the time is bounded
        import resource

        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        bounded = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
        resource.setrlimit(kind, (bounded, hard))


def _answer(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"header": parse(folder, task)}
    except Refusal as refusal:
        return refusal.answer
    except MemoryError:
        return Refusal("too_large", "its parser ran out of memory", "deliver it in parts, or as CSV").answer
    except OSError as error:
        return _by_the_system(error).answer
    except Exception as error:  # a parser over a broken file may raise anything
        told = f"the workbook is damaged: {type(error).__name__}: {error}"
        return Refusal("corrupt", told[:500], "deliver the whole file again").answer


def _by_the_system(error: OSError) -> Refusal:
    if error.errno == errno.EFBIG:
        return Refusal("too_large", "its rows do not fit into the file they are put into", "deliver it in parts")
    if error.errno:
        return Refusal(
            "unreadable",
            f"it could not be unpacked: {error.strerror}",
            "look after the disk that holds temporary files; the next run tries again",
        )
    return Refusal("unsupported", f"not a workbook that can be read: {error}", "save it as .xlsx")  # openpyxl's own


def parse(folder: Path, task: dict[str, Any]) -> list[str]:
    """Write the rows of the best sheet; return its header.

    Args:
        folder: holds `workbook.xlsx`; the rows go there.
        task: `headers` that are known, and the options `sheet` and `header_row` or None.

    Raises:
        Refusal: no sheet or row is what the options say, no cell at all, or a column that lacks its header.
    """
    workbook = Workbook(folder / "workbook.xlsx")
    table = _find_table(workbook, task)
    _write(workbook.rows(table.sheet), table, folder)
    return list(table.header.values())


def _find_table(workbook: Workbook, task: dict[str, Any]) -> Table:
    """Return the table whose header has the most known cells; of equals the first."""
    known = set(task["headers"])
    found = [
        Table(sheet, row.number, row.texts)
        for sheet in _sheets(workbook, task["sheet"])
        for row in _header_candidates(workbook.rows(sheet), task["header_row"])
    ]
    if not found:
        raise _nothing_there(task["header_row"])
    best = max(found, key=lambda table: sum(normalise(text) in known for text in table.header.values()))
    if sum(map(len, best.header.values())) > HEADER_LIMIT_CHARS:
        raise Refusal("too_large", f"the header in row {best.header_row} is longer than a megabyte", "shorten it")
    return best


def _sheets(workbook: Workbook, wanted: str | None) -> list[str]:
    if wanted is None or wanted in workbook.sheets:
        return [wanted] if wanted else workbook.sheets
    there_are = ", ".join(workbook.sheets)[:500]
    raise Refusal(
        "missing_column", f"there is no sheet {wanted!r}", f"name one of these in the option sheet: {there_are}"
    )


def _header_candidates(rows: Iterator[Row], header_row: int | None) -> Iterator[Row]:
    """Give the rows that may be the header: the one that is named, or the first ones that hold something."""
    last = header_row or HEADER_SEARCH_ROWS
    for row in takewhile(lambda row: row.number <= last, rows):
        if row.texts and header_row in (None, row.number):
            yield row


def _nothing_there(header_row: int | None) -> Refusal:
    if header_row is None:
        return Refusal(
            "empty",
            f"no sheet has any cell in its first {HEADER_SEARCH_ROWS} rows",
            "deliver the rows; where they start further down, name their header in the option header_row",
        )
    return Refusal(
        "missing_column",
        "the row that the option header_row names is empty",
        "correct header_row in the catalog: it is the row's number as Excel shows it",
        header_row,
    )


def _write(rows: Iterator[Row], table: Table, folder: Path) -> None:
    names = [*map(str, range(len(table.header)))]
    cells = pa.schema([*((name, pa.large_string()) for name in names), (ROW_NUMBER, pa.int64())])
    with _Spool(folder / ROWS_FILE, cells) as good, _Spool(folder / FAULTS_FILE, FAULTS) as bad:
        for row in rows:
            if row.number <= table.header_row:
                continue
            if row.errors or not row.texts.keys() <= table.header.keys():
                bad.add(_fault(row, table.header))
            elif row.texts:
                good.add([*(row.texts.get(column, "") for column in table.header), row.number])


class _Spool:
    """Writes rows of one schema to a file, with at most `BATCH_ROWS` in memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = ipc.new_stream(path, schema)
        self._rows: list[Sequence[object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if raised == (None, None, None):
            self._flush()
        self._writer.close()

    def add(self, row: Sequence[object]) -> None:
        """Take in the cells of a row, in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [list(column) for column in zip(*self._rows, strict=True)]
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
            self._rows.clear()


def _fault(row: Row, header: dict[int, str]) -> list[object]:
    """Say why a row cannot be cut into the header's cells, as a row of `BAD_ROWS_SCHEMA`.

    Raises:
        Refusal: the row has a cell in a column that has no header but lies within the table.
    """
    stray = sorted((row.texts.keys() | row.errors.keys()) - header.keys())
    if stray and stray[0] < max(header):
        raise _without_header(stray[0], row)
    named = {name: row.texts.get(column, "") for column, name in header.items()}
    unusable = next((column for column in row.errors if column in header), None)
    if unusable is not None:
        return _bad_row(row, header[unusable], "excel_error", row.errors[unusable], named)
    beyond = {get_column_letter(column): row.texts.get(column, "") for column in stray}
    return _bad_row(row, None, "ragged_row", "cells to the right of the header", [*named.values(), beyond])


def _bad_row(row: Row, column: str | None, reason: str, detail: str, raw: object) -> list[object]:
    return list(fault_row(row.number, column, reason, detail, json.dumps(raw, ensure_ascii=False).encode()).values())


def _without_header(column: int, row: Row) -> Refusal:
    held = row.texts.get(column, "")[:80]
    return Refusal(
        "unknown_column",
        f"column {get_column_letter(column)} has no header but holds {held!r}",
        "give the column a header, or empty it; if the header is another row, name it in the option header_row",
        row.number,
    )


if __name__ == "__main__":
    main()
