"""Versions of a row: a hash of their content, and the selection of the versions that a load unit keeps.

Two rows have equal hashes if the contract's columns are equal, on every machine and in every release.
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
    # Subtract 2^63 by flipping the first bit: the databases' 64-bit integers are signed.
    return frame.with_columns((xxh3 ^ (1 << 63)).reinterpret(dtype=pl.Int64).alias(CONTENT_HASH))


def kept_versions(rows: pl.DataFrame, contract: Contract, sequence: str = "origin_seq") -> pl.DataFrame:
    """Keep the newest version of each key by `origin_us`, the column `sequence` and `content_hash`; sort by the keys.

    Keep all immutable rows: only the warehouse knows which of them contradict a stored one.
    """
    key = list(contract.business_key)
    in_order = rows.sort([*key, "origin_us", sequence, CONTENT_HASH])
    if contract.immutable:
        return in_order
    is_last = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in key)
    return in_order.filter(is_last)


def _canonical(columns: Sequence[Column]) -> pl.Expr:
    parts = [_exact_text(column).fill_null(ABSENT) for column in columns]
    return pl.concat_str(parts, separator=SEPARATOR)


def _exact_text(column: Column) -> pl.Expr:
    """Write a value in a form that no library release changes: numbers by their bits."""
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
