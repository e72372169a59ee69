"""Messages that break the contract, or JSON itself, each with its expected reason code in quarantine."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import orjson

from freight.errors import ConfigurationError
from freight.simulator.draws import uniform
from freight.simulator.stream import Message

Record = dict[str, object]

MEGABYTE = 990_000  # slightly below the million bytes that clients and brokers accept by default
DEPTH = 100_000


class Poison(NamedTuple):
    """The replacement for a message.

    Attributes:
        value: The bytes of the message; None for a tombstone.
        reason: The expected reason code in quarantine; None for a sound message.
    """

    value: bytes | None
    reason: str | None


def _json(record: object) -> bytes:
    return orjson.dumps(record)


def time_field(record: Record) -> str:
    """Return the name of the field that contains the time of the event."""
    return "event_at" if "event_at" in record else "date"


def with_fields(record: Record, **fields: object) -> bytes:
    """Return the JSON of a record with other values in some fields."""
    return _json({**record, **fields})


def _without(record: Record, field: str) -> bytes:
    return _json({name: value for name, value in record.items() if name != field})


def with_literal(record: Record, field: str, text: bytes) -> bytes:
    """Return the JSON of a record with a field as raw bytes that a JSON writer would not produce."""
    return with_fields(record, **{field: "@literal@"}).replace(b'"@literal@"', text)


# Each entry turns a sound record of either topic into a message that is bad in one way.
POISON: dict[str, Callable[[Record], Poison]] = {
    "tombstone": lambda _: Poison(None, "tombstone"),
    "bad_encoding": lambda r: Poison(with_literal(r, "machine_id", b'"Ngaound\xe9r\xe9"'), "bad_encoding"),
    "empty": lambda _: Poison(b"", "not_json"),
    "blank": lambda _: Poison(b" \r\n\t", "not_json"),
    "no_json": lambda _: Poison(b"<event/>", "not_json"),
    "cut_off": lambda r: Poison(_json(r)[:-9], "not_json"),
    "two_documents": lambda r: Poison(_json(r) * 2, "not_json"),
    "two_lines": lambda r: Poison(_json(r) + b"\n" + _json(r), "not_json"),
    "nan": lambda r: Poison(with_literal(r, "volume_transferred", b"NaN"), "not_json"),
    "infinity": lambda r: Poison(with_literal(r, "volume_transferred", b"-Infinity"), "not_json"),
    "raw_newline": lambda r: Poison(with_literal(r, "status_code", b'"OK\n"'), "not_json"),
    "raw_nul": lambda r: Poison(with_literal(r, "status_code", b'"OK\x00"'), "not_json"),
    "lone_surrogate": lambda r: Poison(with_literal(r, "machine_id", b'"MCH-001\\ud800"'), "not_json"),
    "deep": lambda _: Poison(b"[" * DEPTH + b"]" * DEPTH, "not_json"),  # valid JSON, but too deep for any parser
    "list": lambda r: Poison(_json([r]), "not_object"),
    "text": lambda _: Poison(b'"OK"', "not_object"),
    "number": lambda _: Poison(b"42", "not_object"),
    "null": lambda _: Poison(b"null", "not_object"),
    "nested_object": lambda r: Poison(with_fields(r, machine_id={"id": "MCH-001"}), "nested_value"),
    "nested_list": lambda r: Poison(with_fields(r, volume_transferred=[1.5]), "nested_value"),
    "unknown_field": lambda r: Poison(with_fields(r, colour="red"), "unknown_field"),
    "missing_field": lambda r: Poison(_without(r, "volume_transferred"), "missing_field"),
    "doubled_field": lambda r: Poison(with_fields(r, machine="MCH-001"), "doubled_field"),
    "doubled_key": lambda r: Poison(b'{"status_code":"OK",' + _json(r)[1:], "doubled_field"),
    "schema_version": lambda r: Poison(with_fields(r, schema_version=99), "schema_version"),
    "schema_version_text": lambda r: Poison(with_fields(r, schema_version="one"), "schema_version"),
    "required": lambda r: Poison(with_fields(r, machine_id=None), "required"),
    "required_text": lambda r: Poison(with_fields(r, status_code=" "), "required"),
    "wrong_number": lambda r: Poison(with_fields(r, volume_transferred="1,5"), "wrong_type"),
    "wrong_boolean": lambda r: Poison(with_fields(r, volume_transferred=True), "wrong_type"),
    "wrong_date": lambda r: Poison(with_fields(r, **{time_field(r): "2026-02-30 08:15:00"}), "wrong_type"),
    "not_finite": lambda r: Poison(with_fields(r, volume_transferred="NaN"), "not_finite"),
    "negative": lambda r: Poison(with_fields(r, volume_transferred=-12.5), "out_of_range"),
    "too_much": lambda r: Poison(with_fields(r, volume_transferred=5_000.001), "out_of_range"),
    "too_old": lambda r: Poison(with_fields(r, **{time_field(r): "1999-12-31 00:00:00"}), "out_of_range"),
    "far_future": lambda r: Poison(with_fields(r, **{time_field(r): "2099-01-01 00:00:00"}), "future"),
    "unknown_status": lambda r: Poison(with_fields(r, status_code="MAINT"), "not_allowed"),
    "wrong_machine": lambda r: Poison(with_fields(r, machine_id="MACHINE 1"), "pattern"),
    "escaped_nul": lambda r: Poison(with_fields(r, machine_id="MCH-001\x00"), "pattern"),
    "megabyte": lambda r: Poison(with_fields(r, machine_id="MCH-" + "0" * MEGABYTE), "pattern"),
}


def poisoned(messages: Iterable[Message], share: float, seed: object) -> list[Message]:
    """Replace a seeded share of sound messages with poison; keys, times and order do not change.

    Args:
        messages: The sound messages.
        share: The probability that a message is replaced, 0..1.
        seed: The seed of the choice.

    Returns:
        The messages; poison carries its reason code. The kinds take turns; the seed selects the first one.

    Raises:
        ConfigurationError: The share is not in 0..1.
    """
    return replaced(messages, share, (seed, "poison"), list(POISON.values()))


def replaced(
    messages: Iterable[Message],
    share: float,
    name: tuple[object, ...],
    kinds: Sequence[Callable[[Record], Poison]],
) -> list[Message]:
    """Replace a seeded share of sound messages; keys, times and order do not change.

    Args:
        messages: The messages; those that already have a reason do not change.
        share: The probability that a message is replaced, 0..1.
        name: The name of the choice, which includes the seed.
        kinds: The functions that turn a record into poison; they take turns, and the name selects the first one.

    Raises:
        ConfigurationError: The share is not in 0..1.
    """
    if not 0 <= share <= 1:
        raise ConfigurationError(f"a share of messages must be in 0..1, not {share}")
    changed = list(messages)
    chosen = (uniform(name, 0, len(changed)) < share).arg_true()
    first_kind = int(uniform((*name, "kind"), 0, 1)[0] * len(kinds))
    for turn, index in enumerate(chosen, start=first_kind):
        message = changed[index]
        if message.value is not None and message.reason is None:
            value, reason = kinds[turn % len(kinds)](orjson.loads(message.value))
            changed[index] = message._replace(value=value, reason=reason)
    return changed
