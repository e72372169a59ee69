"""Turns messages into a micro-batch in memory: parsed, typed, validated, late rows flagged, one version per key."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import polars as pl

from freight.contracts import Contract
from freight.frames import PARTITION, ROW_NUMBER, BadRow, bad_rows
from freight.streaming.messages import decode
from freight.transforms import derive
from freight.transforms.versions import kept_versions, with_content_hash
from freight.types import origin_us_of
from freight.validation import Locale, split
from freight.warehouse.stream_load import MicroBatch, OffsetRange
from freight.warehouse.streams import NO_TIMES, Newest

LATE_US = 3_600_000_000  # microseconds behind the newest event of the partition
MOST_AHEAD_US = 86_400_000_000  # of the time at which a message was sent
FINER, LEAST_FINER = "microseconds or nanoseconds", 10**14  # milliseconds since 1970 reach that in the year 5138
SHOWN_CHARS = 200

log = logging.getLogger("freight")


@dataclass(frozen=True)
class Received:
    """Messages of some partitions, and the span that was read of each.

    Attributes:
        messages: The messages, with the columns of `MESSAGE_SCHEMA`.
        spans: The span of each partition.
    """

    messages: pl.DataFrame
    spans: Mapping[int, "Span"]


@dataclass(frozen=True)
class Span:
    """Offsets [from_offset, until_offset) of a partition, and the newest times before them."""

    topic_id: str
    from_offset: int
    until_offset: int
    newest: Newest = NO_TIMES


def conform(received: Received, contract: Contract, locale: Locale, now: datetime) -> MicroBatch:
    """Return the micro-batch to commit for some messages.

    Args:
        received: The messages.
        contract: The contract that they must keep.
        locale: The way in which they write values.
        now: The instant against which times are judged.
    """
    messages, untimed = _with_times(received.messages.with_row_index(ROW_NUMBER), now)
    messages = _in_order(messages, received.spans)
    usable = messages.filter(~messages[ROW_NUMBER].is_in(untimed[ROW_NUMBER].implode())) if untimed.height else messages
    rows, bad = _typed(usable, contract, locale, now)
    rows = _flag_late(rows, contract, received.spans)
    kept = kept_versions(rows, contract)
    newest = _newest(messages, rows, contract, received.spans)
    return MicroBatch(
        tuple(_ranges(messages, received.spans, newest, _superseded(rows, kept))),
        kept,
        _bad_rows(pl.concat([untimed, bad]), messages),
        messages.select(PARTITION, "offset", "origin_us", "value"),
    )


def _with_times(messages: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return messages whose times can be stored, and the bad rows of those that state a time more than a day ahead.

    Their versions would win against all others until that day, so they count as messages without a time.
    """
    messages = messages.with_columns(pl.col(ROW_NUMBER).cast(pl.Int64))
    is_ahead = messages["sent_us"] > origin_us_of(now) + MOST_AHEAD_US
    if not is_ahead.any():
        return messages, bad_rows()
    ahead = messages.filter(is_ahead).select(ROW_NUMBER, pl.col("sent_us") // 1_000)
    timed = messages.with_columns(pl.when(~is_ahead).then("sent_us").otherwise(0).alias("sent_us"))
    return timed, bad_rows(BadRow(row, None, "sent_at_out_of_range", _ahead(ms), b"") for row, ms in ahead.iter_rows())


def _in_order(messages: pl.DataFrame, spans: Mapping[int, Span]) -> pl.DataFrame:
    """Add the origin, the newest time of sending so far: in a partition a later offset is newer, by any clock."""
    before = {partition: span.newest.sent_us for partition, span in spans.items()}
    so_far = pl.col("sent_us").cum_max().over(PARTITION)
    return messages.with_columns(origin_us=pl.max_horizontal(so_far, _by_partition(before)))


def _by_partition(values: Mapping[int, int | None]) -> pl.Expr:
    return pl.col(PARTITION).replace_strict(values, return_dtype=pl.Int64)


def _ahead(sent_ms: int) -> str:
    looks = f", like {FINER} in place of milliseconds" if sent_ms >= LEAST_FINER else ""
    return f"its time, {sent_ms} ms since 1970, is more than a day ahead{looks}"


class _Typed(NamedTuple):
    """The rows of messages, and the bad rows."""

    rows: pl.DataFrame
    bad: pl.DataFrame


def _typed(messages: pl.DataFrame, contract: Contract, locale: Locale, now: datetime) -> _Typed:
    """Return the rows of messages; a message over which the code itself fails is a bad row.

    It is found by halves, so that the others load.
    """
    try:
        return _parsed(messages, contract, locale, now)
    except Exception as error:
        if messages.height > 1:
            middle = messages.height // 2
            halves = [_typed(half, contract, locale, now) for half in (messages[:middle], messages[middle:])]
            return _Typed(*map(pl.concat, zip(*halves, strict=True)))
        log.exception("the message at offset %s cannot be processed", messages["offset"].item())
        fault = f"{type(error).__name__}: {error}"[:SHOWN_CHARS]
        bad = bad_rows([BadRow(messages[ROW_NUMBER].item(), None, "unprocessable", fault, b"")])
        return _Typed(_parsed(messages.clear(), contract, locale, now).rows, bad)


def _parsed(messages: pl.DataFrame, contract: Contract, locale: Locale, now: datetime) -> _Typed:
    decoded = decode(messages["value"], contract)
    parted = split(decoded.rows, contract, locale, now)
    rows = with_content_hash(derive(_with_origin(parted.valid, messages), contract), contract)
    bad = pl.concat([decoded.faults, parted.quarantined])
    return _Typed(rows, bad.with_columns(messages[ROW_NUMBER].gather(bad[ROW_NUMBER]).alias(ROW_NUMBER)))


def _with_origin(valid: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Replace the row number, which is the place among the messages, by partition, origin and offset."""
    origin = messages.select(PARTITION, "origin_us", origin_seq="offset")
    if valid.height < messages.height:
        origin = origin[valid[ROW_NUMBER]]
    return valid.drop(ROW_NUMBER).hstack(origin)


def _flag_late(rows: pl.DataFrame, contract: Contract, spans: Mapping[int, Span]) -> pl.DataFrame:
    """Flag rows that arrived long after newer events of their partition."""
    before = {partition: span.newest.event_us for partition, span in spans.items()}
    event_us = pl.col(contract.event_time or "").dt.epoch("us")
    so_far = event_us.cum_max().over(PARTITION)
    newest = pl.max_horizontal(so_far, _by_partition(before))
    return rows.with_columns(is_late=event_us < newest - LATE_US)


def _newest(
    messages: pl.DataFrame, rows: pl.DataFrame, contract: Contract, spans: Mapping[int, Span]
) -> dict[int, Newest]:
    """Return the newest times of each partition, including those of before."""
    event_us = pl.col(contract.event_time or "").max().dt.epoch("us")
    events = dict(rows.group_by(PARTITION).agg(event_us).iter_rows())
    sent = dict(messages.group_by(PARTITION).agg(pl.col("origin_us").max()).iter_rows())
    return {
        partition: Newest(
            sent.get(partition, span.newest.sent_us),
            max((us for us in (span.newest.event_us, events.get(partition)) if us is not None), default=None),
        )
        for partition, span in spans.items()
    }


def _superseded(rows: pl.DataFrame, kept: pl.DataFrame) -> dict[int, int]:
    """Return by partition how many rows are left out, since the micro-batch itself holds a newer version."""
    left = _rows_by_partition(kept)
    return {partition: count - left.get(partition, 0) for partition, count in _rows_by_partition(rows).items()}


def _ranges(
    messages: pl.DataFrame, spans: Mapping[int, Span], newest: Mapping[int, Newest], superseded: Mapping[int, int]
) -> Iterator[OffsetRange]:
    figures = messages.group_by(PARTITION).agg(
        pl.len(),
        pl.col("value").bin.size().sum().fill_null(0),
        pl.col("sent_us").filter(pl.col("sent_us") > 0).min().fill_null(0),  # 0 states no time
    )
    by_partition = {partition: values for partition, *values in figures.iter_rows()}
    for partition, span in sorted(spans.items()):
        count, size_bytes, oldest_sent_us = by_partition.get(partition, (0, 0, 0))
        yield OffsetRange(
            partition,
            span.topic_id,
            span.from_offset,
            span.until_offset,
            count,
            size_bytes,
            superseded.get(partition, 0),
            oldest_sent_us,
            span.newest,
            newest[partition],
        )


def _rows_by_partition(rows: pl.DataFrame) -> dict[int, int]:
    return dict(rows[PARTITION].value_counts().iter_rows())


def _bad_rows(bad: pl.DataFrame, messages: pl.DataFrame) -> pl.DataFrame:
    """Add to each bad row its offset, its partition, the raw message and its origin."""
    came = messages[bad[ROW_NUMBER]]
    return bad.with_columns(
        came["offset"].alias(ROW_NUMBER),
        came["value"].fill_null(b"").alias("raw"),
        came["origin_us"],
        came[PARTITION],
    )
