"""The nightly flow as a process of its own that the system kills: the next run ends with the tables of a clean run."""

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.settings import PREFECT_API_URL

from freight.care.reconcile import reconcile
from freight.catalog import read_catalog
from freight.pipeline import CoreSteps, Run, run_catalog
from freight.types import RunId
from freight.warehouse.connect import Engine, reading
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.corridor import SIMULATED_FILES, simulated_landing
from tests.lib.kills import FlowProcess, kills_in_words, wait_until_left_alone
from tests.lib.tables import Content, assert_sound, content_of, contradictions, empty, is_intact

KILLED = -9
FILE_S = 0.3  # about as long as the flow spends on a file here


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_landing(tmp_path_factory.mktemp("landing"))


@pytest.fixture
def start_flow(tmp_path: Path, warehouse: WarehouseUnderTest, landing: Path) -> Iterator[Callable[[], FlowProcess]]:
    """Start the nightly flow over the landing folder; what a failed test leaves running is killed."""
    started: list[FlowProcess] = []

    def start() -> FlowProcess:
        started.append(FlowProcess(tmp_path, warehouse.url, landing / "catalog.yaml", PREFECT_API_URL.value()))
        return started[-1]

    yield start
    for flow in started:
        flow.kill_after(0)


@pytest.fixture
def clean(tmp_path: Path, warehouse: WarehouseUnderTest, landing: Path) -> Content:
    """What an undisturbed load gives, without Prefect; the warehouse is empty again."""
    catalog, spool = read_catalog(landing / "catalog.yaml"), tmp_path / "spool"
    run = Run(warehouse.engine, RunId("clean"), spool, clock=lambda: datetime.now(UTC))
    report = run_catalog(CoreSteps(run, catalog), "tester@here")
    assert [outcome.state for outcome in report.outcomes] == ["loaded"] * SIMULATED_FILES
    content = content_of(warehouse.engine)
    empty(warehouse.engine)
    return content


def rows_in(engine: Engine, table: str) -> int:
    with reading(engine) as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def kill_at_work(flow: FlowProcess, engine: Engine, chance: random.Random) -> bool:
    """Kill a flow at some instant after it has noted its run; tell whether it had not ended its run by then."""
    files_before = chance.randrange(SIMULATED_FILES)
    flow.wait_until(lambda: rows_in(engine, "runs") == 1 and rows_in(engine, "batches") >= files_before)
    code = flow.kill_after(chance.random() * FILE_S)
    assert code in (0, KILLED), flow.output
    wait_until_left_alone(engine)
    return code == KILLED and rows_in(engine, "runs WHERE ended_at IS NULL") == 1


def kill_again_and_again(
    engine: Engine, start_flow: Callable[[], FlowProcess], clean: Content, chance: random.Random, kills: int
) -> str:
    """Kill flows until some were hit at work, and rerun each; return what was counted."""
    started, tried, hits = time.monotonic(), 0, 0
    while hits < kills:
        assert tried < 3 * kills, f"only {hits} of {tried} kills hit a flow at work"
        empty(engine)
        tried += 1
        hits += kill_at_work(start_flow(), engine, chance)
        assert is_intact(engine)
        assert contradictions(engine) == []
        rerun = start_flow()
        assert rerun.end() == 0, rerun.output
        assert_sound(engine, clean)
    assert reconcile(engine) == []
    return kills_in_words(tried, hits, time.monotonic() - started)


def test_a_killed_flow_is_completed_by_the_next_one(
    warehouse: WarehouseUnderTest, start_flow: Callable[[], FlowProcess], clean: Content, measured: Measured
) -> None:
    chance = random.Random(warehouse.engine.dialect.name)
    measured(kill_again_and_again(warehouse.engine, start_flow, clean, chance, 1))


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_many_killed_flows_are_completed_by_the_next_one(
    warehouse: WarehouseUnderTest, start_flow: Callable[[], FlowProcess], clean: Content, measured: Measured
) -> None:
    chance = random.Random(f"many {warehouse.engine.dialect.name}")
    measured(kill_again_and_again(warehouse.engine, start_flow, clean, chance, 25))
