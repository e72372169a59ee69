"""Transforms: conformed frame in, conformed frame with derived columns out; pure.

A transform is the `derive` function of a module named after its dataset. A dataset without one has no derived columns.
"""

from collections.abc import Callable
from functools import cache

import polars as pl

from freight.contracts import Contract, by_dataset


@cache
def transforms() -> dict[str, Callable[[pl.DataFrame], pl.DataFrame]]:
    """Return every transform by dataset slug."""
    return by_dataset(__name__, "derive")


def derive(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Add the columns that depend on the row alone, and `is_late` to events; only a stream can set it to true."""
    transform = transforms().get(contract.dataset)
    derived = transform(frame) if transform else frame
    return derived.with_columns(is_late=pl.lit(value=False)) if contract.event_time else derived
