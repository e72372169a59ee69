"""The expected content of the tables, derived from the acknowledged messages alone.

This is a second implementation of the rules for messages, with the standard library: of the code under test it uses
only the data of the contracts.
"""

import json
import math
import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from freight.contracts import Column, Contract, contract_for
from freight.contracts.rules import Ordered, RequiredBy
from freight.warehouse.connect import Engine, reading
from freight.warehouse.schema import metadata

TRANSACTIONS, TERMINAL_EVENTS = "freight.transactions", "freight.terminal-events"
DATASETS = {TRANSACTIONS: "transactions", TERMINAL_EVENTS: "terminal_events"}
DOUALA = timezone(timedelta(hours=1))  # all year, since 1979

WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffd]"
)
SPACES = re.compile("[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
NOT_FINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)"
SECONDS = r":(?P<second>\d\d)(?:\.(?P<fraction>\d+))?"
OFFSET = r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)"
ISO_DAY = r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[ T]"
INSTANTS = [
    re.compile(text, re.ASCII)
    for text in (
        f"{ISO_DAY}{CLOCK}(?:{SECONDS})?",
        f"{ISO_DAY}{CLOCK}{SECONDS}{OFFSET}",
        rf"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{{4}}) {CLOCK}(?::(?P<second>\d\d))?",
    )
]
ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
    ">": operator.gt,
}
SHOWN_BYTES = 80

Row = dict[str, Any]
Fact = tuple[str, datetime, float | None, str]


class Bad(Exception):
    """A message that belongs in quarantine; its text is the reason code."""


class Place(NamedTuple):
    """The place of a message."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition} offset {self.offset}"


class Totals(NamedTuple):
    """The numbers of a topic's messages by their expected outcome; the last two add up to the first."""

    produced: int
    valid: int
    bad: int


@dataclass
class Produced:
    """Every acknowledged message.

    Attributes:
        now: The instant after which dates are in the future; messages should stay clear of the limit.
        transactions: The topic of the transactions.
    """

    now: datetime
    transactions: str = TRANSACTIONS
    _messages: dict[Place, tuple[int, bytes | None]] = field(default_factory=dict)
    _judged: dict[Place, Row | str] = field(default_factory=dict)

    def add(self, topic: str, partition: int, offset: int, timestamp_ms: int, value: bytes | None) -> None:
        """Note an acknowledged message.

        Raises:
            ValueError: Another one was acknowledged at the same place.
        """
        message = (timestamp_ms, value)
        if self._messages.setdefault(Place(topic, partition, offset), message) != message:
            raise ValueError(f"two messages were acknowledged at {topic}/{partition} offset {offset}")

    def take(self, message: tuple[str, int, int, int, bytes | None]) -> None:
        """Note an acknowledged message from the producer's report."""
        self.add(*message)

    @property
    def messages(self) -> int:
        """The number of messages; it needs no validation of them."""
        return len(self._messages)

    def facts(self) -> dict[str, Fact]:
        """Return machine, instant in UTC, tonnes and status of the newest valid version, by transaction_id.

        Raises:
            ValueError: Two versions are equally new; only the content hash could decide between them.
        """
        newest: dict[str, tuple[tuple[int, int], Fact]] = {}
        origins = self._origins(self.transactions)
        for place, row in self._rows(self.transactions):
            fact = (row["machine_id"], row["transaction_at"], row["volume_transferred_t"], row["status_code"])
            version = (origins[place], place.offset)
            known = newest.setdefault(row["transaction_id"], (version, fact))
            if version == known[0] and fact != known[1]:
                raise ValueError(f"{row['transaction_id']} has two versions that are equally new, one at {place}")
            if version > known[0]:
                newest[row["transaction_id"]] = (version, fact)
        return {key: fact for key, (_, fact) in newest.items()}

    def _origins(self, topic: str) -> dict[Place, int]:
        """Return the newest time of each message and those before it in its partition, in milliseconds."""
        newest: dict[int, int] = {}
        origins = {}
        for place in sorted(place for place in list(self._messages) if place.topic == topic):
            newest[place.partition] = max(newest.get(place.partition, 0), self._messages[place][0])
            origins[place] = newest[place.partition]
        return origins

    def quarantined(self, topic: str = "") -> Counter[tuple[int, int, bytes]]:
        """Return partition, offset and bytes (none for a tombstone) of each bad message of a topic."""
        bad = (place for place, judged in self._judge(topic or self.transactions) if isinstance(judged, str))
        return Counter((place.partition, place.offset, self._messages[place][1] or b"") for place in bad)

    def reasons(self) -> Counter[str]:
        """Return the number of bad transactions by reason code."""
        return Counter(judged for _, judged in self._judge(self.transactions) if isinstance(judged, str))

    def totals(self, topic: str = "") -> Totals:
        """Return the number of messages of a topic, and their expected outcomes."""
        judged = self._judge(topic or self.transactions)
        bad = sum(isinstance(one, str) for _, one in judged)
        return Totals(len(judged), len(judged) - bad, bad)

    @property
    def topics(self) -> list[str]:
        """The topics with messages."""
        return sorted({place.topic for place in list(self._messages)})

    def _rows(self, topic: str) -> Iterable[tuple[Place, Row]]:
        return ((place, judged) for place, judged in self._judge(topic) if not isinstance(judged, str))

    def _judge(self, topic: str) -> list[tuple[Place, Row | str]]:
        contract = contract_for("transactions" if topic == self.transactions else DATASETS[topic])
        places = [place for place in list(self._messages) if place.topic == topic]  # others may add some meanwhile
        for place in places:
            if place not in self._judged:
                self._judged[place] = judge(self._messages[place][1], contract, self.now)
        return [(place, self._judged[place]) for place in places]


def judge(value: bytes | None, contract: Contract, now: datetime) -> Row | str:
    """Return the typed values of a message by column, or the reason code of its quarantine."""
    try:
        fields = _fields(_document(value), contract)
        row = {column.name: _checked(fields.get(column.name), column, now) for column in contract.columns}
        _refuse_broken_rules(row, contract)
    except Bad as bad:
        return str(bad)
    return row


class _Literal(str):
    """A number in its written form."""


def _document(value: bytes | None) -> list[tuple[str, Any]]:
    """Return the keys and values of a message, which must be one JSON object; doubled keys included."""
    if value is None:
        raise Bad("tombstone")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Bad("bad_encoding") from None
    try:
        document = _DECODER.decode(text)
        _refuse_surrogates(document)
    except (ValueError, RecursionError):
        raise Bad("not_json") from None
    if not isinstance(document, _Object):
        raise Bad("not_object")
    return document


class _Object(list[tuple[str, Any]]):
    """A JSON object as a list of pairs."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse_constant
)


def _refuse_surrogates(document: object) -> None:
    """Refuse half a surrogate pair, which an escape can write but no text can hold.

    Raises:
        ValueError: The text has one.
    """
    if isinstance(document, str):
        document.encode()
    elif isinstance(document, (list, tuple)):
        for part in document:
            _refuse_surrogates(part)


def _fields(pairs: list[tuple[str, Any]], contract: Contract) -> dict[str, str | None]:
    """Return the text of each column in a message."""
    if any(isinstance(value, list) for _, value in pairs):
        raise Bad("nested_value")
    names = _names(contract.dataset)
    versions = [value for key, value in pairs if key == "schema_version"]
    named = [(names.get(_normalised(key)), value) for key, value in pairs if key != "schema_version"]
    columns = [name for name, _ in named]
    if None in columns:
        raise Bad("unknown_field")
    if len(set(columns)) < len(columns) or len(versions) > 1:
        raise Bad("doubled_field")
    if any(column.name not in columns and not column.optional for column in contract.columns):
        raise Bad("missing_field")
    if not all(_text(version) == str(contract.version) for version in versions):
        raise Bad("schema_version")
    return {name: _text(value) for name, value in named if name}


@cache
def _names(dataset: str) -> dict[str, str]:
    contract = contract_for(dataset)
    aliases = {_normalised(alias): column.name for column in contract.columns for alias in column.aliases}
    return aliases | {column.name: column.name for column in contract.columns}


@lru_cache(maxsize=10_000)
def _normalised(key: str) -> str:
    bare = "".join(char for char in unicodedata.normalize("NFKD", key) if not unicodedata.combining(char))
    return "_".join(part for part in re.split(r"[\s_]+", bare.casefold()) if part)


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value).strip(WHITE_SPACE) or None


def _checked(text: str | None, column: Column, now: datetime) -> Any:
    if text is None:
        if column.required:
            raise Bad("required")
        return None
    return _CHECKS[column.dtype](text, column, now)


def _refuse_broken_rules(row: Row, contract: Contract) -> None:
    for rule in contract.rules:
        first, second = (row[name] for name in rule.columns)
        match rule:
            case Ordered(order=order) if None not in (first, second) and not ORDERS[order](first, second):
                raise Bad("out_of_order")
            case RequiredBy(values=values) if first is None and second in values:
                raise Bad("required_by")


def _checked_text(text: str, column: Column, _: datetime) -> str:
    text = unicodedata.normalize("NFC", SPACES.sub(" ", text))
    if column.allowed:
        if text.upper() not in column.allowed:
            raise Bad("not_allowed")
        return text.upper()
    if column.pattern:
        if not re.fullmatch(column.pattern, text):
            raise Bad("pattern")
        return text
    if UNSEEN.search(text):
        raise Bad("control_character")
    if len(text) > column.max_length:
        raise Bad("too_long")
    return text


def _checked_number(text: str, column: Column, _: datetime) -> float:
    if NOT_FINITE.fullmatch(text):
        raise Bad("not_finite")
    if not NUMBER.fullmatch(text):
        raise Bad("wrong_type")
    number = float(text)
    if not math.isfinite(number):
        raise Bad("not_finite")
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    if not low <= number <= high:
        raise Bad("out_of_range")
    return number


def _checked_instant(text: str, column: Column, now: datetime) -> datetime:
    instant = _instant(text)
    if column.not_before and instant < datetime.fromisoformat(column.not_before).replace(tzinfo=UTC):
        raise Bad("out_of_range")
    if column.future_limit_s is not None and instant > now + timedelta(seconds=column.future_limit_s):
        raise Bad("future")
    if column.past_limit_s is not None and instant < now - timedelta(seconds=column.past_limit_s):
        raise Bad("too_old")
    return instant


def _instant(text: str) -> datetime:
    """Read an instant; one without an offset is the local time of Douala. Digits beyond microseconds are dropped."""
    found = next((match for pattern in INSTANTS if (match := pattern.fullmatch(text))), None)
    if not found:
        raise Bad("wrong_type")
    parts = found.groupdict()
    numbers = [int(parts.get(name) or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
    fraction = int((parts.get("fraction") or "")[:6].ljust(6, "0"))
    try:
        return datetime(*numbers, fraction, tzinfo=_zone(parts.get("zone"))).astimezone(UTC)  # type: ignore[misc,arg-type]
    except (ValueError, OverflowError):
        raise Bad("wrong_type") from None


def _zone(text: str | None) -> timezone:
    if text is None:
        return DOUALA
    if text == "Z":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-span if text[0] == "-" else span)


_CHECKS: dict[str, Callable[[str, Column, datetime], Any]] = {
    "text": _checked_text,
    "number": _checked_number,
    "instant": _checked_instant,
}


def compare(engine: Engine, produced: Produced) -> list[str]:
    """Return the differences of fact_transactions and the quarantine from the messages, one line for each row.

    The facts must come from these messages alone; in the quarantine only rows from topics with messages count.
    """
    return [*_wrong_facts(_stored_facts(engine), produced.facts()), *_wrong_quarantine(engine, produced)]


def _stored_facts(engine: Engine) -> list[tuple[str, Fact]]:
    table = metadata.tables["fact_transactions"]
    names = ("transaction_id", "machine_id", "transaction_at", "volume_transferred_t", "status_code")
    with reading(engine) as connection:
        rows = connection.execute(sa.select(*(table.c[name] for name in names))).all()
    return [(key, (machine, at, volume, status)) for key, machine, at, volume, status in rows]


def _wrong_facts(stored: list[tuple[str, Fact]], expected: dict[str, Fact]) -> list[str]:
    times = Counter(key for key, _ in stored)
    return [
        *(f"lost: {key}, which must be {expected[key]}" for key in sorted(expected.keys() - times.keys())),
        *(f"doubled: {key} is there {count} times" for key, count in sorted(times.items()) if count > 1),
        *(f"unexpected: {key} is {fact}" for key, fact in sorted(stored, key=repr) if key not in expected),
        *(
            f"wrong content: {key} is {fact} and must be {expected[key]}"
            for key, fact in sorted(stored, key=repr)
            if key in expected and fact != expected[key]
        ),
    ]


def _wrong_quarantine(engine: Engine, produced: Produced) -> list[str]:
    expected = Counter(
        {
            (Place(topic, partition, offset), raw): count
            for topic in produced.topics
            for (partition, offset, raw), count in produced.quarantined(topic).items()
        }
    )
    stored = _stored_quarantine(engine, set(produced.topics))
    lost, surplus = expected - stored, stored - expected
    return [
        *(f"not in quarantine: {place}, {_shown(raw)}" for place, raw in sorted(lost.elements())),
        *(f"too much in quarantine: {place}, {_shown(raw)}" for place, raw in sorted(surplus.elements())),
    ]


def _stored_quarantine(engine: Engine, topics: set[str]) -> Counter[tuple[Place, bytes]]:
    columns = metadata.tables["quarantine"].c
    with reading(engine) as connection:
        rows = connection.execute(sa.select(columns.location, columns.row_number, columns.raw)).all()
    located = ((*location.rpartition("/"), offset, bytes(raw)) for location, offset, raw in rows)
    return Counter(
        (Place(topic, int(partition), offset), raw) for topic, _, partition, offset, raw in located if topic in topics
    )


def _shown(raw: bytes) -> str:
    return repr(raw[:SHOWN_BYTES]) + (f" and {len(raw) - SHOWN_BYTES:,} bytes more" if len(raw) > SHOWN_BYTES else "")
