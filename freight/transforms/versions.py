"""Identity of content: a hash that is equal where the contract's columns are, on every machine and release."""

from collections.abc import Sequence

import polars as pl
from xxhash import xxh3_64_intdigest

from freight.contracts import Column, Contract

CONTENT_HASH = "content_hash"
ABSENT = "\x00"  # cannot occur in a value: control characters break every contract
SEPARATOR = "\x1f"


def with_content_hash(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Add `content_hash` (signed 64 bit) over the columns that the source delivers."""
    texts = frame.select(_canonical(contract.columns)).to_series().to_list()
    hashes = [xxh3_64_intdigest(text) - (1 << 63) for text in texts]
    return frame.with_columns(pl.Series(CONTENT_HASH, hashes, pl.Int64))


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
