"""Transforms: conformed frame in, conformed frame with derived columns out; pure, one module per dataset.

A dataset without a module here has no derived columns.
"""

from collections.abc import Callable

import polars as pl

from freight.contracts import Contract
from freight.transforms import transactions

DERIVE: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "transactions": transactions.derive,
}


def derive(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Add the columns that follow from the row alone, and `is_late` to events; only a stream can set it to true."""
    derived = DERIVE[contract.dataset](frame) if contract.dataset in DERIVE else frame
    return derived.with_columns(is_late=pl.lit(value=False)) if contract.event_time else derived
