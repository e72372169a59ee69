"""The scaling flow on a real Prefect server, a real Kafka and a real PostgreSQL."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import Flow, State, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled

from deployments.local import POOL
from flows.listen import listen
from flows.scale_listeners import scale_listeners
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT
from freight.streaming.roll import RunSeen, Settling
from freight.warehouse.streams import Stream
from tasks.scaling import ListenDeployment, PrefectRuns, read_deployment
from tests.conftest import Measured, WarehouseUnderTest
from tests.flows.test_listen import artifacts_of, events_of
from tests.lib.alerting import own_prefect
from tests.lib.kafka import new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.streams import Battery, event, rows, send
from tests.lib.waiting import wait_until

LIVE_S = 300.0  # a process takes its time to start


@pytest.fixture
def prefect() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def deploy(
    prefect: SyncPrefectClient,
    flow: Flow[..., Any],
    name: str,
    pool: str | None = None,
    limits: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> str:
    """Deploy a flow as prefect.yaml does; return its name."""
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT_ROOT)}}
    prefect.create_deployment(
        prefect.create_flow(flow),
        name=name,
        entrypoint=f"{flow.fn.__module__}.{flow.fn.__name__}",
        pull_steps=[step],
        work_pool_name=pool,
        parameters=parameters,
        **(limits or {}),
    )
    return f"{flow.name}/{name}"


@pytest.fixture
def deployment(prefect: SyncPrefectClient) -> ListenDeployment:
    return read_deployment(deploy(prefect, listen, f"scaled-{uuid4()}", topic="a-topic"), listen)


@pytest.fixture
def runs(deployment: ListenDeployment) -> PrefectRuns:
    return PrefectRuns(deployment, Stream("transactions", "a-topic", "dpa"))


def an_hour_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


def only(runs: PrefectRuns) -> RunSeen:
    (found,) = runs.runs(an_hour_ago())
    return found


def test_a_deployment_tells_what_its_runs_listen_to(deployment: ListenDeployment) -> None:
    told = deployment.parameters
    assert (told["topic"], told["dataset"], told["group"], told["kafka"]) == ("a-topic", "transactions", "dpa", None)
    with pytest.raises(ConfigurationError, match=r"Prefect does not have the deployment listen/none: deploy it, or"):
        read_deployment("listen/none", listen)


def test_runs_are_seen_in_each_phase_and_settled_once(prefect: SyncPrefectClient, runs: PrefectRuns) -> None:
    assert runs.runs(an_hour_ago()) == []
    runs.start()
    run = only(runs)
    assert run.phase == "waiting"
    run_id, gone = UUID(run.run_id), Settling(run.run_id, "its listener shows no signs of life")
    prefect.set_flow_run_state(run_id, Pending())
    assert only(runs).phase == "submitted"
    prefect.set_flow_run_state(run_id, Running())
    assert only(runs).phase == "running"
    runs.settle(gone)
    assert only(runs).phase == "failed"
    runs.settle(Settling(run.run_id, "twice"))
    settled = prefect.read_flow_run(run_id).state
    assert settled
    assert (settled.name, settled.message) == ("Crashed", "its listener shows no signs of life")
    assert runs.runs(datetime.now(UTC) + timedelta(minutes=1)) == []


def test_a_run_that_has_ended_meanwhile_is_left_alone(prefect: SyncPrefectClient, runs: PrefectRuns) -> None:
    runs.start()
    run_id = only(runs).run_id
    prefect.set_flow_run_state(UUID(run_id), Running())
    prefect.set_flow_run_state(UUID(run_id), Completed())
    runs.settle(Settling(run_id, "too late"))
    assert only(runs).phase == "ended"


def test_what_is_left_of_a_cancelled_run_ends_as_cancelled(prefect: SyncPrefectClient, runs: PrefectRuns) -> None:
    runs.start()
    run_id = only(runs).run_id
    prefect.set_flow_run_state(UUID(run_id), Running())
    prefect.set_flow_run_state(UUID(run_id), Cancelling())
    assert only(runs).phase == "ending"
    runs.settle(Settling(run_id, "no listener is left of it", cancelled=True))
    state = prefect.read_flow_run(UUID(run_id)).state
    assert state
    assert state.is_cancelled()


def test_runs_for_another_topic_or_for_later_do_not_count(
    prefect: SyncPrefectClient, deployment: ListenDeployment, runs: PrefectRuns
) -> None:
    prefect.create_flow_run_from_deployment(deployment.deployment_id, parameters={"topic": "another"})
    assert runs.runs(an_hour_ago()) == []


def test_people_are_told_by_events(prefect: SyncPrefectClient) -> None:
    topic = f"topic-{uuid4()}"
    nowhere = ListenDeployment(uuid4(), {})
    PrefectRuns(nowhere, Stream("transactions", topic, "dpa")).alert("lagging", "10 messages wait")
    resource = f"dpa.stream.dpa.{topic}"
    wait_until(lambda: len(events_of(prefect, "dpa.stream.lagging", resource)) == 1)
    (told,) = events_of(prefect, "dpa.stream.lagging", resource)
    assert told["payload"] == {"reason": "10 messages wait"}


def run_flow(**parameters: Any) -> State[Any]:
    state = scale_listeners(**parameters, return_state=True)
    assert isinstance(state, State)
    return state


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"deployments": ("listen/none",)}, "Prefect does not have the deployment listen/none: deploy it"),
        ({"minimum": 3, "maximum": 2}, "the minimum of 3 listeners is more than the maximum: lower it"),
    ],
    ids=["deployment", "limits"],
)
def test_a_wrong_setting_fails_the_run_with_a_remedy(parameters: dict[str, Any], message: str) -> None:
    state = run_flow(**parameters)
    assert state.is_failed()
    assert message in str(state.message)


def test_every_parameter_is_described_in_the_form_and_on_the_page() -> None:
    parameters = scale_listeners.parameters.properties
    assert [name for name, told in parameters.items() if not told.get("description")] == []
    page = (PROJECT_ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE) == list(parameters)


def runs_of(prefect: SyncPrefectClient, name: str) -> list[FlowRun]:
    found = prefect.read_deployment_by_name(name)
    return prefect.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[found.id])))


def test_a_run_starts_the_listener_that_is_missing_shows_it_and_hands_over_to_the_next(
    prefect: SyncPrefectClient,
    kafka: SharedKafka,
    postgres_warehouse: WarehouseUnderTest,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert home
    monkeypatch.setenv("DPA_WAREHOUSE_URL", postgres_warehouse.url)
    monkeypatch.setenv("DPA_KAFKA_BOOTSTRAP", kafka.bootstrap)
    topic = new_topic(kafka, 2)
    send(kafka, topic, [event(number) for number in range(100)])
    name = deploy(prefect, listen, f"scaled-{uuid4()}", topic=topic)
    for number in (1, 2):
        state = run_flow(deployments=(name,), period_s=1.0, max_run_s=2.5)
        assert (state.type.value, state.message) == ("COMPLETED", "its time is over")
        assert len(runs_of(prefect, name)) == 1, number  # which waits for a worker
    assert state.state_details.flow_run_id
    (artifact,) = artifacts_of(prefect, state.state_details.flow_run_id)
    assert artifact.key == "scale-listeners"
    assert f"| {topic} | 1 is enough | 0 listen, 1 starting; lag 100," in str(artifact.data)
    assert rows(postgres_warehouse.engine, "SELECT target, said FROM stream_scaling") == [(1, "1 is enough")]


@pytest.fixture
def worker(
    prefect: SyncPrefectClient,
    server: dict[str, str],
    tmp_path: Path,
    postgres_warehouse: WarehouseUnderTest,
    kafka: SharedKafka,
) -> Iterator[tuple[str, Battery]]:
    """A work pool with a worker whose runs listen to a topic of their own."""
    battery = Battery(kafka, postgres_warehouse.engine, postgres_warehouse.url)
    pool = f"pool-{uuid4()}"
    prefect.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    (tmp_path / "home").mkdir()
    places = {
        "DPA_HOME": str(tmp_path / "home"),
        "DPA_WAREHOUSE_URL": battery.url,
        "DPA_KAFKA_BOOTSTRAP": battery.kafka.bootstrap,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    with (tmp_path / "worker.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"],
            cwd=PROJECT_ROOT,
            env={**os.environ, **server, **places},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        yield pool, battery
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def living(battery: Battery) -> list[str]:
    found = rows(battery.engine, "SELECT listener_id FROM stream_listeners WHERE ended_at IS NULL")
    return [name for (name,) in found]


@pytest.mark.chaos
@pytest.mark.timeout(1_200)
def test_runs_of_a_worker_follow_a_burst_and_one_that_is_killed_is_replaced_once(
    prefect: SyncPrefectClient, worker: tuple[str, Battery], measured: Measured
) -> None:
    pool, battery = worker
    name = deploy(prefect, listen, "live", pool, topic=battery.topic, batch_rows=100, quarantine_limit=1)
    quick: dict[str, Any] = {"period_s": 2.0, "settle_s": 5.0, "cooldown_s": 20.0, "catch_up_s": 5.0}
    limits: dict[str, Any] = {"maximum": 3, "lag_threshold": 5_000, "commit_limit_s": 60.0}
    scaler = deploy(prefect, scale_listeners, "live", pool, deployments=[name], **quick, **limits)
    scaling = prefect.create_flow_run_from_deployment(prefect.read_deployment_by_name(scaler).id).id
    started, most = time.monotonic(), 0

    def wait_for(count: int) -> None:
        def is_so() -> bool:
            nonlocal most
            most = max(most, len(living(battery)))
            return len(living(battery)) == count

        wait_until(is_so, LIVE_S)

    wait_for(1)
    battery.produce(20_000)
    with battery.producing(4_000, 40, ahead=40_000):
        wait_for(3)
    wait_until(lambda: battery.is_read, LIVE_S)
    wait_for(1)
    burst_s, before = time.monotonic() - started, len(runs_of(prefect, name))
    (victim,) = living(battery)
    os.kill(int(victim.split("-")[-2]), signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: living(battery) not in ([], [victim]), LIVE_S)
    replaced_s = time.monotonic() - killed
    battery.produce(2_000)
    wait_until(lambda: battery.is_read, LIVE_S)
    assert len(runs_of(prefect, name)) == before + 1
    prefect.set_flow_run_state(scaling, Cancelling())
    wait_until(lambda: str(prefect.read_flow_run(scaling).state_type).endswith("CANCELLED"), LIVE_S)
    for run in runs_of(prefect, name):
        if run.state and run.state.is_running():
            prefect.set_flow_run_state(run.id, Cancelling())
    wait_for(0)
    assert most == 3
    told = [run.state.message or "" for run in runs_of(prefect, name) if run.state and run.state.is_completed()]
    assert len(told) == before - 1
    assert all(message.startswith("told to drain: fewer listeners are enough; read ") for message in told)
    assert len(events_of(prefect, "dpa.listener.lost", f"dpa.stream.dpa.{battery.topic}")) == 1
    battery.assert_nothing_is_lost_or_doubled()
    measured(
        f"1 to 3 to 1 runs of a worker in {burst_s:.0f} s, one killed and replaced once after {replaced_s:.0f} s, "
        f"{battery.produced.messages} events, lost 0, doubled 0"
    )


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_run_that_comes_while_the_last_one_works_waits_for_it_and_goes_on_where_it_ended(
    prefect: SyncPrefectClient, worker: tuple[str, Battery]
) -> None:
    pool, battery = worker
    name = deploy(prefect, listen, "handed-over", pool, topic=battery.topic, quarantine_limit=1)
    scaler = deploy(
        prefect,
        scale_listeners,
        "handed-over",
        pool,
        {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "ENQUEUE"}},
        deployments=[name],
        period_s=1.0,
        max_run_s=60.0,
    )
    known = prefect.read_deployment_by_name(scaler).id
    due = [datetime.now(UTC) + timedelta(seconds=wait_s) for wait_s in (0, 40)]
    first, second = (
        prefect.create_flow_run_from_deployment(known, state=Scheduled(scheduled_time=at)).id for at in due
    )

    def is_completed(run_id: UUID) -> bool:
        state = prefect.read_flow_run(run_id).state
        return bool(state and state.is_completed())

    wait_until(lambda: is_completed(first), LIVE_S)
    alone = living(battery)
    wait_until(lambda: is_completed(first) and is_completed(second), LIVE_S)
    assert (ended := prefect.read_flow_run(first).end_time)
    assert (started := prefect.read_flow_run(second).start_time)
    assert ended <= started
    assert living(battery) == alone
    assert len(runs_of(prefect, name)) == len(alone) == 1
    (listener,) = runs_of(prefect, name)
    prefect.set_flow_run_state(listener.id, Cancelling())
    wait_until(lambda: living(battery) == [], LIVE_S)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("away_s", [60, 900])
def test_no_listener_is_doubled_while_prefect_is_away_and_one_is_replaced_when_it_is_back(
    away_s: int, tmp_path: Path, postgres_warehouse: WarehouseUnderTest, kafka: SharedKafka, measured: Measured
) -> None:
    battery = Battery(kafka, postgres_warehouse.engine, postgres_warehouse.url)
    with own_prefect(tmp_path) as own, own.endpoint.client() as prefect:
        prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        name = deploy(prefect, listen, "live", POOL, topic=battery.topic, quarantine_limit=1)
        scaler = deploy(prefect, scale_listeners, "live", POOL, deployments=[name], maximum=3, period_s=2.0)
        own.start_worker(battery.kafka.bootstrap, DPA_WAREHOUSE_URL=battery.url)
        scaling = prefect.create_flow_run_from_deployment(prefect.read_deployment_by_name(scaler).id).id
        wait_until(lambda: len(living(battery)) == 1, LIVE_S)
        alone = living(battery)

        def works_alone(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                battery.produce(100)
                wait_until(lambda: battery.is_read, LIVE_S)
                assert living(battery) == alone

        own.stop_server()
        works_alone(away_s)
        own.start()
        works_alone(60)
        assert [run.state.is_running() for run in runs_of(prefect, name) if run.state] == [True]
        os.kill(int(alone[0].split("-")[-2]), signal.SIGKILL)
        wait_until(lambda: living(battery) not in ([], alone), LIVE_S)
        battery.produce(1_000)
        wait_until(lambda: battery.is_read, LIVE_S)
        assert len(runs_of(prefect, name)) == 2
        for run in (scaling, *(run.id for run in runs_of(prefect, name) if run.state and run.state.is_running())):
            prefect.set_flow_run_state(run, Cancelling())
        wait_until(lambda: living(battery) == [], LIVE_S)
    battery.assert_nothing_is_lost_or_doubled()
    measured(f"Prefect away for {away_s} s: no listener doubled, then one replaced once, lost 0, doubled 0")
