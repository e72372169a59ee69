"""Random numbers that depend on nothing but their name: the same on every machine, version and order of asking.

Each number is a hash (SplitMix64) of a key and its own index, so any slice of a sequence can be drawn alone. The
generators of polars and numpy promise no such stability across their versions.
"""

import hashlib

import polars as pl

_GOLDEN = 0x9E37_79B9_7F4A_7C15
_MIXERS = ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB))
_LAST_SHIFT = 31
_FRACTION_BITS = 53  # a double holds that many bits exactly


def uniform(name: tuple[object, ...], start: int, stop: int) -> pl.Series:
    """Return the numbers [start, stop) of the sequence called `name`.

    Args:
        name: what the sequence is for, such as (seed, day, "volume"); its parts are told apart by their text.
        start: index of the first number, 0-based.
        stop: index after the last number.

    Returns:
        Series of `stop - start` doubles in [0, 1).
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
    return state ^ (state // _u64(1 << shift))  # polars has no shift; dividing by a power of two is the same


def _u64(value: int) -> pl.Series:
    return pl.Series([value], dtype=pl.UInt64)
