"""Read a span of a topic again, outside any group: loaded messages stay unchanged."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from freight.errors import ConfigurationError, TransientError
from freight.retry import with_retries
from freight.streaming.conform import Span, conform
from freight.streaming.consumer import TopicReader
from freight.streaming.micro_batch import BatchLimits, Buffer
from freight.types import LoadCounts, RunId
from freight.validation import Locale
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import refuse_to_mix
from freight.warehouse.stream_load import StreamLoader
from freight.warehouse.streams import ListenerRef, PartitionLog, Stream

log = logging.getLogger("freight")

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

    Raises:
        ConfigurationError: The broker does not hold the whole span, or simulated data would mix with real data.
        TransientError: The broker or the warehouse is away.
    """
    with reading(engine) as connection:
        refuse_to_mix(connection, simulated=stream.simulated)
    spans, locale = _spans(reader, wanted), Locale(stream.notation, stream.time_zone)
    loader = StreamLoader(engine, stream, ListenerRef(f"replay {run_id}", run_id), clock)
    buffer, counts, silence = Buffer(limits or BatchLimits()), LoadCounts(), 0
    for partition, span in spans.items():
        buffer.begin(partition, Span(span.topic_id, span.from_offset, span.from_offset, None))
    reader.start({partition: span.from_offset for partition, span in spans.items()})
    ends = {partition: span.until_offset for partition, span in spans.items()}
    while not _is_read(buffer, ends):
        before = buffer.room
        buffer.add(reader.poll(buffer.room, 1.0).before(ends), 0.0)
        silence = 0 if buffer.room < before else silence + 1
        if silence >= SILENCE_POLLS:
            raise TransientError(f"{stream.topic}: the broker does not return the messages that it has")
        if buffer.is_full() or _is_read(buffer, ends):
            batch = conform(buffer.take(), stream.contract, locale, clock())
            counts += with_retries(lambda batch=batch: loader.load_again(batch))  # type: ignore[misc]
    log.info("%s read again: %s", stream.topic, counts)
    return counts


def _spans(reader: TopicReader, wanted: Wanted) -> dict[int, Span]:
    """Return the span of each partition, without empty ones."""
    logs = {known.partition: known for known in reader.logs()}
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
