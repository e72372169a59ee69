"""Turns messages into text cells: parses the plain messages of a micro-batch together, the others one by one.

The fast path accepts only messages that it certainly reads as the strict path would: one JSON object with exactly the
fields of its neighbours, without escapes and nesting. All other messages take the strict path, which names the fault
of a message. A test compares the two.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache
from typing import NamedTuple

import orjson
import polars as pl

from freight.contracts import Contract
from freight.contracts.headers import known_headers, normalise, shown
from freight.frames import PARTITION, ROW_NUMBER, BadRow, bad_rows
from freight.types import FaultCode

# A message as the broker delivers it: `value` is null in a tombstone, `sent_us` is microseconds since 1970, UTC.
MESSAGE_SCHEMA = pl.Schema({PARTITION: pl.Int64, "offset": pl.Int64, "sent_us": pl.Int64, "value": pl.Binary})

SCHEMA_VERSION = "schema_version"  # optional field of a message: the version of its contract
SPELLINGS = 1_000  # sets of fields to remember
LOOKED_AT = 100  # messages to search for the usual fields
SHOWN_CHARS = 80
EXACT = Context(prec=800)  # digits; no float has more
LONGEST_WHOLE_FLOAT = 2.0**53  # above it a float skips whole numbers

_TEXT = r'"[^"\\\x00-\x1f]*"'  # without escapes
_NUMBER = r"-?(?:0|[1-9][0-9]{0,37})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"  # a longer one stops the fast parser
_CELL = rf"(?:{_TEXT}|{_NUMBER}|true|false|null)"
_FIELD = rf"[ \t]*{_TEXT}[ \t]*:[ \t]*{_CELL}[ \t]*"
FLAT_OBJECT = rf"^[ \t]*\{{{_FIELD}(?:,{_FIELD})*\}}[ \t]*$"  # an object on one line without nesting and escapes

Field = str  # a field in the spelling of a message


@dataclass(frozen=True)
class Decoded:
    """Messages as text.

    Attributes:
        rows: The `row_number` (place of the message in the series) and the contract's columns as text.
        faults: The messages that yield no row, as `BAD_ROWS_SCHEMA`; `raw` is empty.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame


def decode(values: pl.Series, contract: Contract) -> Decoded:
    """Turn messages into rows of text.

    Args:
        values: The binary messages; null for a tombstone.
        contract: The contract with the columns; a field may be spelled as any alias.
    """
    fields = _fields_of(contract)
    numbered = pl.DataFrame({ROW_NUMBER: pl.int_range(len(values), eager=True), "value": values})
    text = _as_text(values)
    usual = _usual_fields(values, fields)
    fast = _decode_plain(numbered[ROW_NUMBER], text, usual, fields) if usual else None
    if fast is None:
        return _decode_strictly(numbered, fields)
    if fast.height == numbered.height:
        return Decoded(fast, bad_rows())
    rest = numbered.filter(~numbered[ROW_NUMBER].is_in(fast[ROW_NUMBER].implode()))
    strict = _decode_strictly(rest, fields)
    return Decoded(pl.concat([fast, strict.rows]).sort(ROW_NUMBER), strict.faults)


class MessageFault(NamedTuple):
    """The fault of a message.

    Attributes:
        reason: The reason code.
        column_name: The column; None for the whole message.
        detail: The explanation for people.
    """

    reason: FaultCode
    column_name: str | None
    detail: str


class _Fields:
    """The mapping from the fields of a message to columns."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._version = str(contract.version)
        self._known = {**known_headers(contract), SCHEMA_VERSION: SCHEMA_VERSION}
        self._needed = [column.name for column in contract.columns if not column.optional]
        self._seen: dict[tuple[Field, ...], list[str]] = {}

    def columns(self, names: tuple[Field, ...]) -> list[str] | MessageFault:
        """Return the column of each field, or the fault in them."""
        if names in self._seen:
            return self._seen[names]
        columns = [self._known.get(name) or self._known.get(normalise(name)) for name in names]
        if fault := self._fault(names, columns):
            return fault
        found = [column or "" for column in columns]
        if len(self._seen) < SPELLINGS:
            self._seen[names] = found
        return found

    def _fault(self, names: Sequence[Field], columns: Sequence[str | None]) -> MessageFault | None:
        for name, column in zip(names, columns, strict=True):
            if column is None:
                return MessageFault("unknown_field", None, f"the contract does not know the field {shown(name)}")
            if columns.count(column) > 1:
                return MessageFault("doubled_field", column, f"more than one field means {column}")
        missing = next((name for name in self._needed if name not in columns), None)
        return MessageFault("missing_field", missing, f"the field {missing} is missing") if missing else None

    def cells(self, record: Mapping[Field, object]) -> dict[str, str | None] | MessageFault:
        """Return the cells of a message by column, or its fault."""
        columns = self.columns(tuple(record))
        if isinstance(columns, MessageFault):
            return columns
        cells: dict[str, str | None] = {}
        for column, value in zip(columns, record.values(), strict=True):
            if isinstance(value, (dict, list)):
                return MessageFault("nested_value", column, "a list or an object where a value belongs")
            cells[column] = value if type(value) is str else _text(value)
        version = cells.pop(SCHEMA_VERSION) if SCHEMA_VERSION in cells else self._version
        if version != self._version:
            detail = f"schema version {str(version)[:SHOWN_CHARS]}, but the contract has {self._version}"
            return MessageFault("schema_version", None, detail)
        return cells


@cache
def _fields_of(contract: Contract) -> _Fields:
    return _Fields(contract)


def _as_text(values: pl.Series) -> pl.Series:
    """Return messages as text; null if they are not UTF-8."""
    return pl.concat(_text_parts(values))


def _text_parts(values: pl.Series) -> Iterator[pl.Series]:
    """Cast messages; on failure cast each half, until a message that is not UTF-8 is alone."""
    try:
        yield values.cast(pl.String)
    except pl.exceptions.ComputeError:
        if len(values) == 1:
            yield pl.Series([None], dtype=pl.String)
            return
        middle = len(values) // 2
        yield from _text_parts(values[:middle])
        yield from _text_parts(values[middle:])


def _usual_fields(values: pl.Series, fields: _Fields) -> list[Field]:
    """Return the fields of the first valid message, in its spelling."""
    for value in values.head(LOOKED_AT):
        record = _parse(value) if value is not None else None
        if isinstance(record, dict) and isinstance(fields.cells(record), dict):
            return list(record)
    return []


def _decode_plain(numbers: pl.Series, text: pl.Series, usual: Sequence[Field], fields: _Fields) -> pl.DataFrame | None:
    """Return the rows of plain messages, or None if the parser refuses one of them."""
    plain = _is_plain(text, usual)
    parsed = _parse_together(text.filter(plain), usual)
    if parsed is None:
        # One of them looks like JSON but is not, and the parser does not say which one.
        plain &= text.str.contains(FLAT_OBJECT).fill_null(value=False)
        parsed = _parse_together(text.filter(plain), usual)
    if parsed is None:
        return None
    certain = _is_certain(parsed, text.filter(plain), usual, fields)
    columns = zip(usual, fields.columns(tuple(usual)), strict=True)
    rows = parsed.select(pl.col(field).alias(str(column)) for field, column in columns if column != SCHEMA_VERSION)
    return _in_order(rows.insert_column(0, numbers.filter(plain)).filter(certain), fields)


def _is_plain(text: pl.Series, usual: Sequence[Field]) -> pl.Series:
    """Mark messages on one line, without escapes and nesting, and with the usual number of fields."""
    special = text.str.contains(r"[\n\r\\\[]")
    fields = text.str.count_matches('":', literal=True)
    objects = text.str.count_matches("{", literal=True)
    return (~special & (fields == len(usual)) & (objects == 1)).fill_null(value=False)


def _parse_together(text: pl.Series, usual: Sequence[Field]) -> pl.DataFrame | None:
    schema = dict.fromkeys(usual, pl.String)
    if text.is_empty():
        return pl.DataFrame(schema=schema)
    try:
        return text.str.json_decode(pl.Struct(schema)).struct.unnest()
    except pl.exceptions.PolarsError:
        return None


def _is_certain(parsed: pl.DataFrame, text: pl.Series, usual: Sequence[Field], fields: _Fields) -> pl.Series:
    """Mark rows with each field exactly once; there the parser cannot have left one out."""
    certain = pl.repeat(True, parsed.height, eager=True)
    if SCHEMA_VERSION in usual:
        certain &= (parsed[SCHEMA_VERSION] == str(fields.contract.version)).fill_null(value=False)
    for field in usual:
        if parsed[field].null_count():
            # It may be null, or missing while another field is doubled or unknown.
            certain &= parsed[field].is_not_null() | text.str.contains(f'"{field}":', literal=True)
    return certain


def _parse(value: bytes) -> object:
    """Return the document of a message, or the parser's error; null is a document too."""
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return error
    cells = record.values() if isinstance(record, dict) else ()
    has_long_number = any(isinstance(cell, float) and abs(cell) > LONGEST_WHOLE_FLOAT for cell in cells)
    return json.loads(value) if has_long_number else record  # orjson rounds whole numbers of more than 64 bits


def _decode_strictly(numbered: pl.DataFrame, fields: _Fields) -> Decoded:
    records, faults = [], []
    for number, value in numbered.iter_rows():
        record = _read(value, fields)
        if isinstance(record, MessageFault):
            faults.append(BadRow(number, record.column_name, record.reason, record.detail, b""))
        else:
            records.append((number, record))
    names = fields.contract.column_names
    rows = pl.DataFrame(
        {ROW_NUMBER: [number for number, _ in records]}
        | {name: [record.get(name) for _, record in records] for name in names},
        schema={ROW_NUMBER: pl.Int64, **dict.fromkeys(names, pl.String)},
    )
    return Decoded(rows, bad_rows(faults))


def _read(value: bytes | None, fields: _Fields) -> dict[str, str | None] | MessageFault:
    """Return the cells of one message by column, or its fault."""
    if value is None:
        return MessageFault("tombstone", None, "the message has no value; messages delete nothing")
    record = _parse(value)
    if isinstance(record, orjson.JSONDecodeError):
        return _why_not_json(value, record)
    if not isinstance(record, dict):
        return MessageFault("not_object", None, "the message is JSON, but not an object")
    if value.count(b'":') != len(record) and (doubled := _doubled_field(value)):
        return MessageFault("doubled_field", None, f"the field {shown(doubled)} occurs twice")
    return fields.cells(record)


def _why_not_json(value: bytes, parsed: orjson.JSONDecodeError) -> MessageFault:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return MessageFault("bad_encoding", None, f"not UTF-8 at byte {error.start}")
    if not value.strip():
        return MessageFault("not_json", None, "the message is empty")
    return MessageFault("not_json", None, f"{parsed.msg} at character {parsed.pos}")


def _doubled_field(value: bytes) -> Field | None:
    """Return a field that an object of the message has twice; parsers silently keep the last one."""
    doubled: list[Field] = []

    def note(pairs: Iterable[tuple[Field, object]]) -> dict[Field, object]:
        seen: dict[Field, object] = {}
        for field, cell in pairs:
            if field in seen:
                doubled.append(field)
            seen[field] = cell
        return seen

    json.loads(value, object_pairs_hook=note)
    return doubled[0] if doubled else None


def _text(value: object) -> str | None:
    """Write a value as the fast parser does: numbers without an exponent, whole ones without a decimal point."""
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float():
            return _float_text(value)
        case _:
            return str(value)


def _float_text(value: float) -> str:
    """Return the shortest text of a number; of two that are equally close, the larger one, as the fast parser does."""
    shortest = Decimal(repr(value))
    if not value.is_integer():
        rounded = Decimal(value).quantize(shortest, ROUND_HALF_UP, EXACT)
        shortest = rounded if float(rounded) == value else shortest
    return f"{shortest:f}".removesuffix(".0")


def _in_order(rows: pl.DataFrame, fields: _Fields) -> pl.DataFrame:
    """Return `row_number` and all columns of the contract; columns missing from all messages are null."""
    missing = [name for name in fields.contract.column_names if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
    return rows.select(ROW_NUMBER, *fields.contract.column_names)
