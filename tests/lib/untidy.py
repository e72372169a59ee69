"""Messages that look odd but are valid."""

from collections.abc import Callable, Iterable

import orjson

from freight.simulator.poison import Poison, Record, replaced, time_field, with_fields, with_literal
from freight.simulator.stream import Message

# Each turns a valid record of either topic into an equally valid message.
UNTIDY: dict[str, Callable[[Record], bytes]] = {
    "other_order": lambda r: orjson.dumps(dict(reversed(r.items()))),
    "spread_over_lines": lambda r: orjson.dumps(r, option=orjson.OPT_INDENT_2) + b"\n",
    "alias": lambda r: orjson.dumps({"volume" if name == "volume_transferred" else name: v for name, v in r.items()}),
    "number_as_text": lambda r: with_fields(r, volume_transferred="12.50"),
    "exponent": lambda r: with_literal(r, "volume_transferred", b"1.25e1"),
    "no_volume": lambda r: with_fields(r, volume_transferred=""),
    "outer_space": lambda r: with_fields(r, status_code=" ok ", machine_id=" MCH-001\t"),
    "escapes": lambda r: with_literal(r, "machine_id", b'"\\u004dCH-001"'),
    "schema_version": lambda r: with_fields(r, schema_version=1),
    "unknown_machine": lambda r: with_fields(r, machine_id="MCH-999999"),
    "day_first": lambda r: with_fields(r, **{time_field(r): "28/02/2026 08:15:00"}),
    "with_offset": lambda r: with_fields(r, **{time_field(r): "2026-02-28T08:15:00.250+03:00"}),
}


def untidied(messages: Iterable[Message], share: float, seed: object) -> list[Message]:
    """Replace a seeded share of valid messages with untidy ones, as `poisoned` does."""
    return replaced(messages, share, (seed, "untidy"), [_sound(make) for make in UNTIDY.values()])


def _sound(make: Callable[[Record], bytes]) -> Callable[[Record], Poison]:
    return lambda record: Poison(make(record), None)
