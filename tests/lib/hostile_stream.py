"""A stream as networks and restarted terminals distort it: doubled, disordered, late and changed messages.

Only timestamps and offsets decide the newest version of a key, not the order of arrival.
"""

from collections.abc import Iterable
from itertools import cycle, islice

import orjson
import polars as pl

from freight.errors import ConfigurationError
from freight.simulator.draws import uniform
from freight.simulator.stream import Message

_LATE_T, _CHANGED_T = 1.001, 4_321.5  # volumes that distinguish an older and a newer version from the drawn ones
_LATE_MS = (-1, -60_000)  # the distances of versions from the drawn time
_CHANGED_MS = (0, 1, 60_000)  # at 0 the offset decides


def hostile(
    messages: Iterable[Message],
    seed: object,
    *,
    duplicates: float = 0.05,
    late: float = 0.02,
    changed: float = 0.02,
    window: int = 1_000,
) -> list[Message]:
    """Return the messages as a hostile network delivers them.

    Args:
        messages: The messages in order of time.
        seed: The seed of the choices: the same seed and messages give the same sequence.
        duplicates: The share that is delivered a second time unchanged.
        late: The share of which an older version with another volume is delivered later.
        changed: The share of which a newer version with another volume is delivered later; it may have the same
            timestamp.
        window: The most places by which the disorder moves a message; 1 keeps the order.

    Returns:
        All messages and the additional ones. An additional message is within two windows of its original. Poison is
        delivered a second time, but has no versions.

    Raises:
        ConfigurationError: A share is not in 0..1, or the window is less than 1.
    """
    if not all(0 <= share <= 1 for share in (duplicates, late, changed)) or window < 1:
        raise ConfigurationError(f"shares lie in 0..1 and a window is at least 1: {duplicates, late, changed, window}")
    given = list(messages)
    at = pl.int_range(len(given), eager=True).cast(pl.Float64) + _draw(seed, "order", given) * window
    first = list(zip(at, given, strict=True))
    placed = first + _extra(first, seed, "twice", duplicates, window)
    placed += _versions(_extra(first, seed, "late", late, window), _LATE_MS, _LATE_T)
    placed += _versions(_extra(first, seed, "changed", changed, window), _CHANGED_MS, _CHANGED_T)
    return [message for _, message in sorted(placed, key=lambda pair: pair[0])]


def _draw(seed: object, what: str, given: list[Message]) -> pl.Series:
    return uniform((seed, "hostile", what), 0, len(given))


Placed = tuple[float, Message]


def _extra(placed: list[Placed], seed: object, what: str, share: float, window: int) -> list[Placed]:
    """Choose messages, each with a place up to a window later."""
    given = [message for _, message in placed]
    picks, moves = _draw(seed, what, given), _draw(seed, f"{what} place", given)
    return [
        (at + move * window, message)
        for (at, message), pick, move in zip(placed, picks, moves, strict=True)
        if pick < share
    ]


def _versions(placed: list[Placed], steps_ms: tuple[int, ...], volume_t: float) -> list[Placed]:
    """Turn copies into versions with another time and volume; the time steps alternate."""
    sound = [(at, message) for at, message in placed if message.value is not None and message.reason is None]
    steps = islice(cycle(steps_ms), len(sound))
    return [(at, _version(message, step, volume_t)) for (at, message), step in zip(sound, steps, strict=True)]


def _version(message: Message, step_ms: int, volume_t: float) -> Message:
    record = orjson.loads(message.value or b"")
    volume = next(name for name in record if name.startswith("volume"))
    return message._replace(
        value=orjson.dumps({**record, volume: volume_t}), timestamp_ms=message.timestamp_ms + step_ms
    )
