"""The transactional load of a micro-batch: commit rows, quarantine, lineage and offsets together, or nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property, partial

import polars as pl
import sqlalchemy as sa

from freight.errors import PositionFenced, RowsRefused, TransientError
from freight.frames import PARTITION, ROW_NUMBER
from freight.notation.evidence import ReadAs
from freight.types import BatchId, Cause, FaultCode, LoadCounts, instant_of
from freight.warehouse.connect import Engine, canceller, transaction
from freight.warehouse.datasets import RowWriter
from freight.warehouse.ledger import LoadUnit, count_values, open_batch, write_quarantine
from freight.warehouse.refused import refused_rows
from freight.warehouse.schema import COUNT_NAMES, batches, quarantine, stream_batches, stream_positions
from freight.warehouse.streams import NO_TIMES, ListenerRef, Newest, Stream, free_frozen_listeners, read_positions
from freight.warehouse.upsert import Batch, UpsertCounts

BATCH_AGE = timedelta(minutes=5)  # a lineage row grows for this long, so loaded_at is accurate to this
MEETING_BATCHES = 20  # after one meets a stored key, this many micro-batches are expected to meet more

MOVE_POSITION = sa.text(
    "UPDATE stream_positions SET next_offset = :until_offset, newest_sent_us = :newest_sent_us, "
    "newest_event_us = :newest_event_us, listener_id = :listener_id, moved_at = :now "
    "WHERE consumer_group = :consumer_group AND topic = :topic AND topic_id = :topic_id "
    "AND partition_number = :partition AND next_offset = :from_offset"
).bindparams(sa.bindparam("now", type_=stream_positions.c.moved_at.type))

GROW_BATCH = sa.text(
    f"UPDATE batches SET {', '.join(f'{name} = {name} + :{name}' for name in COUNT_NAMES)}, "
    "size_bytes = size_bytes + :size_bytes, first_row = COALESCE(first_row, :first_row), last_row = :last_row, "
    "as_of = CASE WHEN as_of < :as_of THEN :as_of ELSE as_of END, loaded_at = :loaded_at WHERE batch_id = :batch_id"
).bindparams(*(sa.bindparam(name, type_=batches.c[name].type) for name in ("as_of", "loaded_at")))


@dataclass(frozen=True)
class OffsetRange:
    """Offsets [from_offset, until_offset) of a partition, and the totals of their messages.

    Attributes:
        messages: The number of messages; transaction markers and compacted messages leave holes.
        size_bytes: The size of the messages.
        superseded: The number of rows left out because the micro-batch itself holds a newer version of their key.
        oldest_sent_us: The instant when the oldest message was sent; 0 without a message.
        before: The newest times of the partition before this range.
        newest: The newest times so far, including this range.
    """

    partition: int
    topic_id: str
    from_offset: int
    until_offset: int
    messages: int = 0
    size_bytes: int = 0
    superseded: int = 0
    oldest_sent_us: int = 0
    before: Newest = NO_TIMES
    newest: Newest = NO_TIMES


@dataclass(frozen=True)
class MicroBatch:
    """Messages that are committed together.

    Attributes:
        ranges: One range for each partition, in their order.
        rows: Conformed rows with `partition_number`, `origin_us` and `origin_seq`; a key occurs once, unless such rows
            never change.
        bad_rows: Columns of `BAD_ROWS_SCHEMA` (row_number is the offset), `origin_us` and `partition_number`.
        raw: `partition_number`, `offset`, `origin_us` and `value` of the messages: the warehouse may refuse some.
    """

    ranges: tuple[OffsetRange, ...]
    rows: pl.DataFrame
    bad_rows: pl.DataFrame
    raw: pl.DataFrame

    @property
    def messages(self) -> int:
        """Number of messages."""
        return sum(offsets.messages for offsets in self.ranges)

    @cached_property
    def bad_rows_by_partition(self) -> dict[int, pl.DataFrame]:
        """The bad rows of each partition, without its number."""
        none = self.bad_rows.clear().drop(PARTITION)
        found = self.bad_rows.partition_by(PARTITION, as_dict=True, include_key=False)
        return {offsets.partition: found.get((offsets.partition,), none) for offsets in self.ranges}


@dataclass(frozen=True)
class _OpenBatch:
    """A lineage row that grows by the offsets that follow it."""

    batch_id: BatchId
    opened_at: datetime
    until_offset: int

    def takes(self, offsets: OffsetRange, now: datetime) -> bool:
        """Whether offsets belong to it."""
        return self.until_offset == offsets.from_offset and now - self.opened_at <= BATCH_AGE


class StreamLoader:
    """Loads the micro-batches of one listener, one after the other."""

    def __init__(self, engine: Engine, stream: Stream, listener: ListenerRef, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._stream = stream
        self._listener = listener
        self._clock = clock
        self._writer = RowWriter()
        self._open: dict[tuple[str, int], _OpenBatch] = {}
        self._meeting_batches = 0
        self._cancel: Callable[[], None] | None = None

    def load(self, micro_batch: MicroBatch) -> LoadCounts:
        """Commit a micro-batch; doing it again after an error never loads it twice.

        Raises:
            PositionFenced: Another listener has moved one of the positions; nothing was written.
            TransientError: The call may be repeated; it wrote nothing or everything, and a repeat notices the latter.
        """
        try:
            return self._load_what_is_taken(self._load, micro_batch)
        except TransientError:
            free_frozen_listeners(self._engine, self._stream)
            raise

    def load_again(self, micro_batch: MicroBatch) -> LoadCounts:
        """Load offsets once more, regardless of the positions; leave out messages already in quarantine.

        Quarantined messages of these offsets that can now be loaded count as replayed.

        Raises:
            TransientError: The call may be repeated; it wrote nothing or everything, and then a repeat changes nothing.
        """
        return self._load_what_is_taken(self._load_again, micro_batch)

    def _load_what_is_taken(self, load: Callable[[MicroBatch], LoadCounts], micro_batch: MicroBatch) -> LoadCounts:
        """Load a micro-batch; rows that the warehouse itself refuses go into quarantine."""
        try:
            return load(micro_batch)
        except RowsRefused:
            with transaction(self._engine) as connection:
                refused = refused_rows(connection, [micro_batch.rows], partial(self._try_to_write, connection))
            if refused is None:
                raise
            return load(_with_quarantined(micro_batch, refused))

    def _try_to_write(self, connection: sa.Connection, rows: pl.DataFrame) -> None:
        nowhere = rows.drop(PARTITION).with_columns(batch_id=pl.lit(0, pl.Int64))
        self._writer.write(connection, Batch((BatchId(0),), self._stream.contract, lambda: [nowhere], rows.height))

    def _load_again(self, micro_batch: MicroBatch) -> LoadCounts:
        now = self._clock()
        with transaction(self._engine) as connection:
            left = _without_quarantined(connection, self._stream, micro_batch)
            batch_ids = [self._new_batch(connection, offsets, "replay", now) for offsets in left.ranges]
            counts = self._write(connection, left, batch_ids)
            _grow_batches(connection, left.ranges, batch_ids, counts, now)
            for offsets, batch_id in zip(left.ranges, batch_ids, strict=True):
                _mark_replayed(connection, self._stream, offsets, micro_batch.bad_rows, batch_id)
        return sum(counts, LoadCounts())

    def cancel(self) -> None:
        """Cancel the load that is running in another thread; its outcome is unknown."""
        if cancel := self._cancel:
            cancel()

    def _load(self, micro_batch: MicroBatch) -> LoadCounts:
        now = self._clock()
        opened = dict(self._open)
        with transaction(self._engine) as connection:
            self._cancel = canceller(connection)
            try:
                if not self._advance(connection, micro_batch.ranges, now):
                    return LoadCounts()
                batch_ids = [self._batch_of(connection, offsets, opened, now) for offsets in micro_batch.ranges]
                counts = self._write(connection, micro_batch, batch_ids)
                _grow_batches(connection, micro_batch.ranges, batch_ids, counts, now)
            finally:
                self._cancel = None
        self._open = opened  # only committed lineage rows can grow
        return sum(counts, LoadCounts())

    def _advance(self, connection: sa.Connection, ranges: Sequence[OffsetRange], now: datetime) -> bool:
        """Move the positions; return False if an earlier attempt at this same load has moved them."""
        shared = {
            "listener_id": self._listener.listener_id,
            "now": now,
            "consumer_group": self._stream.group,
            "topic": self._stream.topic,
        }
        moves = [{**shared, **_move(offsets)} for offsets in ranges]
        moved = connection.execute(MOVE_POSITION, moves).rowcount
        if moved == len(ranges):
            return True
        if moved == 0 and self._is_ours(connection, ranges):
            return False
        raise PositionFenced(f"{self._stream.topic}: another listener of {self._stream.group} has read these offsets")

    def _is_ours(self, connection: sa.Connection, ranges: Sequence[OffsetRange]) -> bool:
        """Whether this listener has already moved the positions to the end of this load."""
        stored = {(p.partition, p.topic_id): p for p in read_positions(connection, self._stream)}
        found = [(stored.get((offsets.partition, offsets.topic_id)), offsets.until_offset) for offsets in ranges]
        mine = self._listener.listener_id
        return all(p and (p.next_offset, p.listener_id) == (until, mine) for p, until in found)

    def _batch_of(
        self,
        connection: sa.Connection,
        offsets: OffsetRange,
        opened: dict[tuple[str, int], _OpenBatch],
        now: datetime,
    ) -> BatchId:
        """Return the lineage row that grows by these offsets."""
        key = offsets.topic_id, offsets.partition
        grown = opened.get(key)
        if grown is None or not grown.takes(offsets, now):
            grown = _OpenBatch(self._new_batch(connection, offsets, "load", now), now, offsets.until_offset)
        opened[key] = replace(grown, until_offset=offsets.until_offset)
        return grown.batch_id

    def _new_batch(self, connection: sa.Connection, offsets: OffsetRange, cause: Cause, now: datetime) -> BatchId:
        batch_id = open_batch(connection, replace(self._unit(offsets), cause=cause), ReadAs(self._stream.notation), now)
        _note_partition(connection, self._stream, offsets, batch_id)
        return batch_id

    def _unit(self, offsets: OffsetRange) -> LoadUnit:
        location, sent_at = self._stream.location(offsets.partition), instant_of(offsets.newest.sent_us)
        return self._stream.unit(self._listener.run_id, location, offsets.topic_id, sent_at)

    def _write(
        self, connection: sa.Connection, micro_batch: MicroBatch, batch_ids: Sequence[BatchId]
    ) -> list[LoadCounts]:
        batch_of = {offsets.partition: number for offsets, number in zip(micro_batch.ranges, batch_ids, strict=True)}
        rows = _with_batch(micro_batch.rows, batch_of)
        likely_new = self._meeting_batches == 0
        written = self._writer.write(
            connection, Batch(tuple(batch_ids), self._stream.contract, lambda: [rows], rows.height, likely_new)
        )
        met_stored = any(part.inserted < part.rows for part in written.values())
        self._meeting_batches = MEETING_BATCHES if met_stored else max(0, self._meeting_batches - 1)
        bad_rows = micro_batch.bad_rows_by_partition
        return [
            self._counts(connection, micro_batch, offsets, number, written[number], bad_rows[offsets.partition])
            for offsets, number in zip(micro_batch.ranges, batch_ids, strict=True)
        ]

    def _counts(
        self,
        connection: sa.Connection,
        micro_batch: MicroBatch,
        offsets: OffsetRange,
        batch_id: BatchId,
        written: UpsertCounts,
        bad_rows: pl.DataFrame,
    ) -> LoadCounts:
        if written.conflicts:
            bad_rows = pl.concat([bad_rows, _conflicting(micro_batch.raw, offsets.partition, written.conflicts)])
        return written.load_counts(
            self._stream.location(offsets.partition),
            read=offsets.messages,
            superseded=offsets.superseded,
            quarantined=write_quarantine(connection, self._unit(offsets), batch_id, [bad_rows]) if len(bad_rows) else 0,
        )


def _move(offsets: OffsetRange) -> dict[str, object]:
    """Return the parameters that move the position of a partition."""
    return {
        **{name: getattr(offsets, name) for name in ("partition", "topic_id", "from_offset", "until_offset")},
        "newest_sent_us": offsets.newest.sent_us,
        "newest_event_us": offsets.newest.event_us,
    }


def _conflicting(raw: pl.DataFrame, partition: int, offsets: Sequence[int]) -> pl.DataFrame:
    """Return the messages that contradict stored rows, as bad rows without their partition."""
    found = raw.filter((pl.col(PARTITION) == partition) & pl.col("offset").is_in(list(offsets)))
    explained = found.with_columns(
        detail=pl.lit("its key is stored with different content, and such rows never change")
    )
    return _bad_rows(explained, "conflicting_event").drop(PARTITION)


def _with_quarantined(micro_batch: MicroBatch, refused: pl.DataFrame) -> MicroBatch:
    """Turn rows that the warehouse refuses into bad rows."""
    coordinates = [PARTITION, "offset"]
    keys = refused.select(PARTITION, pl.col("origin_seq").alias("offset"), "detail")
    bad_rows = _bad_rows(micro_batch.raw.join(keys, on=coordinates), "refused_by_warehouse")
    return replace(
        micro_batch,
        rows=micro_batch.rows.join(keys, left_on=[PARTITION, "origin_seq"], right_on=coordinates, how="anti"),
        bad_rows=pl.concat([micro_batch.bad_rows, bad_rows.select(micro_batch.bad_rows.columns)]),
    )


def _bad_rows(messages: pl.DataFrame, reason: FaultCode) -> pl.DataFrame:
    """Convert messages with a detail to bad rows."""
    return messages.select(
        pl.col("offset").alias(ROW_NUMBER),
        pl.lit(None, pl.String).alias("column_name"),
        pl.lit(reason).alias("reason"),
        "detail",
        pl.col("value").alias("raw"),
        pl.lit(None, pl.String).alias("broken_rules"),
        "origin_us",
        PARTITION,
    )


def _with_batch(rows: pl.DataFrame, batch_of: Mapping[int, BatchId]) -> pl.DataFrame:
    """Replace the partition column with the id of its lineage row."""
    numbers = rows[PARTITION].replace_strict(dict(batch_of), return_dtype=pl.Int64).alias("batch_id")
    return rows.drop(PARTITION).with_columns(numbers)


def _note_partition(connection: sa.Connection, stream: Stream, offsets: OffsetRange, batch_id: BatchId) -> None:
    connection.execute(
        stream_batches.insert().values(
            batch_id=batch_id,
            consumer_group=stream.group,
            topic=stream.topic,
            topic_id=offsets.topic_id,
            partition_number=offsets.partition,
            sent_before_us=offsets.before.sent_us,
            event_before_us=offsets.before.event_us,
        )
    )


def _grow_batches(
    connection: sa.Connection,
    ranges: Sequence[OffsetRange],
    batch_ids: Sequence[BatchId],
    counts: Sequence[LoadCounts],
    now: datetime,
) -> None:
    """Add offsets and counts to the lineage rows."""
    grown = [
        {
            "size_bytes": offsets.size_bytes,
            "first_row": offsets.from_offset,
            "last_row": offsets.until_offset - 1,
            "as_of": instant_of(offsets.newest.sent_us),
            "loaded_at": now,
            "batch_id": number,
            **count_values(part),
        }
        for offsets, number, part in zip(ranges, batch_ids, counts, strict=True)
    ]
    connection.execute(GROW_BATCH, grown)


def quarantined_of(stream: Stream, offsets: OffsetRange) -> sa.ColumnElement[bool]:
    """Return the condition for the quarantined rows of these offsets."""
    batches_of_partition = sa.select(stream_batches.c.batch_id).where(
        stream_batches.c.topic == stream.topic,
        stream_batches.c.topic_id == offsets.topic_id,
        stream_batches.c.partition_number == offsets.partition,
    )
    return quarantine.c.batch_id.in_(batches_of_partition) & quarantine.c.row_number.between(
        offsets.from_offset, offsets.until_offset - 1
    )


def _without_quarantined(connection: sa.Connection, stream: Stream, micro_batch: MicroBatch) -> MicroBatch:
    """Leave out messages that are already in quarantine: bad ones, and those that contradict stored rows."""
    names = (quarantine.c.row_number, quarantine.c.reason)
    known = pl.DataFrame(
        [
            (offsets.partition, row_number)
            for offsets in micro_batch.ranges
            for row_number, reason in connection.execute(sa.select(*names).where(quarantined_of(stream, offsets)))
            if reason == "conflicting_event" or _is_among(micro_batch.bad_rows, offsets.partition, row_number)
        ],
        schema={PARTITION: pl.Int64, "known_offset": pl.Int64},
        orient="row",
    ).unique()
    left_out = dict(known[PARTITION].value_counts().iter_rows())
    return MicroBatch(
        ranges=tuple(
            replace(offsets, messages=offsets.messages - left_out.get(offsets.partition, 0))
            for offsets in micro_batch.ranges
        ),
        rows=_not_known(micro_batch.rows, known, "origin_seq"),
        bad_rows=_not_known(micro_batch.bad_rows, known, ROW_NUMBER),
        raw=micro_batch.raw,
    )


def _is_among(bad_rows: pl.DataFrame, partition: int, offset: int) -> bool:
    return not bad_rows.filter((pl.col(PARTITION) == partition) & (pl.col(ROW_NUMBER) == offset)).is_empty()


def _not_known(rows: pl.DataFrame, known: pl.DataFrame, offset: str) -> pl.DataFrame:
    return rows.join(known, left_on=[PARTITION, offset], right_on=[PARTITION, "known_offset"], how="anti")


def _mark_replayed(
    connection: sa.Connection, stream: Stream, offsets: OffsetRange, bad_rows: pl.DataFrame, batch_id: BatchId
) -> None:
    """Record that the quarantined messages of these offsets, except those that are still bad, have been loaded."""
    still_bad = bad_rows.filter(pl.col(PARTITION) == offsets.partition)[ROW_NUMBER].to_list()
    connection.execute(
        quarantine.update()
        .where(
            quarantined_of(stream, offsets),
            quarantine.c.batch_id != batch_id,
            quarantine.c.replayed_batch_id.is_(None),
            quarantine.c.reason != "conflicting_event",
            quarantine.c.row_number.not_in(still_bad),
        )
        .values(replayed_batch_id=batch_id)
    )
