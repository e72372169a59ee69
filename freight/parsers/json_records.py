"""JSON: a list of objects (bare, or under a key such as `data`), or JSON Lines. Values become text, typed later.

Nothing is guessed: invalid JSON is refused, numbers keep all their digits, and an object that repeats a key is a fault.
Both are read piece by piece and may be of any size.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Never

import orjson

from freight.contracts.headers import is_like_a_name, listed, name_in, normalise, shown
from freight.errors import SourceError
from freight.parsers.answers import PLACES, TELLING_KEYS, Told, around, at, failure, first_at
from freight.parsers.output import Output, open_counted
from freight.types import Number
from freight.words import counted

PIECE_BYTES = 1 << 20
PIECE_LIMIT_BYTES = 16 << 20  # also the longest line; parsing needs twenty times as much memory
HEADER_ROWS = 50_000  # every key has to appear in one of them
WRAPPER_KEYS = ("data", "items", "results", "records", "value")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OPENING = rb'\s*(?:\[|\{.*?"(%s)"\s*:\s*\[)\s*(?=\{)'  # of a list of objects, bare or under one of some keys
BARE_LIST = re.compile(rb"\s*\[\s*(?=\{)")
BETWEEN_OBJECTS = re.compile(rb"\}\s*,\s*\{")
CUTS_TRIED = 20
KEYS_REMEMBERED = 1_000
PAGE_HEADER = ("record", "mark")
VALUE_LIMIT_CHARS = 4_096  # for a cursor, a number of records or a watermark
MANY_DIGITS = re.compile(rb"[0-9]{18}")  # a double has at most 17 significant digits
# Where a parser finds a value that Python and JavaScript write for a number that is none.
NO_VALUE = re.compile(r"-?(?:NaN|Infinity)\b")
ANOTHER_DOCUMENT = "unexpected content after document"  # orjson's words
AGAIN = "deliver the whole file again; if it is whole, have the program corrected that writes it"
WITHOUT_NAN = "have the program write null for a number that is none, then deliver the file again"
TOO_DEEP = "it is nested more than 250 deep"
TOO_LARGE_FOR_A_DOUBLE, OUT_OF_MEMORY = "infinity", "Not enough memory"  # orjson's names for them

Numbered = tuple[int, object]  # row number and parsed JSON value


class Unparsed(bytes):
    """A line that is not JSON; `why` says so in words."""

    why = ""


BLANK = Unparsed()  # not a row


class Passed(NamedTuple):
    """The place behind some text of a file: its line and character, from 1."""

    line: int = 1
    character: int = 1

    def after(self, text: str) -> "Passed":
        """Return the place behind some more text."""
        lines, last = text.count("\n"), len(text.rpartition("\n")[2])
        return Passed(self.line + lines, last + 1) if lines else Passed(self.line, self.character + last)

    def __str__(self) -> str:
        return f"line {self.line}, character {self.character}"


class Doubled(dict[str, object]):
    """An object that repeats a key; parsers silently keep the last value."""


NESTING = {dict, list, Doubled}


def parse_list(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the objects of a JSON list; row numbers count them from 1.

    Args:
        path: The file.
        wishes: The keys to `ignore`, and the options of a `JsonOptions`.
        output: The output for rows, and for faults: elements that are not flat objects.

    Raises:
        SourceError: The file is empty, not JSON or not a list of objects; it has several lists, a key that shows a
            failure, or says that there is more; an object is too large, or has a key that is not in the first ones.
    """
    with open_counted(path, output) as stream:
        objects = _List(wishes).objects(stream)
        _send(enumerate(map(_emptying(wishes.get("ignore", ())), objects), start=1), output)


def parse_lines(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the objects of JSON Lines; row numbers count lines from 1.

    Args:
        path: The file.
        wishes: The keys to `ignore`.
        output: The output for rows, and for faults: lines that are not flat JSON objects.

    Raises:
        SourceError: The file is empty, a line is too large, or has a key that is not in the first ones.
    """
    with open_counted(path, output) as stream:
        empty = _emptying(wishes.get("ignore", ()))
        _send(((number, empty(record)) for number, record in _numbered_lines(stream)), output)


def parse_known(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the objects of JSON Lines as `parse_lines` does, without unknown keys.

    Args:
        path: The file.
        wishes: The `known` keys to send, by their normalised names.
        output: The output for rows, and for faults: lines that are not JSON objects, or whose known keys are not flat.

    Raises:
        SourceError: As `parse_lines`.
    """
    known = set(wishes["known"])
    is_known = lru_cache(KEYS_REMEMBERED)(lambda key: normalise(key) in known)
    with open_counted(path, output) as stream:
        _send(((number, _with_keys(record, is_known)) for number, record in _numbered_lines(stream)), output)


def _emptying(ignored: Sequence[str]) -> Callable[[object], object]:
    """Return a function that empties the values of ignored keys."""
    names = {normalise(name) for name in ignored}
    is_ignored = lru_cache(KEYS_REMEMBERED)(lambda key: normalise(key) in names)
    return partial(_emptied, is_ignored) if names else lambda record: record


def _emptied(is_ignored: Callable[[str], bool], record: object) -> object:
    if not isinstance(record, dict):
        return record
    return type(record)({key: None if is_ignored(key) else value for key, value in record.items()})


def _with_keys(record: object, is_known: Callable[[str], bool]) -> object:
    if not isinstance(record, dict):
        return record
    return type(record)({key: value for key, value in record.items() if is_known(key)})


def parse_page(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the records of a page of an API, each as a line of JSON.

    Args:
        path: The page, of at most `PIECE_LIMIT_BYTES`: it is parsed as a whole, since a cursor may be at its end.
        wishes: The `records`: the key of the list of records, or None for the usual ones; `keys`: the page's other
            keys to return, where `meta.next` leads into an object; `mark`: a key of the records, or None; `last`: a key
            of the last record, or None; `absent`: keys that the page must not have.
        output: The output for a row per record: the record and its mark, both as JSON. Row 0 has the values of the
        other keys instead, and that of `last`.

    Raises:
        SourceError: The page is not JSON, has no list, is empty or too large, or has a key that must be absent.
    """
    document = _whole(path, output)
    beside = around(document, wishes["records"])
    _refuse_failure(beside, wishes["absent"])
    records = objects_of(document, wishes["records"])
    output.begin(PAGE_HEADER)
    last = records[-1] if records and isinstance(records[-1], dict) else {}
    values = [_value(key, first_at(beside, key)) for key in wishes["keys"]]
    output.row(0, [f"[{','.join(values)}]", _bounded(wishes["last"], last.get(wishes["last"]))])
    for number, record in enumerate(records, start=1):
        marked = record if isinstance(record, dict) else {}
        output.row(number, [_line(record), _bounded(wishes["mark"], marked.get(wishes["mark"]))])


def _refuse_failure(answers: Sequence[Mapping[str, Any]], absent: Sequence[str]) -> None:
    """Refuse records beside which a key shows a failure.

    Args:
        answers: The objects around the list of records.
        absent: The keys that show a failure if they have a value.
    """
    has_list = any(isinstance(value, list) for answer in answers for value in answer.values())
    if has_list and (why := failure(answers)):
        raise SourceError("unsupported", f"{why}, so it may be incomplete", remedy="ask the sender for all records")
    found = next((key for key in absent if first_at(answers, key)), None)
    if found is not None and has_list:
        raise SourceError(
            "unsupported",
            f"it has {found!r} beside its records, so it may be incomplete",
            remedy="ask the sender for all records; if the key means something else, leave it out of `absent_keys`: "
            f"`options: {{absent_keys: [{', '.join(key for key in absent if key != found)}]}}`",
        )


def _whole(path: Path, output: Output) -> object:
    with open_counted(path, output) as stream:
        content = stream.read().removeprefix(BYTE_ORDER_MARK)
    if not content.strip():
        raise _empty()
    try:
        return loads(content)
    except ValueError as error:
        raise _not_json(error, content) from None


def _value(key: str, value: object) -> str:
    """Return a value of a page as JSON; for a list or an object, whether it has content."""
    return _bounded(key, bool(value) if isinstance(value, (dict, list)) else value)


def _bounded(key: str | None, value: object) -> str:
    text = str(value) if isinstance(value, Number) else orjson.dumps(value).decode()
    if len(text) > VALUE_LIMIT_CHARS:
        raise SourceError("too_large", f"{key} has {len(text):,} characters", remedy="ask the owner of the API")
    return text


def _line(record: object) -> str:
    """Return a record as a line of JSON, repeated keys included."""
    line = orjson.dumps(record).decode()
    return f"{line[:-1]},{line[1:]}" if isinstance(record, Doubled) else line


def _empty() -> SourceError:
    return SourceError("empty", "the file is empty", remedy="deliver the file again")


def _refuse_no_lines(stream: BinaryIO) -> None:
    start = stream.read(PIECE_BYTES)
    if not start.strip():
        raise _empty()
    if BARE_LIST.match(start.removeprefix(BYTE_ORDER_MARK)):
        raise SourceError(
            "unsupported",
            "the file is one list of objects, not one object a line",
            remedy="say `reader: json` in the catalog, then `dpa retry`",
        )
    stream.seek(0)


class _List:
    """The list of a file, parsed piece by piece."""

    def __init__(self, wishes: Mapping[str, Any]) -> None:
        self._wishes = wishes
        self._named: str | None = wishes.get("records")
        keys = WRAPPER_KEYS if self._named is None else (self._named,)
        self._pattern = re.compile(OPENING % "|".join(map(re.escape, keys)).encode(), re.DOTALL)

    def objects(self, stream: BinaryIO) -> Iterator[object]:
        """Yield the elements of the list; what stands beside it is judged at the end."""
        rest = stream.read(PIECE_BYTES).removeprefix(BYTE_ORDER_MARK)
        if not rest.strip():
            raise _empty()
        opening = self._opening(rest)
        rest, given, passed = rest[len(opening) :], 0, Passed().after(opening.decode())
        while more := stream.read(max(PIECE_BYTES, len(rest))):
            content = rest + more
            whole, rest = _cut(content) if opening else ([], content)
            yield from whole
            given += len(whole)
            passed = passed.after(content[: len(content) - len(rest)].decode(errors="replace"))
            if len(rest) > PIECE_LIMIT_BYTES:
                raise _too_long(opening, rest, given, passed)
        yield from self._last_objects(opening, rest, given, passed)

    def _opening(self, start: bytes) -> bytes:
        """Return the text before the first object; empty if the list cannot be read piece by piece."""
        found = self._pattern.match(start)
        if not found:
            return b""
        try:
            loads(found[0] + (b"]}" if found[1] else b"]"))
        except ValueError:
            return b""
        return found[0]

    def _last_objects(self, opening: bytes, rest: bytes, given: int, passed: Passed) -> list[object]:
        """Return the rest of the list, which has to have its end.

        Raises:
            SourceError: The JSON is broken or not a list; or what stands beside the list speaks against it.
        """
        try:
            document = loads(opening + rest)
        except ValueError as error:
            raise _not_json(error, opening + rest, opening, given, passed) from None
        beside = around(document, self._named)
        _refuse_failure(beside, self._wishes.get("absent_keys", ()))
        objects = objects_of(document, self._named)
        if beside and not self._wishes.get("pages"):
            _refuse_part(beside, given + len(objects), self._wishes.get("total_key"))
        return objects


def _refuse_part(answers: Sequence[Mapping[str, Any]], records: int, total_key: str | None) -> None:
    """Refuse a file that says that it is not the whole list.

    Raises:
        SourceError: It says so.
    """
    told = Told(values={key: first_at(answers, key) for key in TELLING_KEYS}, records=records)
    if total_key and str(total := first_at(answers, total_key)) != str(records):
        raise _part(f"its {total_key} says {total}, and {records} records came", "correct `total_key` in the catalog")
    if why := next(told.more(), None):
        raise _part(why)
    if total_key is None and (why := next(told.miscounts(), None)):
        raise _part(why, 'if it counts something else, add `options: {total_key: ""}`')


def _part(why: str, *remedies: str) -> SourceError:
    whole = "deliver the whole list in one file", "if each file is a page of it, add `options: {pages: true}`"
    return SourceError("unsupported", f"it may not be the whole list: {why}", remedy="; ".join((*whole, *remedies)))


def _cut(content: bytes) -> tuple[list[object], bytes]:
    """Return the complete objects of the content, and the rest of it.

    A comma separates two objects, and is not inside a text or an object, if the text before it is a complete list.
    """
    for cut in reversed([*BETWEEN_OBJECTS.finditer(content)][-CUTS_TRIED:]):
        try:
            objects = loads(b"[" + content[: cut.start() + 1] + b"]")
        except ValueError:
            continue
        assert isinstance(objects, list)
        return objects, content[cut.end() - 1 :]
    return [], content


def _not_json(
    error: ValueError,
    content: bytes,
    opening: bytes = b"",
    given: int = 0,
    passed: Passed = Passed(),  # noqa: B008
) -> SourceError:
    """Return why a text is not JSON, with the place of the fault.

    Args:
        error: The error of the parser.
        content: The text.
        opening: The start of the text that stands for what was parsed before.
        given: The number of elements that were parsed before.
        passed: The place behind them.
    """
    if not isinstance(error, json.JSONDecodeError):
        return _corrupt(str(error), given, AGAIN)
    text = content.decode(errors="replace")
    place = passed.after(text[len(opening.decode()) : error.pos])
    told, remedy = _fault_at(text, error)
    return _corrupt(f"{told} ({place})", given, remedy)


def _corrupt(told: str, given: int, remedy: str) -> SourceError:
    return SourceError("corrupt", f"not valid JSON: {told}", row=given + 1 if given else None, remedy=remedy)


def _fault_at(text: str, error: json.JSONDecodeError) -> tuple[str, str]:
    """Return what is wrong at the place of an error, and the remedy."""
    if found := NO_VALUE.match(text, error.pos - text[: error.pos].endswith("-")):
        return f"{found[0]} is no value of JSON", WITHOUT_NAN
    if error.msg == ANOTHER_DOCUMENT:
        return "another document begins after the end of the first one", _one_document(text, error.pos)
    return error.msg, AGAIN


def _one_document(text: str, end: int) -> str:
    """Return the remedy for a file with several documents, the first of which ends at a place."""
    first, one_list = text[:end].strip(), "have it written as one list of objects"
    if not first.startswith("{") or "\n" in first:
        return one_list
    return f"if each line is an object, say `reader: jsonl` in the catalog, then `dpa retry`; else {one_list}"


def _too_long(opening: bytes, rest: bytes, given: int, passed: Passed) -> SourceError:
    """Return why a piece does not end: the JSON is broken, or one element is too long."""
    try:
        loads(opening + rest)
    except json.JSONDecodeError as error:
        if error.pos < len(rest):
            return _not_json(error, opening + rest, opening, given, passed)
    return SourceError(
        "too_large",
        f"an element of the list is longer than {PIECE_LIMIT_BYTES >> 20} MiB",
        row=given + 1,
        remedy="deliver a list of flat objects, bare or as the first in its file, or JSON Lines with `reader: jsonl`",
    )


def loads(content: bytes) -> object:
    """Parse a JSON text; a `Doubled` stands for an object that repeats a key.

    Numbers with more digits than a double holds are returned as text.

    Raises:
        ValueError: The text is not JSON.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        if OUT_OF_MEMORY in error.msg:
            raise MemoryError from None
        if TOO_LARGE_FOR_A_DOUBLE not in error.msg:
            raise
        return _loads_exactly(content)
    return document if _is_complete(content, document) else _loads_exactly(content)


def _is_complete(content: bytes, document: object) -> bool:
    """Whether a document holds all of its text: each key and each text has two quotation marks."""
    if MANY_DIGITS.search(content) or rb"\u0022" in content:
        return False
    return content.count(b'"') == _dumped(document).count(b'"')


def _loads_exactly(content: bytes) -> object:
    """Parse more slowly, without losing anything."""
    try:
        document = json.loads(
            content,
            object_pairs_hook=_noting_doubled,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    _dumped(document)
    return document


def _dumped(document: object) -> bytes:
    """Return the text of a document; refuse half of a surrogate pair, and too much nesting."""
    try:
        return orjson.dumps(document)
    except TypeError as error:
        raise ValueError(TOO_DEEP if "ecursion" in str(error) else str(error)) from None


def _noting_doubled(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    return record if len(record) == len(pairs) else Doubled(record)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def objects_of(document: object, named: str | None = None) -> list[object]:
    """Return the list that a document is, or holds under a key.

    Args:
        document: The document.
        named: The key of the list, or the path of keys to it; None for the usual keys.

    Raises:
        SourceError: There is no list, or it is unclear which of several it is.
    """
    if isinstance(document, Doubled):
        raise SourceError(
            "unsupported", "the object around the list names a key twice", remedy="deliver one list of objects"
        )
    found = document
    if isinstance(document, dict):
        found = at(document, _key_of_list(document) if named is None else named)
    if not isinstance(found, list):
        lists = [*_lists_in(document)] or ["rows"]
        lines = " or ".join(f"`options: {{records: {path}}}`" for path in lists)
        raise SourceError(
            "unsupported",
            "the JSON is not a list of objects",
            remedy=f"deliver a list, bare or under one of the keys {', '.join(WRAPPER_KEYS)}; or name the list in the "
            f"catalog: {lines}",
        )
    return found


def _lists_in(document: object, path: str = "") -> Iterator[str]:
    """Yield the paths of keys to the lists of objects within an object."""
    if not isinstance(document, dict):
        return
    for key, value in document.items():
        if not is_like_a_name(key):
            continue
        if _has_objects(value):
            yield f"{path}{key}"
        yield from _lists_in(value, f"{path}{key}.")


def _key_of_list(document: Mapping[str, object]) -> str:
    """Return the usual key of a list of records; empty if there is none.

    Raises:
        SourceError: Another key holds objects, too, so it is unclear which of them are the records.
    """
    usual = [key for key in WRAPPER_KEYS if isinstance(document.get(key), list)]
    filled = [key for key, value in document.items() if key not in PLACES and _has_objects(value)]
    if len(filled) > 1 or (usual and not {*filled} <= {*usual}):
        lists = [*dict.fromkeys([*filled, *usual[:1]])]
        lines = " or ".join(f"`options: {{records: {key}}}`" for key in lists if is_like_a_name(key))
        raise SourceError(
            "unsupported",
            f"the JSON has several lists: {listed(lists)}, and nothing says which one holds the records",
            remedy=f"say it in the catalog: {lines}; or deliver one list",
        )
    return next(iter([key for key in filled if key in usual] or usual), "")


def _has_objects(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(element, dict) for element in value)


def _numbered_lines(stream: BinaryIO) -> Iterator[Numbered]:
    _refuse_no_lines(stream)
    number = 0
    while lines := stream.readlines(PIECE_BYTES):
        records = _parsed_together(lines) or map(_parsed_line, lines, range(number + 1, number + 1 + len(lines)))
        for number, record in enumerate(records, start=number + 1):  # noqa: B020 - goes on counting
            if record is not BLANK:
                yield number, record


def _parsed_together(lines: Sequence[bytes]) -> list[object]:
    """Return the objects of lines that are surely one flat object each; else None."""
    bare = [line.strip() for line in lines]
    if not all(line.startswith(b"{") and line.endswith(b"}") for line in bare):
        return []
    try:
        # No text spans a line end, so no flat object does.
        records = loads(b"[" + b",\n".join(bare) + b"]")
    except ValueError:
        return []
    assert isinstance(records, list)
    return records if len(records) == len(lines) and all(map(_is_flat, records)) else []


def _parsed_line(line: bytes, number: int) -> object:
    if len(line) > PIECE_LIMIT_BYTES:
        raise SourceError(
            "too_large",
            f"the line is longer than {PIECE_LIMIT_BYTES >> 20} MiB",
            row=number,
            remedy="write one object a line",
        )
    bare = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
    if not bare.strip():
        return BLANK
    try:
        return loads(bare)
    except ValueError as error:
        unparsed = Unparsed(line)
        unparsed.why = _not_json(error, bare).message.replace("line 1, ", "")
        return unparsed


def _header(rows: Sequence[Numbered]) -> list[str]:
    """Return the keys of all objects, in order of first appearance."""
    if not rows:
        raise SourceError("header_only", "there is no object in the file", remedy="deliver the rows")
    keys = dict.fromkeys(key for _, record in rows if isinstance(record, dict) for key in record)
    if not keys:
        raise SourceError(
            "unsupported",
            f"none of the first {counted(len(rows), 'record')} is a JSON object with a key",
            remedy="deliver a list of objects (`reader: json`), or one object a line (`reader: jsonl`)",
        )
    return [*keys]


def _is_flat(record: object) -> bool:
    return type(record) is dict and NESTING.isdisjoint(map(type, record.values()))


def _send(rows: Iterator[Numbered], output: Output) -> None:
    first = [*islice(rows, HEADER_ROWS)]
    header = _header(first)
    output.begin(header)
    for number, record in chain(first, rows):
        if not _is_flat(record):
            _send_fault(number, record, output)
            continue
        assert isinstance(record, dict)
        output.row(number, _cells(record, header, number))


def _cells(record: dict[str, object], header: Sequence[str], number: int) -> list[str]:
    if [*record] == header:
        return [value if type(value) is str else _text(value) for value in record.values()]
    unknown = next((key for key in record if key not in header), None)
    if unknown is not None:
        raise _new_key(number, unknown)
    return [_text(record.get(key)) for key in header]


def _send_fault(number: int, record: object, output: Output) -> None:
    match record:
        case Unparsed():
            output.fault(number, None, "ragged_row", f"the line is {record.why}", record.rstrip(b"\r\n"))
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
        f"the key {shown(key)} is in none of the first rows",
        row=number,
        column=name_in(key),
        remedy="give every object the same keys, or declare the column in the contract",
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else Number(value)
