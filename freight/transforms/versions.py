"""Versions of a row: a hash that tells whether two have one content, and which of those that come together are kept.

The hash is equal where the contract's columns are, on every machine and release.
"""

from collections.abc import Sequence

import polars as pl
import polars_hash  # noqa: F401 - registers the namespace `nchash`

from freight.contracts import Column, Contract

CONTENT_HASH = "content_hash"
ABSENT = "\x00"  # cannot occur in a value: control characters break every contract
SEPARATOR = "\x1f"


def with_content_hash(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Add `content_hash` (signed 64 bit) over the columns that the source delivers."""
    xxh3 = _canonical(contract.columns).nchash.xxh3_64()  # type: ignore[attr-defined] # polars_hash adds it
    # Less 2^63, so that 64 bits without a sign fit the databases' integers: the same as turning the first bit over.
    return frame.with_columns((xxh3 ^ (1 << 63)).reinterpret(dtype=pl.Int64).alias(CONTENT_HASH))


def kept_versions(rows: pl.DataFrame, contract: Contract, sequence: str = "origin_seq") -> pl.DataFrame:
    """Keep the newest version of each key by `origin_us`, the column `sequence` and `content_hash`; sort by the keys.

    Of rows that never change every content is kept, so that the warehouse can tell which one contradicts it.
    """
    key = list(contract.business_key)
    in_order = rows.sort([*key, "origin_us", sequence, CONTENT_HASH])
    same = [*key, CONTENT_HASH] if contract.immutable else key
    is_last = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in same)
    return in_order.filter(is_last)


def _canonical(columns: Sequence[Column]) -> pl.Expr:
    parts = [_exact_text(column).fill_null(ABSENT) for column in columns]
    return pl.concat_str(parts, separator=SEPARATOR)


def _exact_text(column: Column) -> pl.Expr:
    """Write a value so that no release of a library can write it otherwise: numbers by their bits."""
    value = pl.col(column.name)
    match column.dtype:
        case "number":
            one_zero = pl.when(value == 0).then(0.0).otherwise(value)  # -0.0 and 0.0 are one content
            return one_zero.reinterpret(dtype=pl.Int64).cast(pl.String)
        case "instant":
            return value.dt.epoch("us").cast(pl.String)
        case "date":
            return value.to_physical().cast(pl.String)
        case "integer" | "boolean" | "text":
            return value.cast(pl.String)
