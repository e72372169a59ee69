"""Parses one workbook in a process of its own; started by `excel.py`, told what to do by JSON on standard input.

Writes `rows.arrow` (row_number and one text column per header cell) and `faults.jsonl` (rows with an error cell or with
cells beyond the header) into a folder, and answers with JSON: the header, or a fault with message and remedy.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TextIO

import openpyxl
import pyarrow as pa
import pyarrow.ipc as ipc

from freight.contracts.headers import normalise

HEADER_SEARCH_ROWS = 30
BATCH_ROWS = 20_000
WIDEST_ROW = 4_096  # cells; a formatted but empty sheet can claim 16,384 in each row

Row = tuple[int, Sequence[Any]]


class Refusal(Exception):
    """The workbook cannot be used; carries what `SourceError` needs."""

    def __init__(self, fault: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.answer = {"fault": fault, "message": message, "remedy": remedy}


def main() -> None:
    """Do what standard input says, and answer on standard output."""
    task = json.load(sys.stdin)
    _limit_memory(task["memory_limit_bytes"])
    answer: dict[str, Any]
    try:
        answer = {"header": parse(task)}
    except Refusal as refusal:
        answer = refusal.answer
    except MemoryError:
        answer = Refusal("too_large", "its parser ran out of memory", "deliver it in parts, or as CSV").answer
    except Exception as error:  # a parser over a broken file may raise anything
        told = f"the workbook is damaged: {type(error).__name__}: {error}"
        answer = Refusal("corrupt", told[:500], "deliver the whole file again").answer
    print(json.dumps(answer))


def _limit_memory(limit_bytes: int) -> None:
    with suppress(ImportError):  # Windows has no such limits; there only the time is bounded
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def parse(task: dict[str, Any]) -> list[str]:
    """Write the rows of the best sheet; return its header."""
    workbook = openpyxl.load_workbook(task["workbook"], read_only=True, data_only=True)
    names = [task["sheet"]] if task["sheet"] else workbook.sheetnames
    if task["sheet"] and task["sheet"] not in workbook.sheetnames:
        raise Refusal(
            "missing_column", f"there is no sheet {task['sheet']!r}", f"name one of {', '.join(workbook.sheetnames)}"
        )
    known = set(task["headers"])
    found = [(*_best_header(workbook[name], known), name) for name in names]
    score, header_row, name = max(found, key=lambda candidate: candidate[0])
    if score < 0:
        raise Refusal("empty", "no sheet has any cell", "deliver the file again")
    return _write(workbook[name], header_row, Path(task["folder"]))


def _best_header(sheet: Any, known: set[str]) -> tuple[int, int]:
    """Return how many known headers the best row has, and which row it is; -1 for a sheet without cells."""
    best = (-1, 0)
    for number, cells in _rows(sheet):
        if number > HEADER_SEARCH_ROWS:
            break
        texts = [_text(cell) for cell in cells]
        if any(texts):
            best = max(best, (sum(normalise(text) in known for text in texts), number), key=lambda pair: pair[0])
    return best


def _rows(sheet: Any) -> Iterator[Row]:
    """Give the rows of a sheet with the numbers that Excel shows."""
    sheet.reset_dimensions()  # what the file says of its size is often wrong
    for number, cells in enumerate(sheet.iter_rows(), start=1):
        if len(cells) > WIDEST_ROW:
            raise Refusal(
                "too_large", f"row {number} has {len(cells)} cells", "delete the empty columns right of the table"
            )
        yield number, cells


def _write(sheet: Any, header_row: int, folder: Path) -> list[str]:
    rows = _rows(sheet)
    header = _header(next(cells for number, cells in rows if number == header_row))
    names = [str(position) for position in range(len(header))]
    schema = pa.schema([*((name, pa.large_string()) for name in names), ("row_number", pa.int64())])
    with (
        (folder / "faults.jsonl").open("w", encoding="utf-8") as faults,
        ipc.new_stream(folder / "rows.arrow", schema) as writer,
    ):
        for batch in _batches(_table_rows(rows, header, faults)):
            columns = zip(*batch, strict=True)
            writer.write_batch(pa.record_batch([list(column) for column in columns], schema=schema))
    return header


def _header(cells: Sequence[Any]) -> list[str]:
    texts = [_text(cell) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    if "" in texts:
        letter = openpyxl.utils.get_column_letter(texts.index("") + 1)
        raise Refusal("unknown_column", f"column {letter} has no header", "give it a header, or delete the column")
    return texts


def _table_rows(rows: Iterator[Row], header: Sequence[str], faults: TextIO) -> Iterator[list[object]]:
    """Give the rows that can be cut into the header's cells; write the others down as faults."""
    for number, cells in rows:
        texts = [_text(cell) for cell in cells]
        if not any(texts):
            continue
        fault = _fault(cells, texts, header)
        if fault:
            faults.write(json.dumps({"row": number, **fault}) + "\n")
        else:
            yield [*texts[: len(header)], *[""] * (len(header) - len(texts)), number]


def _fault(cells: Sequence[Any], texts: Sequence[str], header: Sequence[str]) -> dict[str, str | None] | None:
    error = next((position for position, cell in enumerate(cells) if cell.data_type == "e"), None)
    raw = json.dumps(dict(zip(header, texts, strict=False)), ensure_ascii=False)
    if error is not None and error < len(header):
        detail = f"the cell holds the error {texts[error]}"
        return {"column": header[error], "reason": "excel_error", "detail": detail, "raw": raw}
    if any(texts[len(header) :]):
        detail = "cells to the right of the header"
        return {"column": None, "reason": "ragged_row", "detail": detail, "raw": json.dumps(texts, ensure_ascii=False)}
    return None


def _batches(rows: Iterator[list[object]]) -> Iterator[list[list[object]]]:
    batch: list[list[object]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _text(cell: Any) -> str:
    """Return what a cell holds as text for the contract to type."""
    value = cell.value
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime():
            return _instant(value)
        case date() | time() | timedelta():
            return str(value)
        case _:
            return str(value)


def _instant(value: datetime) -> str:
    """Excel counts days as a float, so a second may come as 0.999999 of it: round to milliseconds."""
    rounded = value + timedelta(microseconds=500)
    millis = rounded.microsecond // 1_000
    whole = rounded.replace(microsecond=0).strftime("%Y-%m-%d %H:%M:%S")
    return f"{whole}.{millis:03d}" if millis else whole


if __name__ == "__main__":
    main()
