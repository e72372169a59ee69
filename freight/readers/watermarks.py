"""Watermarks: the value of a growing column up to which a source has been read, kept as text between loads."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from freight.errors import SourceError

# How to write and read back the values of a column, by the type that the driver returns.
CODECS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "integer": (int, str, int),
    "decimal": (Decimal, str, Decimal),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "text": (str, str, str),
}
TIME_TEXT = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d.*)?")
BEHIND = 3  # the place of the number of rows in a note
DATE_CHARS = len("2026-01-01")
OVERLAP_S = 3_600  # few transactions take longer from their timestamp to their commit
OVERLAP_NUMBERS = 10_000  # drawn by transactions that commit later than others with higher numbers


@dataclass(frozen=True)
class Overlap:
    """The span before a watermark that is read again: what commits late has a watermark that was passed already.

    Attributes:
        seconds: The span before a time.
        numbers: The span before a number, in its own unit.
    """

    seconds: int = OVERLAP_S
    numbers: int = OVERLAP_NUMBERS


def note(column: str, value: object, behind_rows: int | None = None) -> str:
    """Return a watermark as text.

    Args:
        column: The column or key of the watermark.
        value: The watermark.
        behind_rows: The number of rows behind its overlap, if it is known.

    Raises:
        SourceError: A value of this kind does not grow.
    """
    kind = _kind(value)
    parts = [column, kind, CODECS[kind][1](value)]
    return orjson.dumps(parts if behind_rows is None else [*parts, behind_rows]).decode()


def recall(column: str, noted: str | None) -> Any:
    """Return the value in a note; None if there is no note, or it is of another column.

    Args:
        column: The column that the note must be of.
        noted: The text that `note` returned, or another note of a reader.
    """
    parts = orjson.loads(noted) if noted else None
    if not isinstance(parts, list) or parts[0] != column:
        return None
    _, kind, text, *_ = parts
    return CODECS[kind][2](text)


def behind_rows_in(noted: str | None) -> int | None:
    """Return the number of rows behind the overlap of a watermark according to its note; None if it has none."""
    parts = orjson.loads(noted) if noted else []
    return parts[BEHIND] if isinstance(parts, list) and len(parts) > BEHIND else None


def are_alike(value: object, other: object) -> bool:
    """Whether two values may be compared as watermarks.

    Raises:
        SourceError: One of them is not a watermark.
    """
    return _kind(value) == _kind(other)


def _kind(value: object) -> str:
    found = next((kind for kind, (holds, _, _) in CODECS.items() if isinstance(value, holds)), None)
    if found is None:
        message = f"a {type(value).__name__}, such as {value!r}, cannot be a watermark"
        raise SourceError("unsupported", message, remedy="name a column with times or growing numbers as `watermark`")
    return found


def instant_in(value: object, zone: str) -> datetime | None:
    """Return the instant of a value; None if it is not a time.

    Args:
        value: A date, a time, or the ISO 8601 text of either.
        zone: The time zone of times without an offset.
    """
    if isinstance(value, str):
        value = _time_in(value)
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone))
    return datetime(value.year, value.month, value.day, tzinfo=ZoneInfo(zone)) if isinstance(value, date) else None


def _time_in(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if TIME_TEXT.fullmatch(text) else None
    except ValueError:
        return None


def like(sample: object, instant: datetime, zone: str) -> Any:
    """Return an instant in the form of a sample, rounded down to the precision of that form.

    Args:
        sample: A date, a time, or the ISO 8601 text of either.
        instant: The instant to write.
        zone: The time zone of times without an offset.
    """
    if isinstance(sample, str):
        written = like(datetime.fromisoformat(sample), instant, zone)
        # Texts are compared as texts, and a prefix of another text sorts before it.
        plain = written.replace(microsecond=0, tzinfo=None)
        return plain.isoformat(sep=sample[DATE_CHARS])[: len(sample)] if len(sample) > DATE_CHARS else str(plain.date())
    if isinstance(sample, datetime):
        if sample.tzinfo:
            return instant.astimezone(sample.tzinfo)
        return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return instant.astimezone(ZoneInfo(zone)).date()


def before(value: Any, overlap: Overlap, zone: str) -> Any:
    """Return the value an overlap earlier, in the same form; a text that is not a time stays as it is.

    Raises:
        SourceError: A value of this kind does not grow.
    """
    instant = instant_in(value, zone)
    if instant is not None:
        return like(value, instant - timedelta(seconds=overlap.seconds), zone)
    match _kind(value):
        case "text":
            return value
        case "bytes":  # a rowversion of an SQL Server
            return max(0, int.from_bytes(value) - overlap.numbers).to_bytes(len(value))
        case _:
            return value - overlap.numbers


def blind_spot(value: Any, column: str, overlap: Overlap, zone: str) -> str:
    """Return a note for people about the rows that a watermark misses; empty for a time.

    Args:
        value: A watermark.
        column: The name of its column or key.
        overlap: The overlap of the source.
        zone: The time zone of times without an offset.
    """
    if value is None or instant_in(value, zone) is not None:
        return ""
    remedy = "name a time of the last change as `watermark` if there is one"
    if isinstance(value, str):
        return (
            f"{column} is a text and has no overlap, so a row that commits after a higher one may be missed: {remedy}"
        )
    return (
        f"{column} is not a time: a row that commits more than {overlap.numbers} behind the highest one may be missed: "
        f"{remedy}, or raise `overlap`"
    )


def in_words_of(value: Any, overlap: Overlap, zone: str) -> Any:
    """Return `before` a value, in the notation of its writer: a time in full, with the offset that it had."""
    time = _time_in(value) if isinstance(value, str) else None
    if time is None or len(value) == DATE_CHARS:
        return before(value, overlap, zone)
    earlier = (time - timedelta(seconds=overlap.seconds)).replace(microsecond=0).isoformat(sep=value[DATE_CHARS])
    return earlier.removesuffix("+00:00") + "Z" if value.endswith("Z") else earlier


def utc(instant: datetime) -> datetime:
    """Return an instant in UTC; one without an offset counts as UTC."""
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
