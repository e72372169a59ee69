"""Contracts of all datasets, found by their module: a new dataset is a new module here with a `CONTRACT`."""

import pkgutil
from functools import cache
from importlib import import_module

from freight.contracts.contract import LOCAL_ZONE, Column, Contract, Dtype, RowRule
from freight.errors import ConfigurationError

__all__ = ["LOCAL_ZONE", "Column", "Contract", "Dtype", "RowRule", "contract_for", "contracts"]


@cache
def contracts() -> dict[str, Contract]:
    """Return every contract by dataset slug, references before facts."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    known = (module.CONTRACT for module in modules if hasattr(module, "CONTRACT"))
    return {contract.dataset: contract for contract in sorted(known, key=lambda contract: contract.load_order)}


def contract_for(dataset: str) -> Contract:
    """Return the contract of a dataset.

    Raises:
        ConfigurationError: there is no such dataset.
    """
    try:
        return contracts()[dataset]
    except KeyError:
        known = ", ".join(contracts())
        raise ConfigurationError(f"unknown dataset {dataset!r}: the datasets are {known}") from None
