"""Prove the ledger against the tables: they must hold the counted rows, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import sqlalchemy as sa

from freight.contracts import Contract, contracts
from freight.warehouse.aggregates import SiteDay, recompute, same_stats, stored_stats
from freight.warehouse.reconcile_streams import broken_partitions, overfull_batches
from freight.warehouse.schema import dirty_marks, metadata

FRAME_ROWS = 50_000


@dataclass(frozen=True)
class Discrepancy:
    """One violated invariant."""

    check: str
    subject: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.check}: {self.subject}: expected {self.expected}, found {self.found}"


def check_ledger(connection: sa.Connection) -> list[Discrepancy]:
    """Return the discrepancies between ledger, tables, positions and statistics; an empty list is the proof."""
    return [
        *_unbalanced_batches(connection),
        *_unbalanced_reshapes(connection),
        *_row_totals(connection),
        *_quarantine_totals(connection),
        *_positions(connection),
        *_streams(connection),
        *_statistics(connection),
        *_sites(connection),
    ]


def stored_frames(connection: sa.Connection, contract: Contract) -> Iterator[pl.DataFrame]:
    """Yield the stored business columns and content hash of a dataset, with the types of conformed frames."""
    table = metadata.tables["machine_observations" if contract.dataset == "machines" else contract.table]
    names = [name for name in (*contract.stored_names, "content_hash") if name in table.c]
    query = sa.select(*(table.c[name] for name in names)).execution_options(yield_per=FRAME_ROWS)
    schema = {name: _polars_type(contract, name) for name in names}
    for part in connection.execute(query).partitions():
        yield pl.DataFrame([tuple(row) for row in part], schema=schema, orient="row")


def _polars_type(contract: Contract, name: str) -> pl.DataType:
    kinds: dict[str, pl.DataType] = {
        "text": pl.String(),
        "integer": pl.Int64(),
        "number": pl.Float64(),
        "instant": pl.Datetime("us", "UTC"),
        "date": pl.Date(),
        "boolean": pl.Boolean(),
    }
    dtypes = {column.name: column.dtype for column in (*contract.columns, *contract.derived)}
    return kinds[dtypes.get(name, "integer")]


def _unbalanced_batches(connection: sa.Connection) -> list[Discrepancy]:
    ends = "inserted + updated + unchanged + superseded + quarantined"
    query = f"SELECT batch_id, source, location, read_rows, {ends} FROM batches WHERE read_rows <> {ends}"
    return [
        Discrepancy("a batch accounts for every row read", f"batch {batch} ({source} {location})", read, accounted)
        for batch, source, location, read, accounted in connection.execute(sa.text(query))
    ]


def _unbalanced_reshapes(connection: sa.Connection) -> list[Discrepancy]:
    """The rows that a source's own function got are those that it returned, plus the dropped, less the added ones."""
    query = (
        "SELECT r.batch_id, r.function, r.rows_in, r.rows_out + r.dropped - r.added, r.rows_out, b.read_rows "
        "FROM reshapes AS r JOIN batches AS b ON b.batch_id = r.batch_id "
        "WHERE r.rows_in <> r.rows_out + r.dropped - r.added OR (b.cause = 'load' AND r.rows_out > b.read_rows)"
    )
    return [
        Discrepancy("a function accounts for every row", f"batch {batch} ({function})", expected, found)
        for batch, function, *counts in connection.execute(sa.text(query))
        for expected, found in [counts[:2] if counts[0] != counts[1] else counts[2:]]
    ]


def _row_totals(connection: sa.Connection) -> list[Discrepancy]:
    """Inserted rows of all causes, carried totals of purged batches included, less purged rows, are in the table."""
    findings = []
    for contract in contracts().values():
        key = ", ".join(contract.business_key)
        found = _scalar(connection, f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM {contract.table}) AS keys")
        inserted = _sum_of(connection, "inserted", dataset=contract.dataset)
        purged = _scalar(
            connection,
            "SELECT COALESCE(SUM(purged_rows), 0) FROM purges WHERE table_name = :table",
            table=contract.table,
        )
        if found != inserted - purged:
            findings.append(Discrepancy("inserted rows are in the table", contract.table, inserted - purged, found))
    return findings


def _quarantine_totals(connection: sa.Connection) -> list[Discrepancy]:
    query = (
        "SELECT source, SUM(counted), SUM(stored) FROM ("
        "SELECT source, quarantined AS counted, 0 AS stored FROM batches UNION ALL "
        "SELECT source, quarantined, 0 FROM purges WHERE table_name = 'batches' UNION ALL "
        "SELECT source, 0 - purged_rows, 0 FROM purges WHERE table_name = 'quarantine' UNION ALL "
        "SELECT source, 0, 1 FROM quarantine) AS parts GROUP BY source HAVING SUM(counted) <> SUM(stored)"
    )
    return [
        Discrepancy("quarantined rows are in quarantine", source, int(counted), int(stored))
        for source, counted, stored in connection.execute(sa.text(query))
    ]


def _positions(connection: sa.Connection) -> list[Discrepancy]:
    query = (
        "SELECT p.source, p.location, p.batch_id, b.file_hash, newest.batch_id FROM file_positions AS p "
        "LEFT JOIN batches AS b ON b.batch_id = p.batch_id AND b.file_hash = p.file_hash "
        "AND b.contract_version = p.contract_version AND b.source = p.source AND b.location = p.location "
        "LEFT JOIN (SELECT source, location, MAX(batch_id) AS batch_id FROM batches WHERE cause = 'load' "
        "GROUP BY source, location) AS newest ON newest.source = p.source AND newest.location = p.location"
    )
    return [
        Discrepancy("a position belongs to the newest batch", f"{source} {location}", newest, batch)
        for source, location, batch, of_batch, newest in connection.execute(sa.text(query))
        if of_batch is None or newest != batch
    ]


def _streams(connection: sa.Connection) -> list[Discrepancy]:
    return [
        *(
            Discrepancy("every offset of a partition is accounted for", b.partition, b.expected, b.found)
            for b in broken_partitions(connection)
        ),
        *(
            Discrepancy("a batch has no more messages than offsets", b.partition, b.expected, b.found)
            for b in overfull_batches(connection)
        ),
    ]


def _statistics(connection: sa.Connection) -> list[Discrepancy]:
    wanted, stored = recompute(connection), stored_stats(connection)
    marks = connection.execute(sa.select(dirty_marks.c.day_number, dirty_marks.c.site_location))
    marked = {SiteDay(*mark) for mark in marks}
    return [
        Discrepancy("daily statistics follow from the facts", str(key), wanted.get(key), stored.get(key))
        for key in sorted(wanted.keys() | stored.keys())
        if key not in marked and not same_stats(wanted.get(key), stored.get(key))
    ]


def _sites(connection: sa.Connection) -> list[Discrepancy]:
    query = (
        "SELECT t.transaction_id, COALESCE(m.site_location, 'UNKNOWN'), t.site_location FROM fact_transactions AS t "
        "LEFT JOIN dim_machines AS m ON m.machine_id = t.machine_id AND t.transaction_at >= m.valid_from "
        "AND (m.valid_to IS NULL OR t.transaction_at < m.valid_to) "
        "WHERE t.site_location <> COALESCE(m.site_location, 'UNKNOWN') "
        "OR COALESCE(t.installation_year, -1) <> COALESCE(m.installation_year, -1) ORDER BY 1 LIMIT 20"
    )
    return [
        Discrepancy("a fact has the site of its machine at the time", key, wanted, stored)
        for key, wanted, stored in connection.execute(sa.text(query))
    ]


def _sum_of(connection: sa.Connection, count: str, *, dataset: str) -> int:
    return _scalar(
        connection,
        f"SELECT COALESCE(SUM({count}), 0) FROM (SELECT dataset, {count} FROM batches UNION ALL "
        f"SELECT dataset, {count} FROM purges WHERE table_name = 'batches') AS parts WHERE dataset = :dataset",
        dataset=dataset,
    )


def _scalar(connection: sa.Connection, query: str, **values: object) -> int:
    return int(connection.execute(sa.text(query), values).scalar_one())
