"""JSON: a list of objects (bare, or under a key such as `data`), or JSON Lines. Values become text, typed later.

A list is parsed whole and so has a size cap; JSON Lines stream and may be of any size.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from itertools import batched

import orjson
import polars as pl

from freight.contracts import Contract
from freight.contracts.headers import known_headers, normalise
from freight.errors import SourceError
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER
from freight.readers.locations import SourceFile
from freight.readers.options import ReaderOptions
from freight.readers.raw import RawBatch, RawTable, fault_row

LIST_LIMIT_BYTES = 48 << 20  # parsed it takes seven times as much memory, and 512 MiB have to do
BATCH_ROWS = 50_000
WRAPPER_KEYS = ("data", "items", "results", "records", "value")

Numbered = tuple[int, object]  # row number and parsed JSON value


def read_json(file: SourceFile, contract: Contract, options: ReaderOptions) -> RawTable:
    """Read a JSON list of objects; row numbers count the objects from 1.

    Raises:
        SourceError: not JSON, not a list of objects, empty, or larger than the cap.
    """
    content = _read_capped(file)
    if not content.strip():
        raise SourceError("empty", "the file is empty", location=file.path, remedy="deliver the file again")
    rows = list(enumerate(objects_of(parse_json(content, file.path), file.path), start=1))
    header = _header(rows, contract)
    return RawTable(header, (_raw_batch(part, header, file.path) for part in batched(rows, BATCH_ROWS)))


def read_jsonl(file: SourceFile, contract: Contract, options: ReaderOptions) -> RawTable:
    """Read JSON Lines; row numbers count lines from 1. A line that is not a JSON object becomes a fault.

    Raises:
        SourceError: the file is empty, or a later line has a key that the first ones had not.
    """
    return _read_lines(lambda: _numbered_lines(file), file, contract)


def read_known_keys(file: SourceFile, contract: Contract, options: ReaderOptions) -> RawTable:
    """Read JSON Lines as `read_jsonl` does, without keys that the contract does not know."""
    known = known_headers(contract)

    def lines() -> Iterator[list[Numbered]]:
        for rows in _numbered_lines(file):
            yield [(number, _with_keys(record, known)) for number, record in rows]

    return _read_lines(lines, file, contract)


def _with_keys(record: object, known: Container[str]) -> object:
    if not isinstance(record, dict):
        return record
    return {key: value for key, value in record.items() if normalise(key) in known}


def _read_lines(lines: Callable[[], Iterator[list[Numbered]]], file: SourceFile, contract: Contract) -> RawTable:
    first = next(lines(), None)
    if first is None:
        raise SourceError("empty", "the file is empty", location=file.path, remedy="deliver the file again")
    header = _header(first, contract)
    return RawTable(header, (_raw_batch(rows, header, file.path) for rows in lines()))


def _read_capped(file: SourceFile) -> bytes:
    with file.open() as stream:
        content = stream.read(LIST_LIMIT_BYTES + 1)
    if len(content) > LIST_LIMIT_BYTES:
        raise SourceError(
            "too_large",
            f"a JSON list over {LIST_LIMIT_BYTES >> 20} MiB is not read into memory",
            location=file.path,
            remedy="deliver JSON Lines (one object a line) and set `reader: jsonl`",
        )
    return content


def parse_json(content: bytes, path: str) -> object:
    """Return a JSON document.

    Raises:
        SourceError: it is none.
    """
    try:
        return orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise SourceError(
            "corrupt",
            f"not valid JSON: {error.msg} (line {error.lineno}, character {error.colno})",
            location=path,
            remedy="deliver the whole file again",
        ) from None


def objects_of(document: object, path: str, keys: Sequence[str] = WRAPPER_KEYS) -> list[object]:
    """Return the list that a document is, or has under one of some keys.

    Raises:
        SourceError: there is none.
    """
    if isinstance(document, dict):
        document = next((document[key] for key in keys if isinstance(document.get(key), list)), document)
    if not isinstance(document, list):
        raise SourceError(
            "unsupported",
            "the JSON is not a list of objects",
            location=path,
            remedy=f"deliver a list, bare or under one of the keys {', '.join(keys)}",
        )
    return document


def _numbered_lines(file: SourceFile) -> Iterator[list[Numbered]]:
    with file.open() as stream:
        numbered = ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
        for lines in batched(numbered, BATCH_ROWS):
            yield [(number, _parse_line(line)) for number, line in lines]


def _parse_line(line: bytes) -> object:
    try:
        return orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return line  # bytes are never a JSON value, so this marks the line as unparsed


def _header(rows: Sequence[Numbered], contract: Contract) -> tuple[str, ...]:
    """Return the keys of all objects in the order of their first appearance."""
    keys = dict.fromkeys(key for _, record in rows if isinstance(record, dict) for key in record)
    return tuple(keys) or contract.column_names  # no object at all: every row becomes a fault


def _raw_batch(rows: Sequence[Numbered], header: tuple[str, ...], path: str) -> RawBatch:
    faults = [fault for number, record in rows if (fault := _fault(number, record))]
    faulty = {fault[ROW_NUMBER] for fault in faults}
    good = [(number, record) for number, record in rows if number not in faulty and isinstance(record, dict)]
    _refuse_new_keys(good, header, path)
    cells = {str(i): [_text(record.get(key)) for _, record in good] for i, key in enumerate(header)}
    schema = {**dict.fromkeys(cells, pl.String), ROW_NUMBER: pl.Int64}
    frame = pl.DataFrame({**cells, ROW_NUMBER: [number for number, _ in good]}, schema=schema)
    return RawBatch(frame, pl.DataFrame(faults, schema=BAD_ROWS_SCHEMA))


def _fault(number: int, record: object) -> dict[str, object] | None:
    if isinstance(record, bytes):
        return fault_row(number, None, "ragged_row", "the line is not valid JSON", record.rstrip(b"\r\n"))
    if not isinstance(record, dict):
        return fault_row(number, None, "ragged_row", "the record is not a JSON object", orjson.dumps(record))
    nested = next((key for key, value in record.items() if isinstance(value, (dict, list))), None)
    if nested is None:
        return None
    return fault_row(number, nested, "nested_value", "a list or an object where a value belongs", orjson.dumps(record))


def _refuse_new_keys(rows: Sequence[tuple[int, dict[str, object]]], header: tuple[str, ...], path: str) -> None:
    for number, record in rows:
        if not record.keys() <= set(header):
            new = next(key for key in record if key not in header)
            raise SourceError(
                "unknown_column",
                f"the key {new!r} is in none of the first rows",
                location=path,
                row=number,
                column=new,
                remedy="give every object the same keys, or declare the column in the contract",
            )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
