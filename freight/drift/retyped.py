"""Finds a column whose values have another type than its contract says."""

from collections.abc import Mapping

from freight.contracts import Column, Contract
from freight.contracts.rules import cell_rules

RETYPED_SHARE = 0.9  # of a column's values; if fewer misfit, the rows are bad instead of the column
RETYPED_FROM_ROWS = 20


def retyped_column(contract: Contract, filled: Mapping[str, int], misfits: Mapping[str, int]) -> Column | None:
    """Return the first column in which hardly any value fits the contract, if there is one.

    Args:
        contract: The contract of the rows.
        filled: The number of values by column.
        misfits: The number of values by column that have another type, or that the column does not allow.
    """
    return next((c for c in contract.columns if _is_retyped(filled.get(c.name, 0), misfits.get(c.name, 0))), None)


def _is_retyped(filled: int, misfits: int) -> bool:
    return filled >= RETYPED_FROM_ROWS and misfits >= RETYPED_SHARE * filled


def expectation(column: Column) -> str:
    """Describe the values that a column accepts."""
    stated = [rule.stated for rule in cell_rules(column) if rule.is_misfit]
    return next(filter(None, stated), f"of the type {column.dtype}")
