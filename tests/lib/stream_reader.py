"""A listener without a broker: the tests make its micro-batches."""

import json
from collections.abc import Sequence

import polars as pl

from freight.streaming.conform import Received, Span, conform
from freight.streaming.messages import MESSAGE_SCHEMA
from freight.streaming.session import new_listener, open_stream_engine
from freight.types import RunId
from freight.validation import Locale
from freight.warehouse.partitions import keep_partitions
from freight.warehouse.stream_load import MicroBatch, StreamLoader
from freight.warehouse.streams import NO_TIMES, PartitionLog, Stream, take_positions
from tests.lib.corridor import NOW

TOPIC_ID = "the-topic"


class Reader:
    """A listener without a broker, which loads the micro-batches of a test into the warehouse."""

    def __init__(
        self, url: str, group: str = "dpa", dataset: str = "transactions", day_first: bool | None = None
    ) -> None:
        self.stream = Stream(dataset, f"freight.{dataset}", group, day_first=day_first)
        self.engine = open_stream_engine(url, self.stream)
        self.ref = new_listener(RunId(f"run of {group}"))
        self.loader = StreamLoader(self.engine, self.stream, self.ref, lambda: NOW)
        self.next = dict.fromkeys(range(2), 0)
        self.newest = dict.fromkeys(range(2), NO_TIMES)
        keep_partitions(self.engine, NOW)
        logs = [PartitionLog(partition, TOPIC_ID, 0, 1_000_000) for partition in self.next]
        take_positions(self.engine, self.stream, self.ref, logs, list(self.next), NOW)

    def batch(self, *values: Sequence[bytes | None], sent_us: int = 1) -> MicroBatch:
        """Return a micro-batch with messages for each partition, behind the previous one."""
        return self.timed_batch(*([(sent_us + i, value) for i, value in enumerate(sent)] for sent in values))

    def timed_batch(self, *logs: Sequence[tuple[int, bytes | None]]) -> MicroBatch:
        """Return a micro-batch with messages for each partition, which state when they were sent."""
        messages, spans = [], {}
        for partition, sent in enumerate(logs):
            start = self.next[partition]
            messages += [(partition, start + i, *message) for i, message in enumerate(sent)]
            spans[partition] = Span(TOPIC_ID, start, start + len(sent), self.newest[partition])
            self.next[partition] += len(sent)
        frame = pl.DataFrame(messages, schema=MESSAGE_SCHEMA, orient="row")
        batch = conform(Received(frame, spans), self.stream.contract, Locale(self.stream.notation), NOW)
        self.newest |= {offsets.partition: offsets.newest for offsets in batch.ranges}
        return batch


def terminal_event(number: int, pressure: float = 100.0, at: str = "2026-02-28T10:00:00Z") -> bytes:
    return json.dumps(
        {
            "event_id": f"EVT-{number}",
            "machine_id": "MCH-001",
            "event_at": at,
            "event_type": "LOADED",
            "volume_transferred": None,
            "status_code": "OK",
            "flow_rate": 1.5,
            "pressure": pressure,
            "vibration": None,
            "temperature": 40,
        }
    ).encode()
