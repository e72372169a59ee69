"""Listeners are killed, frozen, cut off and rebalanced; afterwards the warehouse holds what was produced, once."""

import gc
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from freight.warehouse.connect import open_engine
from freight.warehouse.migrate import migrate
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.kafka import OwnKafka
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.postgres import PostgresServer, own_server
from tests.lib.streams import Battery, rows
from tests.lib.waiting import wait_until

SEED = 7
RESTART_S = 120.0  # far more than a busy machine needs, and less than a listener that waits for a dead one
EVENTS_A_KILL = 4_000
COMMITS = (5, 40)  # of a listener that dies around one: before them it takes its positions


@pytest.fixture
def battery(warehouse: WarehouseUnderTest, kafka: SharedKafka) -> Battery:
    return Battery(kafka, warehouse.engine, warehouse.url)


@pytest.fixture
def postgres_battery(postgres_warehouse: WarehouseUnderTest, kafka: SharedKafka) -> Battery:
    return Battery(kafka, postgres_warehouse.engine, postgres_warehouse.url)


def kill_again_and_again(battery: Battery, log: Path, kills: int) -> tuple[int, str]:
    """Kill listeners at random instants of their work, and around COMMIT; the next one has to go on within its time.

    Returns:
        How many events were produced and read meanwhile, and the figures in words.
    """
    chance, started, at_work, slowest = random.Random(SEED), time.monotonic(), 0, 0.0
    with battery.producing(EVENTS_A_KILL, ahead=2 * EVENTS_A_KILL):
        while at_work < kills:
            if at_work % 5 < 3:
                restart_s, was_at_work = kill_at_any_instant(battery, log, chance.uniform(0, 0.5))
                slowest = max(slowest, restart_s)
                at_work += was_at_work
            else:
                when, commit = ("before", "after")[at_work % 5 - 3], chance.randrange(*COMMITS)
                assert battery.process(log, rows=200, dies=when, at=commit).wait() == -signal.SIGKILL
                at_work += 1
        meanwhile = battery.read
    battery.read_to_the_end()
    battery.assert_nothing_is_lost_or_doubled()
    assert slowest < RESTART_S
    events, seconds = battery.produced.messages, time.monotonic() - started
    return meanwhile, (
        f"kills {kills} of a listener at work, {events} events, {meanwhile} of them read meanwhile, "
        f"lost 0, doubled 0, slowest restart {slowest:.1f} s, {seconds:.0f} s"
    )


def kill_at_any_instant(battery: Battery, log: Path, delay_s: float) -> tuple[float, bool]:
    """Kill a listener some time after its first commit.

    Returns:
        How long that commit took from its start, in seconds, and whether anything was left for it to read; a fast
        listener may have read all that a slow producer had sent by then, and such a kill proves little.
    """
    before, begun = battery.read, time.monotonic()
    process = battery.process(log, rows=200)
    wait_until(lambda: battery.read > before)
    restart_s = time.monotonic() - begun
    time.sleep(delay_s)
    assert process.lives, process.output
    sent = battery.produced.messages
    process.kill()
    return restart_s, battery.read < sent


def test_listeners_that_are_killed_lose_and_double_nothing(
    battery: Battery, tmp_path: Path, measured: Measured
) -> None:
    measured(kill_again_and_again(battery, tmp_path / "log.txt", 5)[1])


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
def test_listeners_that_are_killed_100_times_lose_and_double_nothing(
    battery: Battery, tmp_path: Path, measured: Measured
) -> None:
    meanwhile, figures = kill_again_and_again(battery, tmp_path / "log.txt", 100)
    assert meanwhile > 100_000
    measured(figures)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_right_at_the_commit_loses_and_doubles_nothing(battery: Battery, tmp_path: Path, when: str) -> None:
    """After the warehouse's COMMIT Kafka has not been told of it; the positions count, not what Kafka remembers."""
    battery.produce(3_000)
    for commit in (5, 9):
        assert battery.process(tmp_path / "log.txt", rows=300, dies=when, at=commit).wait() == -signal.SIGKILL
    battery.read_to_the_end()
    battery.assert_nothing_is_lost_or_doubled()
    redelivered = rows(battery.engine, "SELECT SUM(redelivered), SUM(skipped), SUM(gap) FROM stream_assignments")
    assert redelivered[0][0] == redelivered[0][1]
    assert redelivered[0][2] == 0


def test_a_zombie_is_fenced_and_what_it_holds_is_freed(postgres_battery: Battery, tmp_path: Path) -> None:
    """It freezes within a transaction, with its position locked, until another one has read everything."""
    battery = postgres_battery
    battery.produce(4_000)
    zombie = battery.process(tmp_path / "zombie.txt", rows=300, dies="freeze", at=6)
    wait_until(lambda: is_stopped(zombie.pid))
    stuck_at = battery.read
    successor = battery.process(tmp_path / "successor.txt", rows=300)
    wait_until(lambda: battery.is_read)  # else the zombie holds its lock as long as it is frozen
    assert stuck_at < battery.read
    zombie.signal(signal.SIGCONT)
    battery.produce(1_000)
    wait_until(lambda: battery.is_read)
    assert zombie.end() == 0
    assert successor.end() == 0
    battery.assert_nothing_is_lost_or_doubled()


def is_stopped(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text()


def test_a_process_that_freezes_anywhere_is_replaced_and_comes_back_unharmed(
    postgres_battery: Battery, tmp_path: Path
) -> None:
    battery, chance = postgres_battery, random.Random(SEED)
    frozen = battery.process(tmp_path / "frozen.txt", rows=200)
    with battery.producing(2_000, 4):
        wait_until(lambda: battery.read > 0)
        for _ in range(2):
            time.sleep(chance.uniform(0, 0.3))
            frozen.signal(signal.SIGSTOP)
            successor = battery.process(tmp_path / "successor.txt", rows=200)
            wait_until(lambda: battery.is_read)
            frozen.signal(signal.SIGCONT)
            assert successor.end() == 0
            battery.produce(500)
    wait_until(lambda: battery.is_read)
    assert frozen.end() == 0
    battery.assert_nothing_is_lost_or_doubled()


def test_listeners_that_come_and_go_share_the_work(postgres_battery: Battery, measured: Measured) -> None:
    battery, chance = postgres_battery, random.Random(SEED)
    with battery.producing(2_000, 8), ExitStack() as all_of_them:
        all_of_them.enter_context(battery.listening().running())
        for _ in range(4):
            with battery.listening().running():
                time.sleep(chance.uniform(2.0, 4.0))
        wait_until(lambda: battery.is_read)
    battery.assert_nothing_is_lost_or_doubled()
    assignments = rows(battery.engine, "SELECT COUNT(*), COUNT(DISTINCT listener_id) FROM stream_assignments")[0]
    assert assignments[1] > 2
    measured(f"{assignments[0]} assignments to {assignments[1]} listeners, lost 0, doubled 0")


@pytest.fixture
def own_postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server that a test may stop; that of the run tells whether there can be one."""
    assert postgres_server
    with own_server() as server:
        yield server


@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function BaseConnection:pytest.PytestUnraisableExceptionWarning"
)
def test_a_warehouse_that_restarts_is_waited_for(own_postgres: PostgresServer, kafka: SharedKafka) -> None:
    url = own_postgres.new_database()
    engine = open_engine(url)
    migrate(engine)
    battery = Battery(kafka, engine, url)
    found = battery.listening()
    with found.running():
        for mode in ("fast", "immediate"):
            with battery.producing(1_500, 3):
                wait_for_progress(battery, found)
                own_postgres.stop(mode)
                time.sleep(0.5)
                own_postgres.start()
        found.wait_until(lambda: battery.is_read)
    battery.assert_nothing_is_lost_or_doubled()
    assert rows(engine, "SELECT COUNT(DISTINCT listener_id) FROM stream_assignments") == [(1,)]
    engine.dispose()
    gc.collect()  # the connections that each restart cut off: elsewhere their warning would fail another test


def wait_for_progress(battery: Battery, found: object) -> None:
    before = battery.read
    wait_until(lambda: battery.read > before)
    assert found


def test_a_broker_that_crashes_is_waited_for(warehouse: WarehouseUnderTest, own_kafka: OwnKafka) -> None:
    kafka = own_kafka()
    battery = Battery(kafka, warehouse.engine, warehouse.url)
    found = battery.listening()
    with found.running():
        battery.produce(1_000)
        wait_for_progress(battery, found)
        kafka.crash()
        time.sleep(0.5)
        kafka.start()
        battery.produce(1_000)
        found.wait_until(lambda: battery.is_read)
    battery.assert_nothing_is_lost_or_doubled()
