"""The queries of the reports: mostly the views that analysts read, with the same types on both engines."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from freight.notation.evidence import READ_AS_USUAL
from freight.warehouse.connect import Engine, reading
from freight.warehouse.dictionary import typed_columns
from freight.warehouse.quarantine import read_as_of
from freight.warehouse.schema import quarantine

TOP_MACHINES = 10
QUARANTINE_ROWS = 1_000


@dataclass(frozen=True)
class ReportTable:
    """The rows of one query: `columns` name the values of each row; instants are aware UTC, dates are local days."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def column(self, name: str) -> list[Any]:
        """Return the values of a column, in the order of the rows."""
        position = self.columns.index(name)
        return [row[position] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        """Return each row by column name."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class ReportWindow:
    """The row of `v_reporting_window`: the days that a report covers, and how many of their figures are there.

    Attributes:
        first_date, last_date: The first and last day, local.
        days: The number of days.
        is_complete: 0 if the only days in the data may have begun only.
        station_days_reported, station_days_expected: The days with traffic, and the expected ones, over all stations.
    """

    first_date: date
    last_date: date
    days: int
    is_complete: int
    station_days_reported: int
    station_days_expected: int


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows, read from one state of the warehouse.

    Attributes:
        window: The reporting window; None while nothing is loaded.
        left_out: The rows of `v_days` after the window: days that may have begun only.
        as_of: The instant that the newest content of any source stands for; None while nothing is loaded.
        transactions: The number of facts in the warehouse, of all time.
        daily_sites: The rows of `v_daily_site_stats`, newest day first.
        stations: The rows of `v_hub_classification`, most volume first.
        top_machines: The rows of `v_machine_activity` down to rank 10, including ties.
        without_site: The rows of `v_machines_without_site`, most volume first.
        quarantine: The newest bad rows; `raw` holds bytes.
        quarantined_rows: The number of rows in quarantine, including those in `quarantine`.
        data_quality: The rows of `v_data_quality`.
    """

    window: ReportWindow | None
    left_out: ReportTable
    as_of: datetime | None
    transactions: int
    daily_sites: ReportTable
    stations: ReportTable
    top_machines: ReportTable
    without_site: ReportTable
    quarantine: ReportTable
    quarantined_rows: int
    data_quality: ReportTable


def read_report(engine: Engine) -> ReportData:
    """Read one consistent state of the warehouse.

    Raises:
        TransientError: The warehouse is not ready.
        ConfigurationError: The warehouse refuses the connection.
    """
    with reading(engine) as connection:
        quality = _data_quality(connection)
        return ReportData(
            window=_window(connection),
            left_out=_left_out(connection),
            as_of=max((instant for instant in quality.column("newest_as_of") if instant), default=None),
            transactions=_count(connection, "fact_transactions"),
            daily_sites=_daily_sites(connection),
            stations=_stations(connection),
            top_machines=_top_machines(connection),
            without_site=_without_site(connection),
            quarantine=_newest_quarantined(connection),
            quarantined_rows=_count(connection, "quarantine"),
            data_quality=quality,
        )


def _window(connection: sa.Connection) -> ReportWindow | None:
    names = tuple(field.name for field in fields(ReportWindow))
    found = _view(connection, "v_reporting_window", names, order_by="days").rows
    return ReportWindow(*found[0]) if found else None


def _left_out(connection: sa.Connection) -> ReportTable:
    names = ("transaction_date", "stations_reported", "stations_expected", "transactions")
    last_day = sa.select(sa.column("last_day_number")).select_from(sa.table("v_reporting_window")).scalar_subquery()
    return _view(connection, "v_days", names, order_by="day_number", where=sa.column("day_number") > last_day)


def _daily_sites(connection: sa.Connection) -> ReportTable:
    names = (
        "transaction_date",
        "iso_week",
        "site_location",
        "station_code",
        "region",
        "total_transactions",
        "total_volume",
        "total_alerts",
        "alert_share",
        "active_machines",
        "is_complete",
        "stations_reported",
        "stations_expected",
        "as_of",
    )
    return _view(connection, "v_daily_site_stats", names, order_by="day_number DESC, site_location")


def _stations(connection: sa.Connection) -> ReportTable:
    names = (
        "site_location",
        "station_code",
        "region",
        "corridor_km",
        "hub_class",
        "reliability",
        "volume_share",
        "volume_t",
        "transactions",
        "alerts",
        "active_days",
        "days",
        "min_volume_share",
        "min_reliability",
    )
    order = "ROUND(CAST(volume_t AS NUMERIC), 3) DESC, transactions DESC, corridor_km, station_code, site_location"
    return _view(connection, "v_hub_classification", names, order_by=order)


def _top_machines(connection: sa.Connection) -> ReportTable:
    names = (
        "volume_rank",
        "machine_id",
        "machine_type",
        "site_location",
        "transactions",
        "volume_t",
        "alerts",
        "alert_share",
        "active_days",
        "utilisation",
    )
    best = sa.column("volume_rank") <= TOP_MACHINES
    return _view(connection, "v_machine_activity", names, order_by="volume_rank, machine_id", where=best)


def _without_site(connection: sa.Connection) -> ReportTable:
    names = ("machine_id", "reason", "site_now", "site_since", "transactions", "volume_t", "first_date", "last_date")
    order = "ROUND(CAST(volume_t AS NUMERIC), 3) DESC, machine_id"
    return _view(connection, "v_machines_without_site", names, order_by=order)


def _data_quality(connection: sa.Connection) -> ReportTable:
    names = (
        "source",
        "dataset",
        "files",
        "read_rows",
        "inserted",
        "updated",
        "unchanged",
        "superseded",
        "quarantined",
        "balance",
        "quarantined_share",
        "waiting_rows",
        "last_loaded_at",
        "newest_as_of",
        "failed_attempts",
        "last_failed_at",
        "last_fault",
        "last_message",
    )
    return _view(connection, "v_data_quality", names, order_by="read_rows DESC, source, dataset")


def _newest_quarantined(connection: sa.Connection) -> ReportTable:
    names = (
        *("source", "dataset", "location", "row_in_file", "column_name", "reason", "detail", "raw", "broken_rules"),
        "replayed_batch_id",
    )
    row_in_file = sa.func.coalesce(quarantine.c.source_row, quarantine.c.row_number)
    columns = [row_in_file if name == "row_in_file" else quarantine.c[name] for name in names]
    query = sa.select(quarantine.c.batch_id, *columns).order_by(quarantine.c.quarantine_id.desc())
    rows = connection.execute(query.limit(QUARANTINE_ROWS)).all()
    read_as = read_as_of(connection, {batch_id for batch_id, *_ in rows})
    at = names.index("row_in_file")
    places = ((cells, read_as.get(batch_id, READ_AS_USUAL).place(cells[at])) for batch_id, *cells in rows)
    return ReportTable(names, tuple((*cells[:at], place, *cells[at + 1 :]) for cells, place in places))


def _view(
    connection: sa.Connection,
    view: str,
    names: Sequence[str],
    *,
    order_by: str,
    where: sa.ColumnElement[bool] | None = None,
) -> ReportTable:
    typed = {column.name: column for column in typed_columns(view)}
    columns = [typed[name] for name in names]
    query = sa.select(*columns).select_from(sa.table(view)).order_by(sa.text(order_by))
    return _table(connection, names, query if where is None else query.where(where))


def _table(connection: sa.Connection, names: Sequence[str], query: sa.Select[Any]) -> ReportTable:
    return ReportTable(tuple(names), tuple(tuple(row) for row in connection.execute(query)))


def _count(connection: sa.Connection, table: str) -> int:
    return int(connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar_one())
