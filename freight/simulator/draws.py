"""Random numbers that depend only on their name: the same on every machine, in every version and in any order.

Each number is a hash (SplitMix64) of a key and its own index, so any slice of a sequence can be drawn alone. The
generators of polars and numpy do not promise to stay the same across versions.
"""

import hashlib

import polars as pl

_GOLDEN = 0x9E37_79B9_7F4A_7C15
_MIXERS = ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB))
_LAST_SHIFT = 31
_FRACTION_BITS = 53  # the number of bits that a double holds exactly


def uniform(name: tuple[object, ...], start: int, stop: int) -> pl.Series:
    """Return the numbers [start, stop) of the sequence called `name`.

    Args:
        name: The purpose of the sequence, such as (seed, day, "volume"); its parts are distinguished by their text.
        start: The index of the first number, 0-based.
        stop: The index after the last number.

    Returns:
        A series of `stop - start` doubles in [0, 1).
    """
    state = (pl.int_range(start, stop, dtype=pl.UInt64, eager=True) * _u64(_GOLDEN)) + _u64(_key(name))
    for shift, factor in _MIXERS:
        state = _fold(state, shift) * _u64(factor)
    mixed = _fold(state, _LAST_SHIFT)
    return (mixed // _u64(1 << (64 - _FRACTION_BITS))).cast(pl.Float64) / float(1 << _FRACTION_BITS)


def _key(name: tuple[object, ...]) -> int:
    text = "/".join(str(part) for part in name)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _fold(state: pl.Series, shift: int) -> pl.Series:
    return state ^ (state // _u64(1 << shift))  # polars has no shift; division by a power of two is the same


def _u64(value: int) -> pl.Series:
    return pl.Series([value], dtype=pl.UInt64)
