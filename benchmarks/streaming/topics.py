"""The events of a run in three forms: as messages for DPA, as messages with a schema for Connect, and spoiled."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count

import orjson
import polars as pl
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.streaming.servers import PARTITIONS
from freight.contracts import Column, Contract, contract_for
from freight.contracts.headers import known_headers
from freight.simulator import Corridor
from freight.simulator.poison import POISON
from freight.simulator.producer import Delivered, send_messages
from freight.simulator.stream import Message, Messages, terminal_event_messages, transaction_messages

MACHINES = 2_000
CHUNK = 100_000
REDELIVERED_EVERY = 10
POISON_EVERY = 100
# A megabyte of poison in every four thousandth message would measure only its storage.
GIANTS = ("megabyte", "deep")
QUIET = 3  # errors only: a closed client prints its remaining messages
BULK = {
    "linger.ms": 50,
    "batch.size": 1_000_000,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 500_000,
    "log_level": QUIET,
}

MAKERS: dict[str, Callable[..., Messages]] = {
    "transactions": transaction_messages,
    "terminal_events": terminal_event_messages,
}

_numbers = count()


@dataclass(frozen=True)
class Topic:
    """A filled topic, which does not change.

    Attributes:
        name: The name of the topic.
        messages: The number of its messages.
        last_values: The last message of each partition.
    """

    name: str
    messages: int
    last_values: tuple[bytes, ...]


@dataclass(frozen=True)
class Workload:
    """The events of a run: those of yesterday, so that none is too old, and none in the future."""

    dataset: str
    events: int

    @property
    def contract(self) -> Contract:
        """The contract of the dataset."""
        return contract_for(self.dataset)

    @property
    def corridor(self) -> Corridor:
        """The corridor of the events."""
        return Corridor(machines=MACHINES)

    @property
    def day(self) -> date:
        """The day of the events."""
        return datetime.now(UTC).date() - timedelta(days=1)

    def chunks(self) -> Iterator[Messages]:
        """Yield the events in order of time."""
        corridor, day = self.corridor, self.day
        for start in range(0, self.events, CHUNK):
            stop = min(start + CHUNK, self.events)
            yield MAKERS[self.dataset](corridor, day, start, stop, day_rows=self.events)

    def messages(self) -> Iterator[Message]:
        """Yield the events one by one."""
        return (message for chunk in self.chunks() for message in chunk)

    def spoiled(self) -> Iterator[Message]:
        """Yield the events, some of them broken, and after every tenth one an exact copy of an earlier one."""
        draw = random.Random(7)
        kinds = [make for name, make in POISON.items() if name not in GIANTS]
        sent: list[Message] = []
        for number, sound in enumerate(self.messages(), start=1):
            message = sound
            if number % POISON_EVERY == 0:
                make = kinds[number // POISON_EVERY % len(kinds)]
                message = sound._replace(value=make(orjson.loads(sound.value or b"")).value)
            else:
                sent.append(message)
            yield message
            if number % REDELIVERED_EVERY == 0:
                yield draw.choice(sent)

    def for_connect(self) -> Iterator[Message]:
        """Yield the events with the names and types of the table: the sink does not parse times."""
        return (message for chunk in self.chunks() for message in _as_columns(chunk, self.contract))


def _as_columns(messages: Messages, contract: Contract) -> Messages:
    names = known_headers(contract)
    fields = {field: names[field] for field in orjson.loads(messages.values[0])}
    kinds = {column.name: pl.Float64() if column.dtype == "number" else pl.String() for column in contract.columns}
    schema = pl.Schema({field: kinds[name] for field, name in fields.items()})
    rows = pl.read_ndjson(b"\n".join(messages.values), schema=schema).rename(fields)
    rows = rows.with_columns(pl.Series(contract.event_time or "", messages.timestamps_ms))
    values = rows.to_struct().struct.json_encode().cast(pl.Binary).to_list()
    return Messages(messages.keys, values, messages.timestamps_ms)


def connect_schema(contract: Contract) -> str:
    """Return the schema of `Workload.for_connect` in the format of Connect's JSON converter."""
    return json.dumps({"type": "struct", "optional": False, "fields": [_field(column) for column in contract.columns]})


def _field(column: Column) -> dict[str, object]:
    kinds: dict[str, dict[str, object]] = {
        "text": {"type": "string"},
        "number": {"type": "double"},
        "instant": {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1},
    }
    return {"field": column.name, "optional": not column.required, **kinds[column.dtype]}


def fill(bootstrap: str, messages: Iterable[Message]) -> Topic:
    """Make a topic and send messages to it."""
    name = new_topic(bootstrap)
    last: dict[int, bytes] = {}

    def note(delivered: Delivered) -> None:
        last[delivered.partition] = delivered.value or b""

    sent = send_messages({"bootstrap.servers": bootstrap, **BULK}, name, messages, on_delivered=note)
    return Topic(name, sent, tuple(last.values()))


def new_topic(bootstrap: str) -> str:
    """Make an empty topic and return its name."""
    name = f"bench-{next(_numbers)}"
    admin = AdminClient(
        {"bootstrap.servers": bootstrap, "log_level": QUIET}
    )  # kept until it is done: without it the request fails
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        made.result(30)
    return name
