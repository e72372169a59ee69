"""The corridor as a stream: the reports of its terminals as JSON messages of a topic, independent of Kafka.

A day's messages have the same ids and content as its files. Live messages have numbers of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from freight.contracts import LOCAL_ZONE
from freight.errors import ConfigurationError
from freight.simulator.events import Corridor, check_slice, first_number, local_time, status, volume_t
from freight.simulator.terminal_events import terminal_events

STREAM_DAY_ROWS = 1_000_000

_LOCAL_TEXT = "%Y-%m-%d %H:%M:%S"
_LIVE_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_LIVE_SPAN_MS = 3_000  # the longest time between a live event and its message


class Message(NamedTuple):
    """One message for a topic.

    Attributes:
        key: The business key, which determines the partition.
        value: The bytes; None for a tombstone.
        timestamp_ms: The time of sending, in milliseconds since 1970 UTC.
        reason: The expected reason code in quarantine; None for a sound message.
    """

    key: str
    value: bytes | None
    timestamp_ms: int
    reason: str | None = None


@dataclass(frozen=True)
class Messages:
    """Many sound messages, stored column by column; iteration yields them one by one."""

    keys: list[str]
    values: list[bytes]
    timestamps_ms: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Message]:
        return map(Message, self.keys, self.values, self.timestamps_ms)


def transaction_messages(
    corridor: Corridor, day: date, start: int, stop: int, *, day_rows: int = STREAM_DAY_ROWS
) -> Messages:
    """Return the rows [start, stop) of `corridor.transactions(day, day_rows)`, each sent at the time of its event.

    Raises:
        ConfigurationError: The day, the number of rows or the slice is out of range.
    """
    rows = corridor.transaction_slice(day, day_rows, start, stop)
    sent = pl.col("date").str.strptime(pl.Datetime("ms"), _LOCAL_TEXT).dt.replace_time_zone(LOCAL_ZONE)
    return _messages(rows, rows.select(sent.dt.epoch("ms")).to_series())


def terminal_event_messages(
    corridor: Corridor, day: date, start: int, stop: int, *, day_rows: int = STREAM_DAY_ROWS
) -> Messages:
    """Return the events [start, stop) of a local day with `day_rows` terminal events, each sent at its own time.

    Raises:
        ConfigurationError: The day, the number of rows or the slice is out of range.
    """
    check_slice(day, day_rows, start, stop)
    draws = corridor.draws((day, "events"), day, start, stop)
    local = local_time(day, day_rows) + pl.duration(milliseconds=pl.col("volume") * 1_000, time_unit="ms")
    sent = draws.select(local.dt.replace_time_zone(LOCAL_ZONE).dt.epoch("ms")).to_series()
    return _messages(terminal_events(draws, first_number(day), local), sent)


def first_live_number(now: datetime) -> int:
    """Return the first number of a live run that starts now.

    It is the number of nanoseconds since 2020, with 18 digits until 2051: far above the numbers of days, and above
    those of any earlier run that sent less than one message per nanosecond.
    """
    return (now - _LIVE_EPOCH) // timedelta(microseconds=1) * 1_000


def live_transactions(corridor: Corridor, number_from: int, count: int, now: datetime) -> Messages:
    """Return transactions from `TRX-<number_from>` on that happened just before `now` and are sent now.

    Args:
        corridor: The corridor whose machines report.
        number_from: The first number, at least `first_live_number` of the start of the run.
        count: The number of transactions.
        now: The current instant, with a zone.

    Raises:
        ConfigurationError: `now` has no zone, or the count is negative.
    """
    draws, local = _live(corridor, "live", number_from, count, now)
    rows = draws.select(
        transaction_id=pl.format("TRX-{}", "row"),
        machine_id="machine_id",
        date=local.dt.strftime(_LOCAL_TEXT),
        volume_transferred=volume_t(),
        status_code=status(),
    )
    return _messages(rows, _all_at(now, count))


def live_terminal_events(corridor: Corridor, number_from: int, count: int, now: datetime) -> Messages:
    """Return terminal events from `EVT-<number_from>` on that happened just before `now` and are sent now.

    The arguments and errors are those of `live_transactions`.
    """
    draws, local = _live(corridor, "live events", number_from, count, now)
    return _messages(terminal_events(draws, 0, local), _all_at(now, count))


def _live(corridor: Corridor, sequence: str, first: int, count: int, now: datetime) -> tuple[pl.DataFrame, pl.Expr]:
    if now.tzinfo is None or count < 0:
        raise ConfigurationError(f"live events need an instant with a zone and a count from 0: {now}, {count}")
    local_now = now.astimezone(ZoneInfo(LOCAL_ZONE)).replace(tzinfo=None)
    draws = corridor.draws((sequence,), local_now.date(), first, first + count)
    ago = pl.duration(milliseconds=pl.col("moment") * _LIVE_SPAN_MS, time_unit="ms")
    return draws, pl.lit(local_now, pl.Datetime("ms")) - ago


def _all_at(now: datetime, count: int) -> pl.Series:
    return pl.repeat(int(now.timestamp() * 1_000), count, dtype=pl.Int64, eager=True)


def _messages(rows: pl.DataFrame, sent_ms: pl.Series) -> Messages:
    """Write each row as compact JSON; the first column is the key."""
    values = rows.to_struct().struct.json_encode().cast(pl.Binary)
    return Messages(rows.to_series(0).to_list(), values.to_list(), sent_ms.to_list())
