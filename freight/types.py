"""Small types that cross module borders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NewType, Protocol, Self

import orjson

from freight.words import counted

RunId = NewType("RunId", str)
BatchId = NewType("BatchId", int)


class Number(str):
    """A number as its source stores it, with all its digits; a number that a source writes as text is a plain text."""

    __slots__ = ()


JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def row_as_json(row: Mapping[str, object] | Sequence[object]) -> bytes:
    """Return the cells of a row as JSON; a `Number` is a number with all its digits."""
    cells = {name: _stored(cell) for name, cell in row.items()} if isinstance(row, Mapping) else [*map(_stored, row)]
    return bytes(memoryview(orjson.dumps(cells)))  # a copy: the original holds a buffer of kilobytes


def _stored(cell: object) -> object:
    is_number = isinstance(cell, Number) and JSON_NUMBER.fullmatch(cell)
    return orjson.Fragment(str(cell)) if is_number else cell


@lru_cache(maxsize=1_000)
def native_numbers(kinds: tuple[type, ...]) -> str:
    """Return the signs of a row whose cells have these types: "1" for a `Number`, "0" for text."""
    return "".join("1" if kind is Number else "0" for kind in kinds)


ROWS_OF_A_SHEET = 10_000_000  # more than a sheet can have: the numbers of its rows differ from those of other sheets
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Cause = Literal["load", "replay", "import"]

GapKind = Literal["retention", "recreated", "truncated"]

# Why a row cannot be used, where a reader, a stream or the warehouse says so; a rule that a row breaks has its code in
# `freight.contracts.rules`.
FaultCode = Literal[
    "tombstone",
    "not_json",
    "not_object",
    "unknown_field",
    "missing_field",
    "doubled_field",
    "schema_version",
    "sent_at_out_of_range",
    "unprocessable",
    "ragged_row",
    "bad_encoding",
    "nested_value",
    "row_too_large",
    "excel_error",
    "shown_otherwise",
    "merged_cells",
    "no_text",
    "conflicting_event",
    "refused_by_warehouse",
    "schema_drift",
]
DRIFTED: FaultCode = "schema_drift"  # for rows that are kept because they hold columns that the contract does not know


@dataclass(frozen=True)
class Retention:
    """How long things are kept, in days; the spool files are those of failed runs, which help to find out why."""

    quarantine_days: int = 180
    lineage_days: int = 730
    spool_days: int = 7


class PasswordSource(Protocol):
    """Returns a password for each new connection, so that it may change meanwhile."""

    def __call__(self, *, fresh: bool = False) -> str:
        """Return the password; `fresh` reads it anew, after the cached one was refused."""
        ...


@dataclass(frozen=True)
class Fingerprint:
    """What tells one content of a source from another.

    Attributes:
        content_id: The SHA-256 of a file, or of the state of a table or an API; the topic_id of a partition; the
            consumer group of a parked stream. Empty as long as the content is unseen.
        size_bytes, modified_us: The size and the time of change of a file; 0 for anything else.
        watermark: How far the source is read with this content, as its reader notes it; None if content_id says all.
    """

    content_id: str = ""
    size_bytes: int = 0
    modified_us: int = 0
    watermark: str | None = None


@dataclass(frozen=True)
class Position:
    """What was last loaded from a location of a source.

    Attributes:
        fingerprint: The fingerprint of the content.
        contract_version: The version of the contract that validated it.
        origin_us: The instant it spoke for, in microseconds since 1970 UTC.
        batch_id: The batch that brought it.
        function_version: The version of the function that reshaped it; None without one.
    """

    fingerprint: Fingerprint
    contract_version: int
    origin_us: int
    batch_id: BatchId
    function_version: str | None = None


@dataclass(frozen=True)
class Reshaped:
    """What a source's function did with the rows of a file: rows_in = rows_out + dropped - added.

    Attributes:
        function: The name, as `module.function`.
        version: The version of the function.
        rows_in, rows_out: The numbers of rows that it got and returned.
        dropped: The number of rows that it got and of which it returned none.
        added: The number of rows that it returned beyond one for each row.
        numbers_per_row: How many numbers a row of the file has: the number of a row, divided by this, is that of the
            row of the file from which it came. 1 if the function returned at most one row for each.
    """

    function: str
    version: str
    rows_in: int
    rows_out: int
    dropped: int
    added: int
    numbers_per_row: int

    def __str__(self) -> str:
        told = (
            f"{counted(self.rows_in, 'row')} in, {self.rows_out:,} out, {self.dropped:,} dropped, {self.added:,} added"
        )
        return f"{self.function} ({self.version}): {told}"


@dataclass(frozen=True)
class LoadCounts:
    """How the rows of a load unit ended; the five ways to end always add up to `read`."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    quarantined: int = 0

    def __add__(self, other: "LoadCounts") -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        return ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self))

    @property
    def accounted(self) -> int:
        """The number of rows whose end is known."""
        return self.inserted + self.updated + self.unchanged + self.superseded + self.quarantined

    @property
    def balanced(self) -> bool:
        """Whether every row read is accounted for."""
        return self.read == self.accounted

    @property
    def changed(self) -> int:
        """The number of rows that changed the content of the warehouse."""
        return self.inserted + self.updated


EARLIEST_US, LATEST_US = (
    (instant.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) for instant in (datetime.min, datetime.max)
)


def instant_of(origin_us: int) -> datetime:
    """Return the instant of an origin, in microseconds since 1970 UTC; the nearest there is, of one that is none.

    Earlier releases took over whatever a producer stated, so a warehouse may hold such an origin.
    """
    return EPOCH + timedelta(microseconds=min(max(origin_us, EARLIEST_US), LATEST_US))


def origin_us_of(instant: datetime) -> int:
    """Return an instant in microseconds since 1970 UTC, exactly: a float of seconds would round."""
    return (instant - EPOCH) // timedelta(microseconds=1)
