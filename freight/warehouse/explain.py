"""Explain the origin of a stored row: file and row, or partition and offset; run and contract version."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from freight.contracts import Contract, contracts
from freight.errors import ConfigurationError
from freight.notation.evidence import ReadAs
from freight.types import Reshaped, instant_of
from freight.warehouse.schema import UtcInstant, batches, corrections, metadata, reshapes, runs, stream_batches

RESHAPED = tuple(field.name for field in fields(Reshaped))


@dataclass(frozen=True)
class Explanation:
    """A stored row and its lineage, each as (name, value) pairs to show; no lineage if it has been purged."""

    row: list[tuple[str, object]]
    lineage: list[tuple[str, object]]


def explain(connection: sa.Connection, table: str, key: str) -> list[Explanation]:
    """Return the rows of a key with their lineage; a machine has one row for each of its versions.

    Args:
        connection: The connection to read with.
        table: A dataset or its table, such as transactions or fact_transactions.
        key: The business key; its parts are joined by "/".

    Raises:
        ConfigurationError: There is no such dataset or table, or the key has another number of parts.
    """
    contract = _contract_of(table)
    parts = key.split("/") if len(contract.business_key) > 1 else [key]
    if len(parts) != len(contract.business_key):
        raise ConfigurationError(f"the key of {table} is {'/'.join(contract.business_key)}")
    stored = metadata.tables[contract.table]
    columns = [stored.c[name] for name in contract.business_key]
    matches = [column == _typed(column, part) for column, part in zip(columns, parts, strict=True)]
    rows = connection.execute(sa.select(stored).where(*matches).order_by(*stored.primary_key)).mappings().all()
    return [Explanation([(str(name), value) for name, value in row.items()], _lineage(connection, row)) for row in rows]


def _typed(column: sa.Column[Any], part: str) -> object:
    """Convert a part of a key to the type of its column."""
    if not isinstance(column.type, UtcInstant):
        return part
    try:
        instant = datetime.fromisoformat(part)
    except ValueError:
        raise ConfigurationError(f"{column.name} is an instant such as 2026-03-01T08:00:00Z, not {part!r}") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _contract_of(table: str) -> Contract:
    by_table = {contract.table: contract for contract in contracts().values()}
    known = {**contracts(), **by_table}
    if table not in known:
        raise ConfigurationError(f"{table!r} is no dataset, and no table of one: those are {', '.join(known)}")
    return known[table]


def _lineage(connection: sa.Connection, row: sa.RowMapping) -> list[tuple[str, object]]:
    query = (
        sa.select(
            batches.c.location,
            batches.c.source,
            batches.c.read_as,
            batches.c.as_of,
            batches.c.content_id,
            batches.c.contract_version,
            batches.c.cause,
            batches.c.loaded_at,
            batches.c.run_id,
            runs.c.started_by,
            stream_batches.c.topic,
            stream_batches.c.partition_number,
            stream_batches.c.consumer_group,
            *(reshapes.c[name] for name in RESHAPED),
        )
        .join(runs, runs.c.run_id == batches.c.run_id, isouter=True)
        .join(stream_batches, stream_batches.c.batch_id == batches.c.batch_id, isouter=True)
        .join(reshapes, reshapes.c.batch_id == batches.c.batch_id, isouter=True)
        .where(batches.c.batch_id == row["batch_id"])
    )
    found = connection.execute(query).mappings().first()
    if found is None:
        return []
    names = ("contract_version", "cause", "loaded_at", "run_id", "started_by")
    details = ((name.removesuffix("_id"), found[name]) for name in names)
    return [*_origin(found, row), *details, *_corrections(connection, row)]


def _corrections(connection: sa.Connection, row: sa.RowMapping) -> list[tuple[str, object]]:
    """Return the changes that a person made to a row before it was loaded."""
    query = sa.select(corrections).where(
        corrections.c.batch_id == row["batch_id"], corrections.c.row_number == row["origin_seq"]
    )
    return [
        ("corrected", f"{c.column_name} from {c.old_value!r} to {c.new_value!r} by {c.corrected_by} ({c.workbook})")
        for c in connection.execute(query.order_by(corrections.c.correction_id))
    ]


def _origin(found: sa.RowMapping, row: sa.RowMapping) -> list[tuple[str, object]]:
    """Return the file and row, or the partition and message, that a row came from."""
    if found["topic"] is None:
        return [
            *_row(found, row["origin_seq"]),
            ("file", found["location"]),
            ("source", found["source"]),
            ("as_of", found["as_of"]),
            ("sha256", found[batches.c.content_id]),
        ]
    return [
        ("topic", found["topic"]),
        ("partition", found["partition_number"]),
        ("offset", row["origin_seq"]),
        ("as_of", instant_of(row["origin_us"])),
        ("group", found["consumer_group"]),
    ]


def _row(found: sa.RowMapping, number: int) -> list[tuple[str, object]]:
    """Return the row of the file; for a row that a function has made, also which of its rows, and the function."""
    place = ReadAs.of("", found["read_as"]).place
    if found["function"] is None:
        return [("row", place(number))]
    reshaped = Reshaped(**{name: found[name] for name in RESHAPED})
    row, nth = divmod(number, reshaped.numbers_per_row)
    return [("row", place(row)), *([("made_of_it", f"row {nth}")] if nth else []), ("reshaped_by", reshaped)]
