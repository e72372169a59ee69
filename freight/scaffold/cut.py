"""Cuts a sample down to its first rows, in its own format, so that a test reads it like a load."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import openpyxl

from freight.contracts import Contract
from freight.parsers.json_records import objects_of
from freight.readers.dialect import DelimitedOptions, detect_dialect
from freight.readers.locations import text_stream
from freight.readers.strict_csv import lines_of, strict_records
from freight.scaffold.sample import Sample, plain_name, row_numbers

ZIPPED = (".xlsx", ".xlsm")


def cut(sample: Sample, contract: Contract, rows: int) -> bytes:
    """Return the content of a file with the first rows of a sample, or with all rows if it cannot be cut.

    Args:
        sample: The sample.
        contract: A contract that knows its header.
        rows: The number of rows to keep; more are kept if a key of a JSON object first appears later.
    """
    whole = _content(sample)
    return whole if sample.read <= rows else _first_rows(whole, sample, contract, rows)


def _first_rows(content: bytes, sample: Sample, contract: Contract, rows: int) -> bytes:
    match sample.reader:
        case "csv":
            return _cut_delimited(sample, contract, rows)
        case "json":
            return _cut_list(content, rows, sample.options.get("records"))
        case "jsonl":
            return _cut_lines(content, rows)
        case "excel" if plain_name(sample.file).lower().endswith(ZIPPED):
            return _cut_workbook(content, sample, rows)
    return content


def _content(sample: Sample) -> bytes:
    with sample.file.open() as stream:
        return stream.read()


def _cut_delimited(sample: Sample, contract: Contract, rows: int) -> bytes:
    dialect = detect_dialect(sample.file, contract, DelimitedOptions.of(sample.options))
    last = row_numbers(sample, rows)[-1]
    with sample.file.open() as stream, text_stream(stream, dialect.byte_encoding) as text:
        lines = lines_of(text)
        skipped = [*islice(lines, dialect.skip_lines)]
        records = islice(strict_records(lines, dialect.signs), last - dialect.skip_lines)
        return "".join([*skipped, *(record.text for record in records)]).encode(dialect.byte_encoding)


def _cut_list(content: bytes, rows: int, named: str | None) -> bytes:
    objects = objects_of(json.loads(content), named)
    kept = list(_first_with_all_keys(objects, rows, lambda record: record))
    return f"{json.dumps(kept, ensure_ascii=False, indent=2)}\n".encode()


def _cut_lines(content: bytes, rows: int) -> bytes:
    lines: list[bytes] = [line for line in content.splitlines(keepends=True) if line.strip()]
    kept: list[bytes] = [*_first_with_all_keys(lines, rows, _parsed)]
    return b"".join(kept)


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None  # a faulty line, which stays faulty


def _first_with_all_keys[T](items: Iterable[T], rows: int, parse: Callable[[T], Any]) -> Iterator[T]:
    """Yield the first items, and each later one with a new key."""
    seen: set[str] = set()
    for number, item in enumerate(items):
        record = parse(item)
        new = set(record) - seen if isinstance(record, dict) else set()
        if number < rows or new:
            seen |= new
            yield item


def _cut_workbook(content: bytes, sample: Sample, rows: int) -> bytes:
    """Return a workbook without the rows after the first ones, and without the sheets that lack the header."""
    book = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
    last = min(row_numbers(sample, rows)[-1], max(sheet.max_row for sheet in book.worksheets))
    sheets = [sheet for sheet in book.worksheets if _has_header(sheet, sample, last)]
    if not sheets:
        return content
    for sheet in sheets:
        sheet.delete_rows(last + 1, sheet.max_row)
    for other in set(book.worksheets).difference(sheets):
        book.remove(other)
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def _has_header(sheet: Any, sample: Sample, last: int) -> bool:
    wanted = [cell.strip() for cell in sample.header]
    found = sheet.iter_rows(max_row=last, values_only=True)
    return any([str(cell).strip() for cell in row if cell is not None] == wanted for row in found)
