"""Read a span of a topic again, outside any group: loaded messages stay unchanged."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from freight.errors import ConfigurationError, TransientError
from freight.frames import PARTITION
from freight.retry import with_retries
from freight.streaming.conform import Span, conform
from freight.streaming.consumer import Polled, TopicReader
from freight.streaming.micro_batch import BatchLimits, Buffer
from freight.types import LoadCounts, RunId
from freight.validation import Locale
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import refuse_to_mix
from freight.warehouse.read_again import beginning_of, untimed_offsets
from freight.warehouse.stream_load import MicroBatch, OffsetRange, StreamLoader
from freight.warehouse.streams import ListenerRef, PartitionLog, Stream

log = logging.getLogger("freight")

LATEST_US = 2**63 - 1
SILENCE_POLLS = 30  # of a second each; then the broker does not deliver messages that it has


@dataclass(frozen=True)
class Wanted:
    """The span to read again: offsets or times, of some partitions or of all; an open end is that of the log.

    Attributes:
        partitions: The partitions; None for all.
        from_offset, until_offset: The half-open range of offsets, [from_offset, until_offset).
        from_time, until_time: The half-open range of sending times.
    """

    partitions: tuple[int, ...] | None = None
    from_offset: int | None = None
    until_offset: int | None = None
    from_time: datetime | None = None
    until_time: datetime | None = None


def replay_range(
    engine: Engine,
    stream: Stream,
    run_id: RunId,
    reader: TopicReader,
    wanted: Wanted,
    *,
    limits: BatchLimits | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> LoadCounts:
    """Load a span of messages again with their original origin; return the counts.

    The origin of a message follows from those before it. So the span is read from the beginning of the batch that holds
    its first message, and the messages before the span are not loaded.

    Raises:
        ConfigurationError: The broker does not hold the whole span, or simulated data would mix with real data.
        TransientError: The broker or the warehouse is away.
    """
    with reading(engine) as connection:
        refuse_to_mix(connection, simulated=stream.simulated)
    logs = {known.partition: known for known in reader.logs()}
    spans = _spans(reader, logs, wanted)
    before = {p: _before(engine, stream, logs[p], span) for p, span in spans.items()}
    untimed = _untimed(engine, stream, [*before.items(), *spans.items()])
    rereader = _Rereader(reader, stream, limits or BatchLimits(), untimed, clock)
    newest = {partition: span.newest for partition, span in before.items()}
    for batch in rereader.read(before):
        newest |= {offsets.partition: offsets.newest for offsets in batch.ranges}
    loader = StreamLoader(engine, stream, ListenerRef(f"replay {run_id}", run_id), clock)
    counts = LoadCounts()
    for batch in rereader.read({p: replace(span, newest=newest[p]) for p, span in spans.items()}):
        counts += with_retries(lambda batch=batch: loader.load_again(batch))  # type: ignore[misc]
    log.info("%s read again: %s", stream.topic, counts)
    return counts


def _before(engine: Engine, stream: Stream, known: PartitionLog, span: Span) -> Span:
    """Return the offsets before a span from which its order follows."""
    begins = beginning_of(engine, stream, _range(known.partition, span))
    if begins.offset < known.start:
        log.warning(
            "%s: the broker has deleted the messages from %s until %s, by whose times the next ones would be ordered",
            stream.location(known.partition),
            begins.offset,
            known.start,
        )
    return Span(span.topic_id, max(begins.offset, known.start), span.from_offset, begins.newest)


def _untimed(engine: Engine, stream: Stream, spans: Iterable[tuple[int, Span]]) -> pl.DataFrame:
    """Return the messages whose times were out of range; they stay in quarantine, and order no others."""
    found = [(p, offset) for p, span in spans for offset in untimed_offsets(engine, stream, _range(p, span))]
    return pl.DataFrame(found, schema={PARTITION: pl.Int64, "offset": pl.Int64}, orient="row")


def _range(partition: int, span: Span) -> OffsetRange:
    return OffsetRange(partition, span.topic_id, span.from_offset, span.until_offset)


class _Rereader:
    """Reads spans of a topic, and makes micro-batches of them."""

    def __init__(
        self,
        reader: TopicReader,
        stream: Stream,
        limits: BatchLimits,
        untimed: pl.DataFrame,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader, self._stream, self._limits, self._clock = reader, stream, limits, clock
        self._untimed = untimed
        self._locale = Locale(stream.notation, stream.time_zone)

    def read(self, spans: Mapping[int, Span]) -> Iterator[MicroBatch]:
        """Yield the micro-batches of spans.

        Raises:
            TransientError: The broker does not return messages that it has.
        """
        spans = {partition: span for partition, span in spans.items() if span.from_offset < span.until_offset}
        buffer, silence = Buffer(self._limits), 0
        for partition, span in spans.items():
            buffer.begin(partition, replace(span, until_offset=span.from_offset))
        self._reader.start({partition: span.from_offset for partition, span in spans.items()})
        ends = {partition: span.until_offset for partition, span in spans.items()}
        while not _is_read(buffer, ends):
            before = buffer.room
            buffer.add(self._poll(buffer.room, ends), 0.0)
            silence = 0 if buffer.room < before else silence + 1
            if silence >= SILENCE_POLLS:
                raise TransientError(f"{self._stream.topic}: the broker does not return the messages that it has")
            if buffer.is_full() or _is_read(buffer, ends):
                batch = conform(buffer.take(), self._stream.contract, self._locale, self._clock())
                buffer.note_newest(batch)
                yield batch

    def _poll(self, room: int, ends: Mapping[int, int]) -> Polled:
        polled = self._reader.poll(room, 1.0).before(ends)
        if self._untimed.is_empty():
            return polled
        known = self._untimed.with_columns(sent_us=pl.lit(LATEST_US))  # again out of range, whatever the time is now
        messages = polled.messages.update(known, on=[PARTITION, "offset"])
        return replace(polled, messages=messages)


def _spans(reader: TopicReader, logs: Mapping[int, PartitionLog], wanted: Wanted) -> dict[int, Span]:
    """Return the span of each partition, without empty ones."""
    if unknown := sorted(set(wanted.partitions or ()) - logs.keys()):
        raise ConfigurationError(f"the topic has no partition {unknown[0]}: it has {', '.join(map(str, logs))}")
    chosen = wanted.partitions if wanted.partitions is not None else tuple(logs)
    starts = reader.offsets_at(wanted.from_time) if wanted.from_time else {}
    ends = reader.offsets_at(wanted.until_time) if wanted.until_time else {}
    spans = {p: _span(logs[p], wanted, starts.get(p), ends.get(p)) for p in chosen}
    return {partition: span for partition, span in spans.items() if span.from_offset < span.until_offset}


def _span(known: PartitionLog, wanted: Wanted, at_start: int | None, at_end: int | None) -> Span:
    start = wanted.from_offset if wanted.from_offset is not None else at_start
    end = wanted.until_offset if wanted.until_offset is not None else at_end
    start, end = known.start if start is None else start, known.end if end is None else end
    if start < known.start or end > known.end:
        raise ConfigurationError(
            f"partition {known.partition} holds the offsets from {known.start} until {known.end}, "
            f"and not all of those from {start} until {end}"
        )
    return Span(known.topic_id, start, end)


def _is_read(buffer: Buffer, ends: Mapping[int, int]) -> bool:
    return all((buffer.expects(partition) or 0) >= end for partition, end in ends.items())
