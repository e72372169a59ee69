"""JSON: a list of objects (bare, or under a key such as `data`), or JSON Lines. Values become text, typed later.

Nothing is guessed: what is no JSON is refused, numbers keep all their digits, and an object that names a key twice is
a fault. A list is parsed whole, as far as the memory of a parser reaches; JSON Lines may be of any size.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import batched, chain
from pathlib import Path
from typing import Any, BinaryIO, Never

import orjson

from freight.errors import SourceError
from freight.parsers.output import Output, open_counted

LIST_LIMIT_BYTES = 48 << 20  # parsed it takes seven times as much memory, and 512 MiB have to do
LINE_LIMIT_BYTES = 48 << 20
HEADER_ROWS = 50_000
WRAPPER_KEYS = ("data", "items", "results", "records", "value")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MANY_DIGITS = re.compile(rb"[0-9]{18}")  # a double has no more than 17 that count
TOO_LARGE_FOR_A_DOUBLE = "infinity"  # how orjson names it

Numbered = tuple[int, object]  # row number and parsed JSON value


class Unparsed(bytes):
    """A line that is no JSON."""


class Doubled(dict[str, object]):
    """An object that names a key more than once; parsers keep the last value and say nothing."""


def parse_list(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the objects of a JSON list; row numbers count them from 1.

    Args:
        path: the file.
        wishes: `columns` that are the header if there is no object at all.
        output: takes rows, and faults: what is not a flat object.

    Raises:
        SourceError: not JSON, not a list of objects, empty, or larger than the cap.
    """
    with open_counted(path, output) as stream:
        content = _capped(stream)
    _refuse_empty(content.strip())
    rows = [*enumerate(_objects(_parse(content)), start=1)]
    _send(rows, _header(rows, wishes), output)


def parse_lines(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the objects of JSON Lines; row numbers count lines from 1.

    Args:
        path: the file.
        wishes: `columns` that are the header if the first lines have no object.
        output: takes rows, and faults: lines that are not a flat JSON object.

    Raises:
        SourceError: the file is empty, or a later line has a key that the first ones had not.
    """
    with open_counted(path, output) as stream:
        rows = _numbered_lines(stream)
        first = next(batched(rows, HEADER_ROWS), ())
        _refuse_empty(first)
        _send(chain(first, rows), _header(first, wishes), output)


def _refuse_empty(found: Sequence[object]) -> None:
    if not found:
        raise SourceError("empty", "the file is empty", remedy="deliver the file again")


def _capped(stream: BinaryIO) -> bytes:
    content = stream.read(LIST_LIMIT_BYTES + 1)
    if len(content) > LIST_LIMIT_BYTES:
        raise SourceError(
            "too_large",
            f"a JSON list over {LIST_LIMIT_BYTES >> 20} MiB is not read into memory",
            remedy="deliver JSON Lines (one object a line) and set `reader: jsonl`",
        )
    return content


def _parse(content: bytes) -> object:
    try:
        return loads(content)
    except ValueError as error:
        where = f" (line {error.lineno}, character {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        told = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise SourceError("corrupt", f"not valid JSON: {told}{where}", remedy="deliver the whole file again") from None


def loads(content: bytes) -> object:
    """Parse a JSON text; a `Doubled` stands for an object that names a key twice.

    Numbers whose digits a double cannot hold are returned as text.

    Raises:
        ValueError: it is no JSON.
    """
    bare = content.removeprefix(BYTE_ORDER_MARK)
    try:
        document = orjson.loads(bare)
    except orjson.JSONDecodeError as error:
        if TOO_LARGE_FOR_A_DOUBLE not in error.msg:
            raise
        return _loads_exactly(bare)
    return document if _is_told_whole(bare, document) else _loads_exactly(bare)


def _is_told_whole(content: bytes, document: object) -> bool:
    """Whether a document holds all that its text says: each key has two quotation marks, and so has each text."""
    if MANY_DIGITS.search(content) or rb"\u0022" in content:
        return False
    return content.count(b'"') == orjson.dumps(document).count(b'"')


def _loads_exactly(content: bytes) -> object:
    """Parse more slowly, without losing anything."""
    try:
        return json.loads(
            content, object_pairs_hook=_noting_doubled, parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _noting_doubled(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    return record if len(record) == len(pairs) else Doubled(record)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


def _objects(document: object) -> list[object]:
    if isinstance(document, dict):
        document = next((document[key] for key in WRAPPER_KEYS if isinstance(document.get(key), list)), document)
    if not isinstance(document, list):
        raise SourceError(
            "unsupported",
            "the JSON is not a list of objects",
            remedy=f"deliver a list, bare or under one of the keys {', '.join(WRAPPER_KEYS)}",
        )
    return document


def _numbered_lines(stream: BinaryIO) -> Iterator[Numbered]:
    for number, line in enumerate(iter(lambda: stream.readline(LINE_LIMIT_BYTES), b""), start=1):
        if len(line) == LINE_LIMIT_BYTES:
            raise SourceError(
                "too_large",
                f"the line is longer than {LINE_LIMIT_BYTES >> 20} MiB",
                row=number,
                remedy="write one object a line",
            )
        if line.strip():
            yield number, _parsed_line(line)


def _parsed_line(line: bytes) -> object:
    try:
        return loads(line)
    except ValueError:
        return Unparsed(line)


def _header(rows: Sequence[Numbered], wishes: Mapping[str, Any]) -> list[str]:
    """Return the keys of all objects in the order of their first appearance."""
    keys = dict.fromkeys(key for _, record in rows if isinstance(record, dict) for key in record)
    return [*keys] or [*wishes["columns"]]  # no object at all: every row becomes a fault


def _send(rows: Iterable[Numbered], header: Sequence[str], output: Output) -> None:
    output.begin(header)
    known = set(header)
    for number, record in rows:
        if type(record) is not dict or any(isinstance(value, (dict, list)) for value in record.values()):
            _send_fault(number, record, output)
            continue
        if not record.keys() <= known:
            raise _new_key(number, next(key for key in record if key not in known))
        output.row(number, [_text(record.get(key)) for key in header])


def _send_fault(number: int, record: object, output: Output) -> None:
    match record:
        case Unparsed():
            output.fault(number, None, "ragged_row", "the line is not valid JSON", record.rstrip(b"\r\n"))
        case Doubled():
            output.fault(number, None, "doubled_field", "the object names a key twice", orjson.dumps(record))
        case dict():
            nested = next(key for key, value in record.items() if isinstance(value, (dict, list)))
            detail = "a list or an object where a value belongs"
            output.fault(number, nested, "nested_value", detail, orjson.dumps(record))
        case _:
            output.fault(number, None, "ragged_row", "the record is not a JSON object", orjson.dumps(record))


def _new_key(number: int, key: str) -> SourceError:
    return SourceError(
        "unknown_column",
        f"the key {key!r} is in none of the first rows",
        row=number,
        column=key,
        remedy="give every object the same keys, or declare the column in the contract",
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
