"""Listeners that crash, freeze, lose answers and give partitions away at any step lose and double nothing."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from freight.care.reconcile import reconcile
from freight.errors import TransientError
from freight.retry import RetryPolicy
from freight.streaming.listener import ListenerLoop, ListenSettings
from freight.streaming.micro_batch import BatchLimits
from freight.streaming.poison import PoisonLimits
from freight.streaming.session import new_listener, open_stream_engine
from freight.streaming.status import Status
from freight.types import RunId
from freight.warehouse.aggregates import refresh_aggregates
from freight.warehouse.connect import reading, transaction
from freight.warehouse.migrate import migrate
from freight.warehouse.stream_load import MicroBatch, StreamLoader
from freight.warehouse.streams import Stream, take_positions
from tests.lib.examples import examples
from tests.lib.memory_broker import Deferred, MemoryBroker, MemoryReader

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STREAM = Stream("transactions", "freight.transactions", "dpa")
PARTITIONS = range(2)
SLOTS = range(2)

# key, when it was sent by a clock that may go back, volume; a volume below 0 breaks the contract
events = st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(-2, 9))


class Machine(RuleBasedStateMachine):
    """Two listeners of a group on two partitions, and everything that can happen to them."""

    template: Path

    @initialize()
    def start(self) -> None:
        """Begin with all partitions at the first listener."""
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.template, self.folder / "warehouse.sqlite")
        self.url = f"sqlite:///{self.folder / 'warehouse.sqlite'}"
        self.broker = MemoryBroker(partitions=len(PARTITIONS))
        self.owner = dict.fromkeys(PARTITIONS, 0)
        self.members = [Member(self.url, self.broker) for _ in SLOTS]
        self.members[0].reader.give(PARTITIONS)

    @rule(partition=st.sampled_from(PARTITIONS), sent=st.lists(events, min_size=1, max_size=6))
    def produce(self, partition: int, sent: list[tuple[int, int, int]]) -> None:
        """A key always goes to the same partition, as a producer's partitioner has it."""
        for key, sent_s, volume in sent:
            self.broker.produce(partition, [(sent_s * 1_000_000, message(f"{partition}{key}", volume))])

    @rule(slot=st.sampled_from(SLOTS))
    def turn(self, slot: int) -> None:
        """A listener polls, parses and commits."""
        self.members[slot].loop.turn()

    @rule(slot=st.sampled_from(SLOTS), commits_first=st.booleans())
    def crash(self, slot: int, commits_first: bool) -> None:
        """A listener dies; what it had sent to the warehouse may get there all the same."""
        if commits_first:
            self.members[slot].thread.work()
        self.members[slot].engine.dispose()
        self.members[slot] = Member(self.url, self.broker)
        self.members[slot].reader.give([p for p, owner in self.owner.items() if owner == slot])

    @rule(slot=st.sampled_from(SLOTS))
    def freeze(self, slot: int) -> None:
        """A listener's commits get stuck before they reach the warehouse."""
        self.members[slot].thread.holds = True

    @rule(slot=st.sampled_from(SLOTS))
    def thaw(self, slot: int) -> None:
        """What was stuck goes on, however late."""
        self.members[slot].thread.holds = False
        self.members[slot].thread.work()

    @rule(partition=st.sampled_from(PARTITIONS), lost=st.booleans())
    def rebalance(self, partition: int, lost: bool) -> None:
        """A partition moves to the other listener, which may hear of it first."""
        giver = self.owner[partition]
        self.owner[partition] = 1 - giver
        self.members[giver].reader.take([partition], lost=lost)
        self.members[1 - giver].reader.give([partition])

    @rule(slot=st.sampled_from(SLOTS), when=st.sampled_from(["before", "after"]))
    def fail(self, slot: int, when: str) -> None:
        """The next commit fails: before anything is done, or after it is done and the answer is lost."""
        self.members[slot].fails = when

    @invariant()
    def no_listener_is_ahead_of_the_broker(self) -> None:
        """A position never passes the end of the log."""
        for partition, offset in positions(self.url):
            assert offset <= len(self.broker.logs[partition])

    def teardown(self) -> None:
        """In the end everything is there, once."""
        for member in self.members:
            member.fails = ""
            member.thread.holds = False
            member.thread.work()
        for _ in range(200):
            for member in self.members:
                member.loop.turn()
        assert {p: offset for p, offset in positions(self.url) if offset} == {
            p: len(log) for p, log in self.broker.logs.items() if log
        }
        assert facts(self.url) == expected_facts(self.broker)
        assert quarantined(self.url) == expected_quarantine(self.broker)
        refresh_aggregates(self.members[0].engine)
        assert reconcile(self.members[0].engine) == []
        for member in self.members:
            member.engine.dispose()
        shutil.rmtree(self.folder)


class Member:
    """A listener whose commits happen when the test says so."""

    def __init__(self, url: str, broker: MemoryBroker) -> None:
        self.engine = open_stream_engine(url, STREAM)
        self.reader = MemoryReader(broker)
        self.thread = Deferred()
        self.fails = ""
        self.loop = ListenerLoop(
            self.engine,
            STREAM,
            new_listener(RunId("run")),
            self.reader,
            ListenSettings(BatchLimits(rows=4, age_s=0), PoisonLimits(share=1, run=1_000_000)),
            Status(),
            lambda: NOW,
            self.thread,
        )
        commits: Any = self.loop._commits
        commits._load = self._failing(commits._load)
        self.loop.join()

    def _failing(self, load: Callable[[MicroBatch], Any]) -> Callable[[MicroBatch], Any]:
        def load_or_fail(batch: MicroBatch) -> Any:
            fails, self.fails = self.fails, ""
            if fails == "before":
                raise TransientError("the warehouse is away")
            counts = load(batch)
            if fails == "after":
                raise TransientError("the answer was lost")
            return counts

        return load_or_fail


def message(key: str, volume: int) -> bytes:
    record = {
        "transaction_id": f"TRX-{key}",
        "machine_id": "MCH-001",
        "date": "2026-03-01 08:00:00",
        "volume_transferred": volume,
        "status_code": "OK",
    }
    return json.dumps(record).encode()


def expected_facts(broker: MemoryBroker) -> dict[str, tuple[float, int, int]]:
    """Return the last valid version of each key, whenever its producer says that it was sent, and its origin."""
    last: dict[str, tuple[float, int, int]] = {}
    for log in broker.logs.values():
        origin_us = 0
        for offset, (sent_us, value) in enumerate(log):
            origin_us = max(origin_us, sent_us)
            record = json.loads(value or b"{}")
            if record["volume_transferred"] >= 0:
                last[record["transaction_id"]] = (float(record["volume_transferred"]), origin_us, offset)
    return last


def expected_quarantine(broker: MemoryBroker) -> set[tuple[str, int, bytes]]:
    return {
        (f"freight.transactions/{partition}", offset, value)
        for partition, log in broker.logs.items()
        for offset, (_, value) in enumerate(log)
        if value and json.loads(value)["volume_transferred"] < 0
    }


def select(url: str, query: str) -> list[Any]:
    engine = open_stream_engine(url, STREAM)
    with reading(engine) as connection:
        rows = list(connection.execute(sa.text(query)))
    engine.dispose()
    return rows


def facts(url: str) -> dict[str, tuple[float, int, int]]:
    found = select(url, "SELECT transaction_id, volume_transferred_t, origin_us, origin_seq FROM fact_transactions")
    return {key: tuple(rest) for key, *rest in found}


def quarantined(url: str) -> set[tuple[str, int, bytes]]:
    rows = select(url, "SELECT location, row_number, raw FROM quarantine")
    assert len(rows) == len(set(map(tuple, rows)))
    return set(map(tuple, rows))


def positions(url: str) -> list[tuple[int, int]]:
    return list(map(tuple, select(url, "SELECT partition_number, next_offset FROM stream_positions")))


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "template.sqlite"
    engine = open_stream_engine(f"sqlite:///{path}", STREAM)
    migrate(engine)
    engine.dispose()  # the last connection that closes moves the log into the file
    monkeypatch.setattr("freight.streaming.listener.REVOKE_BUDGET_S", 0.0)
    monkeypatch.setattr("freight.streaming.listener.CANCEL_BUDGET_S", 0.0)
    monkeypatch.setattr("freight.retry.COMMIT", RetryPolicy(first_pause_s=0, retries=None))
    return path


@pytest.mark.hypothesis
def test_nothing_is_lost_and_nothing_doubled_whatever_happens(template: Path) -> None:
    Machine.template = template
    case = Machine.TestCase
    case.settings = examples(20, stateful_step_count=30, suppress_health_check=list(HealthCheck))
    case().runTest()


def story(template: Path) -> None:
    """A listener freezes in its commit, its partition is read by another one, it thaws; another one dies at work."""
    Machine.template = template
    machine = Machine()
    machine.start()
    machine.produce(0, [(1, 1, 5), (2, 1, -1), (3, 1, 5)])
    read(machine, 0)
    machine.freeze(0)
    machine.produce(0, [(1, 2, 6), (4, 1, 5)])
    read(machine, 0)
    machine.rebalance(0, lost=True)
    read(machine, 1)
    machine.thaw(0)
    read(machine, 0)
    machine.freeze(1)
    machine.produce(0, [(0, 3, 7)])
    read(machine, 1)
    machine.crash(1, commits_first=False)
    machine.teardown()


def read(machine: Machine, slot: int) -> None:
    for _ in range(4):
        machine.turn(slot)


def without_comparing(_: StreamLoader, connection: sa.Connection, ranges: Any, *__: Any) -> bool:
    """Move the positions wherever they stand."""
    for offsets in ranges:
        move(connection, offsets.partition, offsets.until_offset)
    return True


def move(connection: sa.Connection, partition: int, offset: int) -> None:
    statement = "UPDATE stream_positions SET next_offset = :offset WHERE partition_number = :partition"
    connection.execute(sa.text(statement), {"offset": offset, "partition": partition})


def told_to_kafka_first(self: ListenerLoop) -> MicroBatch:
    """Tell Kafka the offsets before the warehouse has them."""
    batch = MAKE(self)
    self._reader.commit({offsets.partition: offsets.until_offset for offsets in batch.ranges})
    return batch


def as_kafka_remembers(engine: Any, stream: Any, listener: Any, logs: Any, *more: Any, **named: Any) -> Any:
    """Read on where Kafka was told, not where the warehouse stands."""
    positions = TAKE_POSITIONS(engine, stream, listener, logs, *more, **named)
    told = {log.partition: log.committed for log in logs}
    moved = {p: replace(position, next_offset=told[p] or position.next_offset) for p, position in positions.items()}
    with transaction(engine) as connection:
        for partition, position in moved.items():
            move(connection, partition, position.next_offset)
    return moved


def swallowed(*_: Any) -> int:
    """Count a bad message, and lose it."""
    return 1


MAKE, TAKE_POSITIONS = ListenerLoop._make, take_positions
FAULTS: dict[str, dict[str, Any]] = {
    "no compare-and-set": {"freight.warehouse.stream_load.StreamLoader._advance": without_comparing},
    "Kafka before the warehouse": {
        "freight.streaming.listener.ListenerLoop._make": told_to_kafka_first,
        "freight.streaming.listener.take_positions": as_kafka_remembers,
    },
    "quarantine swallowed": {"freight.warehouse.stream_load.write_quarantine": swallowed},
}


def test_the_story_ends_well_without_a_fault(template: Path) -> None:
    story(template)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_does_not_go_unnoticed(template: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    for name, replacement in FAULTS[fault].items():
        monkeypatch.setattr(name, replacement)
    with pytest.raises(AssertionError):
        story(template)
