"""A scaler over a real Kafka and a real PostgreSQL; its runs are threads, and a process that gets killed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from freight.errors import ConfigurationError, TransientError
from freight.streaming import roll, session
from freight.streaming.consumer import KafkaReader
from freight.streaming.listener import ListenerLoop, ListenSettings
from freight.streaming.micro_batch import BatchLimits
from freight.streaming.roll import RunSeen, Settling
from freight.streaming.scaler import AlertKind, Look, Scaler, keep_scaled
from freight.streaming.scaling import ScalingLimits
from freight.types import RunId
from freight.warehouse.connect import open_engine
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.streams import NO_LIMIT, Battery, Listening, rows
from tests.lib.waiting import LIMIT_S, wait_until

PERIOD_S = 0.5
SLOW = ListenSettings(BatchLimits(rows=100, age_s=0.05), NO_LIMIT)
LIMITS = ScalingLimits(
    maximum=3, lag_threshold=2_000, settle_s=1.0, cooldown_s=2.0, catch_up_s=1.0, commit_limit_s=30.0
)


@dataclass
class ThreadRuns:
    """Starts listeners in threads of this process."""

    battery: Battery
    at_the_end: ExitStack
    started: list[tuple[Listening, datetime]] = field(default_factory=list)
    settled: list[Settling] = field(default_factory=list)
    alerts: list[tuple[AlertKind, str]] = field(default_factory=list)
    is_away: bool = False
    client: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def runs(self, since: datetime) -> Sequence[RunSeen]:
        assert since < datetime.now(UTC)
        if self.is_away:
            raise TransientError("the orchestrator is away")
        return [
            RunSeen(RunId(one.run_id), "ended" if one.why else "failed" if one.error else "running", at)
            for one, at in self.started
        ]

    def start(self) -> None:
        listening = self.battery.listening(settings=SLOW, run_id=f"thread-{next(self._numbers)}", client=self.client)
        self.at_the_end.enter_context(listening.running())
        self.started.append((listening, datetime.now(UTC)))

    def settle(self, settling: Settling) -> None:
        self.settled.append(settling)

    def alert(self, kind: AlertKind, reason: str) -> None:
        self.alerts.append((kind, reason))


@dataclass
class Scaled:
    """A stream with its scaler."""

    battery: Battery
    runs: ThreadRuns
    scaler: Scaler
    most: int = 0

    def look(self) -> Look:
        look = self.scaler.look(datetime.now(UTC))
        assert look
        seen = look.seen
        self.most = max(self.most, seen.live + seen.starting + seen.draining + look.decision.start)
        return look

    def until(self, condition: Callable[[Look], bool]) -> None:
        """Look until something is so."""
        deadline = time.monotonic() + LIMIT_S
        while not condition(look := self.look()):
            assert time.monotonic() < deadline, look
            time.sleep(PERIOD_S)


@pytest.fixture
def battery(postgres_warehouse: WarehouseUnderTest, kafka: SharedKafka) -> Battery:
    return Battery(kafka, postgres_warehouse.engine, postgres_warehouse.url)


@pytest.fixture
def scaled(battery: Battery, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scaled]:
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.3)
    stream = battery.listening().stream
    with ExitStack() as at_the_end:
        runs = ThreadRuns(battery, at_the_end)
        engine = open_engine(battery.url)
        at_the_end.callback(engine.dispose)
        reader = KafkaReader({"bootstrap.servers": battery.kafka.bootstrap}, stream.topic, stream.group)
        scaler = Scaler(engine, stream, reader, runs, LIMITS, RunId("scaler"), PERIOD_S)
        at_the_end.callback(scaler.close)
        yield Scaled(battery, runs, scaler)


def test_a_burst_brings_listeners_that_drain_when_it_is_over_and_nothing_is_lost_or_doubled(
    scaled: Scaled, measured: Measured
) -> None:
    battery = scaled.battery
    started = time.monotonic()
    battery.produce(6_000)
    with battery.producing(1_500, 10, ahead=12_000):
        scaled.until(lambda look: look.seen.live == 3)
    scaled.until(lambda look: look.seen.live == 1 and battery.is_read and not look.seen.draining)
    ends = [one.why for one, _ in scaled.runs.started if one.why]
    assert ends == [session.DRAINED] * (len(scaled.runs.started) - 1)
    assert scaled.most == 3
    assert (scaled.runs.alerts, scaled.runs.settled) == ([], [])
    scaled.runs.at_the_end.close()
    battery.assert_nothing_is_lost_or_doubled()
    seconds = time.monotonic() - started
    measured(f"1 to 3 to 1 listeners, {battery.produced.messages} events, lost 0, doubled 0, {seconds:.0f} s")


def test_the_trouble_of_one_stream_is_not_that_of_the_others(scaled: Scaled, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = replace(scaled.battery.listening().stream, topic="no-such-topic")
    engine, servers = open_engine(scaled.battery.url), {"bootstrap.servers": scaled.battery.kafka.bootstrap}
    reader, none = KafkaReader(servers, nowhere.topic, nowhere.group), replace(LIMITS, minimum=0)
    lost = Scaler(engine, nowhere, reader, scaled.runs, none, RunId("scaler"), PERIOD_S)
    shown: list[str] = []

    def scale(scalers: Sequence[Scaler], limit_s: float) -> str:
        until = datetime.now(UTC) + timedelta(seconds=limit_s)
        return keep_scaled(scalers, Event(), PERIOD_S, until, lambda stream, _: shown.append(stream.topic))

    assert scale([lost, scaled.scaler], 3.0) == "its time is over"
    assert len(shown) > 1
    assert set(shown) == {scaled.battery.topic}
    assert caplog.text.count("no-such-topic: no decision: there is no topic 'no-such-topic'") == 1
    with pytest.raises(ConfigurationError, match="there is no topic 'no-such-topic'"):
        scale([lost], 60.0)
    lost.close()
    engine.dispose()


def test_a_listener_whose_loop_is_stuck_is_told_to_end_and_replaced_once(
    scaled: Scaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll, "STUCK_S", 10.0)
    scaled.runs.client["max.poll.interval.ms"] = "10000"  # Kafka's own limit for a loop that does not turn
    hold, go_on, receive, loops = Event(), Event(), ListenerLoop._receive, list[ListenerLoop]()

    def receive_or_be_stuck(loop: ListenerLoop) -> None:
        loops.extend([loop] if loop not in loops else [])
        if hold.is_set() and loop is loops[0]:
            go_on.wait(LIMIT_S)
        receive(loop)

    monkeypatch.setattr(ListenerLoop, "_receive", receive_or_be_stuck)
    battery = scaled.battery
    scaled.until(lambda look: look.seen.live == 1)
    battery.produce(500)
    scaled.until(lambda _: battery.is_read)
    hold.set()
    scaled.until(lambda look: look.seen.draining == 1)
    battery.produce(500)
    scaled.until(lambda look: look.seen.live == 1 and battery.is_read)
    go_on.set()
    scaled.until(lambda look: look.seen.draining == 0)
    assert len(scaled.runs.started) == 2
    assert scaled.runs.started[0][0].why == session.DRAINED
    scaled.runs.at_the_end.close()
    battery.assert_nothing_is_lost_or_doubled()


def test_a_listener_that_is_killed_is_replaced_once_and_one_that_beats_is_never_doubled(
    scaled: Scaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll, "SILENT_S", 10.0)
    battery = scaled.battery
    victim = battery.process(tmp_path / "victim.txt", rows=100, beats=0.3)
    wait_until(lambda: rows(battery.engine, "SELECT 1 FROM stream_listeners"))
    battery.produce(1_000)
    scaled.until(lambda _: battery.is_read)
    for _ in range(3):
        scaled.runs.is_away = True
        with pytest.raises(TransientError):
            scaled.look()
        scaled.runs.is_away = False
        assert scaled.look().seen.live == 1
    assert scaled.runs.started == []  # nobody knows a run of it, and yet it lives

    victim.kill()
    battery.produce(1_000)
    scaled.until(lambda look: look.seen.live == 1 and battery.is_read)
    assert len(scaled.runs.started) == 1
    assert [kind for kind, _ in scaled.runs.alerts] == ["lost"]
    assert rows(battery.engine, "SELECT COUNT(*) FROM stream_listeners WHERE state = 'lost'") == [(1,)]
    scaled.runs.at_the_end.close()
    battery.assert_nothing_is_lost_or_doubled()
