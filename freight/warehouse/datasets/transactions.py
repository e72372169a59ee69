"""Transactions: facts with the site of their machine, and marks for the aggregates that change with them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl
import sqlalchemy as sa

from freight.warehouse import machine_history
from freight.warehouse.bulk import append
from freight.warehouse.connect import is_postgresql
from freight.warehouse.schema import dim_machines, dirty_marks, history_changes
from freight.warehouse.upsert import Batch, CountsByBatch, upsert


class Writer:
    """Gives facts the site that their machine had at the time, and marks changed days and sites for the aggregates."""

    def __init__(self) -> None:
        self._sites: _SiteHistory | None = None

    def write(self, connection: sa.Connection, batch: Batch) -> CountsByBatch:
        """See `DatasetWriter`."""
        self._sites = sites = _SiteHistory.read(connection, self._sites)
        touched: set[tuple[int, str]] = set()

        def sited() -> Iterable[pl.DataFrame]:
            return map(site, batch.frames())

        def site(frame: pl.DataFrame) -> pl.DataFrame:
            with_site = sites.join(frame)
            touched.update(with_site.select("day_number", "site_location").unique().iter_rows())
            return with_site

        def mark_left(connection: sa.Connection, staging: str) -> None:
            _mark_rows_that_change(connection, batch, staging)

        counts = upsert(connection, replace(batch, frames=sited), before_change=mark_left)
        if any(part.writes for part in counts.values()):
            marks = pl.DataFrame(sorted(touched), schema=["day_number", "site_location"], orient="row")
            append(connection, dirty_marks.name, [marks.with_columns(pl.lit(batch.batch_ids[0]).alias("batch_id"))])
        return counts


def _mark_rows_that_change(connection: sa.Connection, batch: Batch, staging: str) -> None:
    """Mark the days and sites that stored rows may leave."""
    connection.execute(
        sa.text(
            "INSERT INTO dirty_marks (batch_id, day_number, site_location) "
            "SELECT DISTINCT CAST(:batch_id AS BIGINT), t.day_number, t.site_location "
            f"FROM {batch.contract.table} AS t JOIN {staging} AS s ON s.transaction_id = t.transaction_id "
            "WHERE s.content_hash <> t.content_hash "
            "AND (s.day_number <> t.day_number OR s.site_location <> t.site_location) "
            "AND (s.origin_us, s.origin_seq, s.content_hash) > (t.origin_us, t.origin_seq, t.content_hash)"
        ),
        {"batch_id": batch.batch_ids[0]},
    )


@dataclass(frozen=True)
class _SiteHistory:
    """Site and installation year of every machine by time; `state` identifies a state of the history."""

    state: int | None
    versions: pl.DataFrame

    @classmethod
    def read(cls, connection: sa.Connection, known: "_SiteHistory | None") -> "_SiteHistory":
        """Read the history unless it is the known one, and keep it from changing until the transaction ends."""
        if is_postgresql(connection):
            connection.execute(sa.text("LOCK TABLE dim_machines IN SHARE MODE"))
        state = connection.execute(sa.select(sa.func.max(history_changes.c.change_id))).scalar()
        if known and known.state == state:
            return known
        names = ("machine_id", "valid_from", "site_location", "installation_year")
        rows = connection.execute(sa.select(*(dim_machines.c[name] for name in names))).all()
        schema: dict[str, pl.DataType] = {
            "machine_id": pl.String(),
            "valid_from": pl.Datetime("us", "UTC"),
            "site_location": pl.String(),
            "installation_year": pl.Int64(),
        }
        versions = pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
        return cls(state, versions.sort("valid_from"))

    def join(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add site_location (UNKNOWN for an unknown machine) and installation_year, as of transaction_at."""
        joined = frame.sort("transaction_at").join_asof(
            self.versions,
            left_on="transaction_at",
            right_on="valid_from",
            by="machine_id",
            check_sortedness=False,  # both sides are sorted just above and in `read`
        )
        return joined.drop("valid_from").with_columns(pl.col("site_location").fill_null(machine_history.NO_SITE))
