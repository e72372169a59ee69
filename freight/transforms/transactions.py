"""Transactions: derive the local day and the critical alert from the row; the warehouse joins the site."""

import polars as pl

from freight.contracts import LOCAL_ZONE

ALERT_STATUSES = ("WARN", "ERR")
ALERT_BELOW_T = 20.0


def derive(frame: pl.DataFrame) -> pl.DataFrame:
    """Add derived columns.

    Columns in: transaction_at (UTC), volume_transferred_t (tonnes, null allowed), status_code.
    Columns out: the same and transaction_date, day_number, critical_alert.
    """
    local_day = pl.col("transaction_at").dt.convert_time_zone(LOCAL_ZONE).dt.date()
    low = pl.col("volume_transferred_t") < ALERT_BELOW_T
    return frame.with_columns(
        transaction_date=local_day,
        critical_alert=pl.col("status_code").is_in(ALERT_STATUSES) & low.fill_null(value=False),
    ).with_columns(day_number=pl.col("transaction_date").to_physical().cast(pl.Int64))
