"""The rows of reference tables that a source's own function may look up."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import sqlalchemy as sa

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.warehouse.connect import Engine, reading
from freight.warehouse.schema import metadata


def read_lookups(engine: Engine | None, datasets: Sequence[str]) -> dict[str, Mapping[str, Sequence[object]]]:
    """Return the current rows of datasets, as columns named as in their contracts.

    Args:
        engine: The engine of the warehouse; None if it is out of reach.
        datasets: The names of the datasets.

    Raises:
        SourceError: There is no warehouse, but a dataset to look up.
    """
    if not datasets:
        return {}
    if engine is None:
        raise SourceError(
            "transform_failed",
            f"its function looks up {', '.join(datasets)}, and the warehouse is out of reach here",
            remedy="look at the source where its warehouse is",
        )
    with reading(engine) as connection:
        return {dataset: _columns(connection, dataset) for dataset in datasets}


def _columns(connection: sa.Connection, dataset: str) -> dict[str, list[object]]:
    contract = contract_for(dataset)
    table = metadata.tables[contract.table]
    query = sa.select(*(table.c[name] for name in contract.column_names)).order_by(*table.primary_key)
    if "valid_to" in table.c:  # of the versions of a key, the one that holds
        query = query.where(table.c.valid_to.is_(None))
    rows = connection.execute(query).all()
    return {name: [_plain(row[n]) for row in rows] for n, name in enumerate(contract.column_names)}


def _plain(value: object) -> object:
    """Return a value as JSON can hold it."""
    return value.isoformat() if isinstance(value, date | datetime) else value
