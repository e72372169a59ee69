"""The corridor as a stream: what its terminals send, as the JSON messages of a topic. Nothing here knows Kafka.

Messages of a day are those of its files: same ids, same content. Live messages have numbers of their own.
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
_LIVE_SPAN_MS = 3_000  # how long before it is sent an event of the live stream happened, at most


class Message(NamedTuple):
    """One message for a topic.

    Attributes:
        key: business key, which decides the partition.
        value: the bytes; None for a tombstone.
        timestamp_ms: when the terminal sent it, milliseconds since 1970 UTC.
        reason: the reason code with which it belongs in quarantine; None when it is sound.
    """

    key: str
    value: bytes | None
    timestamp_ms: int
    reason: str | None = None


@dataclass(frozen=True)
class Messages:
    """Many sound messages, column by column: iterate over it for one after the other."""

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
    """Return the rows [start, stop) of `corridor.transactions(day, day_rows)`, each sent when it happened.

    Raises:
        ConfigurationError: the day, the number of rows or the slice is out of range.
    """
    rows = corridor.transaction_slice(day, day_rows, start, stop)
    sent = pl.col("date").str.strptime(pl.Datetime("ms"), _LOCAL_TEXT).dt.replace_time_zone(LOCAL_ZONE)
    return _messages(rows, rows.select(sent.dt.epoch("ms")).to_series())


def terminal_event_messages(
    corridor: Corridor, day: date, start: int, stop: int, *, day_rows: int = STREAM_DAY_ROWS
) -> Messages:
    """Return the terminal events [start, stop) of a local day that has `day_rows` of them, each sent when it happened.

    Raises:
        ConfigurationError: the day, the number of rows or the slice is out of range.
    """
    check_slice(day, day_rows, start, stop)
    draws = corridor.draws((day, "events"), day, start, stop)
    local = local_time(day, day_rows) + pl.duration(milliseconds=pl.col("volume") * 1_000, time_unit="ms")
    sent = draws.select(local.dt.replace_time_zone(LOCAL_ZONE).dt.epoch("ms")).to_series()
    return _messages(terminal_events(draws, first_number(day), local), sent)


def first_live_number(now: datetime) -> int:
    """Return the number from which a live run that starts now counts.

    It is the nanoseconds since 2020, 18 digits until 2051: far above the numbers of days, and beyond all numbers of
    any earlier run that sent less than one message in a nanosecond.
    """
    return (now - _LIVE_EPOCH) // timedelta(microseconds=1) * 1_000


def live_transactions(corridor: Corridor, number_from: int, count: int, now: datetime) -> Messages:
    """Return transactions `TRX-<number_from>` and following that happened just before `now` and are sent now.

    Args:
        corridor: whose machines work.
        number_from: number of the first one, at least `first_live_number` of the start of the run.
        count: how many.
        now: instant with a zone.

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
    """Return terminal events `EVT-<number_from>` and following that happened just before `now` and are sent now.

    Arguments and errors are those of `live_transactions`.
    """
    draws, local = _live(corridor, "live events", number_from, count, now)
    return _messages(terminal_events(draws, 0, local), _all_at(now, count))


def _live(corridor: Corridor, sequence: str, first: int, count: int, now: datetime) -> tuple[pl.DataFrame, pl.Expr]:
    if now.tzinfo is None or count < 0:
        raise ConfigurationError(f"live events need an instant with a zone and no negative count: {now}, {count}")
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
