"""The reports of machines between their transactions: loading, moving, alarms, and the state of flow and bearings."""

import polars as pl

from freight.contracts import LOCAL_ZONE
from freight.simulator.events import status, volume_t

EVENT_SCHEMA = {
    "event_id": pl.String,
    "machine_id": pl.String,
    "event_at": pl.String,
    "event_type": pl.String,
    "volume_transferred": pl.Float64,
    "status_code": pl.String,
    "flow_rate": pl.Float64,
    "pressure": pl.Float64,
    "vibration": pl.Float64,
    "temperature": pl.Float64,
}

_ALARM_SHARE_OF_TROUBLE = 0.4
_CUMULATIVE_SHARES = (("LOADED", 0.35), ("UNLOADED", 0.65), ("WEIGHED", 0.80), ("MOVED", 0.92), ("STARTED", 0.96))
_LAST_TYPE = "STOPPED"
_FLOWING = ("LOADED", "UNLOADED")
_WEIGHING = (*_FLOWING, "WEIGHED")
_UTC_TEXT = "%Y-%m-%dT%H:%M:%S.%3fZ"


def terminal_events(draws: pl.DataFrame, numbers_from: int, local: pl.Expr) -> pl.DataFrame:
    """Return the events for some draws.

    Args:
        draws: A frame from `Corridor.draws`.
        numbers_from: The offset from `row` to the numbers of the events.
        local: The local time of each event, a Datetime without a zone.

    Returns:
        A frame with the columns of `EVENT_SCHEMA`: `EVT-<n>`, `event_at` as ISO text in UTC with Z, flow in t/h,
        pressure in bar, vibration in mm/s, temperature in °C; no volume and no flow if nothing is moved.
    """
    typed = draws.with_columns(status_code=status()).with_columns(event_type=_event_type())
    flowing, weighing = pl.col("event_type").is_in(_FLOWING), pl.col("event_type").is_in(_WEIGHING)
    wear = pl.when(pl.col("status_code") == "OK").then(1.0).otherwise(2.5)
    return typed.select(
        event_id=pl.format("EVT-{}", pl.col("row") + numbers_from),
        machine_id="machine_id",
        event_at=_utc_text(local),
        event_type="event_type",
        volume_transferred=pl.when(weighing).then(volume_t()),
        status_code="status_code",
        flow_rate=pl.when(flowing).then(_tenths(120 + 1_200 * _digits(1))),
        pressure=_tenths(140 + 90 * _digits(2)),
        vibration=_tenths(wear * (0.5 + 3.5 * _digits(3))),
        temperature=_tenths(30 + 12 * wear * (1 + _digits(4))),
    )


def _event_type() -> pl.Expr:
    alarm = (pl.col("status_code") != "OK") & (_digits(1) < _ALARM_SHARE_OF_TROUBLE)
    chosen = pl.lit(_LAST_TYPE)
    for name, share in reversed(_CUMULATIVE_SHARES):
        chosen = pl.when(pl.col("reading") < share).then(pl.lit(name)).otherwise(chosen)
    return pl.when(alarm).then(pl.lit("ALARM")).otherwise(chosen)


def _utc_text(local: pl.Expr) -> pl.Expr:
    second = local.dt.replace_time_zone(LOCAL_ZONE).dt.convert_time_zone("UTC")
    return second.dt.strftime(_UTC_TEXT)


def _digits(place: int) -> pl.Expr:
    """Return a number in [0, 1) from the digits of the moment after a place; one draw gives several numbers."""
    return (pl.col("moment") * float(100**place)) % 1.0


def _tenths(value: pl.Expr) -> pl.Expr:
    return ((value * 10).cast(pl.Int64) / 10).round(1)
