"""The contracts of all datasets. To add a dataset, add a module with a `CONTRACT` here: modules are discovered."""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from freight.contracts.contract import LOCAL_ZONE, Column, Contract, Dtype, RowRule
from freight.errors import ConfigurationError

__all__ = ["LOCAL_ZONE", "Column", "Contract", "Dtype", "RowRule", "by_dataset", "contract_for", "contracts"]


@cache
def contracts() -> dict[str, Contract]:
    """Return every contract by dataset slug, references before facts."""
    known = _by_module(__name__, "CONTRACT").values()
    return {contract.dataset: contract for contract in sorted(known, key=lambda contract: contract.load_order)}


def by_dataset(package: str, attribute: str) -> dict[str, Any]:
    """Return an attribute of a package's modules, which are named after datasets, by dataset.

    Raises:
        ConfigurationError: A module that has the attribute is not named after a dataset.
    """
    return {contract_for(name).dataset: value for name, value in _by_module(package, attribute).items()}


def _by_module(package: str, attribute: str) -> dict[str, Any]:
    path = import_module(package).__path__
    modules = {found.name: import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(path)}
    return {name: getattr(module, attribute) for name, module in modules.items() if hasattr(module, attribute)}


def contract_for(dataset: str) -> Contract:
    """Return the contract of a dataset.

    Raises:
        ConfigurationError: There is no such dataset.
    """
    try:
        return contracts()[dataset]
    except KeyError:
        known = ", ".join(contracts())
        raise ConfigurationError(f"unknown dataset {dataset!r}: the datasets are {known}") from None
