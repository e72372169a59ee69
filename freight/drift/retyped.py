"""A column whose values are of another kind than its contract says."""

from collections.abc import Mapping

from freight.contracts import Column, Contract
from freight.contracts.rules import cell_rules

RETYPED_SHARE = 0.9  # of the values of a column; with fewer it is the rows that are bad
RETYPED_FROM_ROWS = 20


def retyped_column(contract: Contract, filled: Mapping[str, int], misfits: Mapping[str, int]) -> Column | None:
    """Return the first column of which nearly no value is what the contract says, if there is one.

    Args:
        contract: of the rows.
        filled: number of values by column.
        misfits: how many of them are of another type, or none that the column knows.
    """
    return next((c for c in contract.columns if _is_retyped(filled.get(c.name, 0), misfits.get(c.name, 0))), None)


def _is_retyped(filled: int, misfits: int) -> bool:
    return filled >= RETYPED_FROM_ROWS and misfits >= RETYPED_SHARE * filled


def expectation(column: Column) -> str:
    """Say in words which values a column takes."""
    stated = [rule.stated for rule in cell_rules(column) if rule.is_misfit]
    return next(filter(None, stated), f"of the type {column.dtype}")
