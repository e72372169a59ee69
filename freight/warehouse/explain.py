"""Where a stored row came from: file, row, run and contract version."""

from dataclasses import dataclass

import sqlalchemy as sa

from freight.contracts import Contract, contracts
from freight.errors import ConfigurationError
from freight.warehouse.schema import batches, metadata, runs


@dataclass(frozen=True)
class Explanation:
    """A stored row and its lineage, each as (name, value) pairs to show; no lineage when it has been purged."""

    row: list[tuple[str, object]]
    lineage: list[tuple[str, object]]


def explain(connection: sa.Connection, table: str, key: str) -> list[Explanation]:
    """Return the rows of a key with their lineage; a machine has one row for each of its versions.

    Args:
        connection: to read with.
        table: a table of a dataset, such as fact_transactions.
        key: the business key; parts joined by "/".

    Raises:
        ConfigurationError: not a table of a dataset, or the key has another number of parts.
    """
    contract = _contract_of(table)
    parts = key.split("/") if len(contract.business_key) > 1 else [key]
    if len(parts) != len(contract.business_key):
        raise ConfigurationError(f"the key of {table} is {'/'.join(contract.business_key)}")
    stored = metadata.tables[table]
    matches = [stored.c[name] == part for name, part in zip(contract.business_key, parts, strict=True)]
    rows = connection.execute(sa.select(stored).where(*matches).order_by(*stored.primary_key)).mappings().all()
    return [Explanation([(str(name), value) for name, value in row.items()], _lineage(connection, row)) for row in rows]


def _contract_of(table: str) -> Contract:
    known = {contract.table: contract for contract in contracts().values()}
    if table not in known:
        raise ConfigurationError(f"{table!r} is not a table of a dataset: those are {', '.join(known)}")
    return known[table]


def _lineage(connection: sa.Connection, row: sa.RowMapping) -> list[tuple[str, object]]:
    query = (
        sa.select(
            batches.c.location.label("file"),
            batches.c.source,
            batches.c.as_of,
            batches.c.file_hash.label("sha256"),
            batches.c.contract_version,
            batches.c.cause,
            batches.c.loaded_at,
            batches.c.run_id.label("run"),
            runs.c.started_by,
        )
        .join(runs, runs.c.run_id == batches.c.run_id, isouter=True)
        .where(batches.c.batch_id == row["batch_id"])
    )
    found = connection.execute(query).mappings().first()
    return [("row", row["origin_seq"]), *((str(name), value) for name, value in found.items())] if found else []
