"""Flow runs as pods, with a live Prefect server, a worker with the rights of its file, PostgreSQL and Kafka."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, State

from tests.lib.alerting import Receiver, receiving
from tests.lib.kubernetes import NAMESPACE, config_map, found, kubectl, pods_of
from tests.lib.streams import Battery, rows
from tests.lib.waiting import wait_until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(1_200)]
LIMIT_S = 300.0  # a pod takes its time on a small node
LISTEN = "listen/listen-transactions"
FREEZE = """\
import os, pathlib, signal
processes = {int(path.name) for path in pathlib.Path("/proc").iterdir() if path.name.isdecimal()}
frozen = processes - {1, os.getpid()}
assert frozen, processes
for process in frozen:
    os.kill(process, signal.SIGSTOP)
"""
CATALOG = """\
sources:
  - {name: erp, dataset: transactions, reader: csv, location: erp.csv}
"""
ERP = """\
transaction_id,machine_id,date,volume_transferred,status_code
TRX-1,MCH-001,2026-02-01 10:00:00,30,OK
TRX-2,MCH-001,2026-02-01 11:00:00,12.5,WARN
TRX-3,MCH-002,2026-02-01 12:00:00,7,OK
TRX-4,MCH-002,2026-02-01 13:00:00,8,OK
TRX-5,MCH-002,2026-02-01 14:00:00,7,never
"""
LOADED = [("TRX-1", 30.0), ("TRX-2", 12.5), ("TRX-3", 7.0), ("TRX-4", 8.0)]
SECRET = "canary-of-the-webhook"


def start(pool: SyncPrefectClient, deployment: str, memory: str = "", **parameters: Any) -> UUID:
    """Start a run of a deployment."""
    known = pool.read_deployment_by_name(deployment)
    variables = {"memory_request": memory, "memory_limit": memory} if memory else {}
    return pool.create_flow_run_from_deployment(known.id, parameters=parameters, job_variables=variables).id


def state_of(pool: SyncPrefectClient, run_id: UUID) -> State[Any]:
    state = pool.read_flow_run(run_id).state
    assert state
    return state


def ended(pool: SyncPrefectClient, run_id: UUID) -> State[Any]:
    """Wait until a run has ended; return how."""
    wait_until(lambda: state_of(pool, run_id).is_final(), LIMIT_S)
    return state_of(pool, run_id)


def runs_of(pool: SyncPrefectClient, deployment: str) -> list[FlowRun]:
    known = DeploymentFilterId(any_=[pool.read_deployment_by_name(deployment).id])
    return pool.read_flow_runs(deployment_filter=DeploymentFilter(id=known))


def living(battery: Battery) -> list[str]:
    """Return the runs of the listeners that live."""
    return [run for (run,) in rows(battery.engine, "SELECT run_id FROM stream_listeners WHERE ended_at IS NULL")]


def kill(pod: str) -> None:
    """End a pod such that nothing in it can drain: even a forced deletion sends a SIGTERM first."""
    kubectl("-n", NAMESPACE, "exec", pod, "--", "python", "-c", FREEZE)
    kubectl("-n", NAMESPACE, "delete", "pod", pod, "--force", "--grace-period=0", "--wait=false")


def loaded(battery: Battery) -> list[Any]:
    return rows(battery.engine, "SELECT transaction_id, volume_transferred_t FROM fact_transactions ORDER BY 1")


@contextmanager
def held_up(battery: Battery) -> Iterator[None]:
    """Let no load commit."""
    with battery.engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE fact_transactions IN ACCESS EXCLUSIVE MODE"))
        yield


@pytest.fixture
def receiver(pool: SyncPrefectClient) -> Iterator[Receiver]:
    """A receiver to which the alerts go."""
    with receiving(pool, SECRET) as made:
        yield made


def test_a_nightly_load_is_a_job_whose_rows_are_in_the_warehouse(pool: SyncPrefectClient, battery: Battery) -> None:
    config_map("dpa-catalog", catalog__yaml=CATALOG, erp__csv=ERP)
    run_id = start(pool, "load-nightly/load-nightly")
    state = ended(pool, run_id)
    assert state.is_completed(), state.message
    assert loaded(battery) == LOADED
    assert rows(battery.engine, "SELECT count(*) FROM quarantine") == [(1,)]
    (job,) = found("jobs", "-l", f"prefect.io/flow-run-id={run_id}")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (login,) = [told for told in container["env"] if told["name"] == "PREFECT_API_AUTH_STRING"]
    assert login["valueFrom"] == {"secretKeyRef": {"name": "prefect-api", "key": "auth-string"}}


def test_a_nightly_load_that_is_evicted_goes_on_in_another_pod(pool: SyncPrefectClient, battery: Battery) -> None:
    config_map("dpa-catalog", catalog__yaml=CATALOG, erp__csv=ERP)
    with held_up(battery):
        run_id = start(pool, "load-nightly/load-nightly")
        wait_until(lambda: rows(battery.engine, "SELECT run_id FROM runs") == [(str(run_id),)], LIMIT_S)
        (pod,) = pods_of(run_id)
        kubectl("-n", NAMESPACE, "delete", "pod", pod, "--wait=false")
        wait_until(lambda: state_of(pool, run_id).is_scheduled(), LIMIT_S)
    state = ended(pool, run_id)
    assert state.is_completed(), state.message
    assert loaded(battery) == LOADED
    assert len(found("jobs", "-l", f"prefect.io/flow-run-id={run_id}")) == 2


def test_a_listener_whose_pod_is_deleted_drains_and_is_completed(pool: SyncPrefectClient, battery: Battery) -> None:
    battery.produce(3_000)
    run_id = start(pool, LISTEN, quarantine_limit=1)
    wait_until(lambda: battery.is_read, LIMIT_S)
    with battery.producing(500, 20):
        (pod,) = pods_of(run_id)
        kubectl("-n", NAMESPACE, "delete", "pod", pod, "--wait=false")
        state = ended(pool, run_id)
    assert state.is_completed(), state.message
    assert str(state.message).startswith("told to stop; read ")
    assert living(battery) == []
    battery.read_to_the_end()
    battery.assert_nothing_is_lost_or_doubled()
    assert state_of(pool, run_id).is_completed()


def test_a_listener_that_is_killed_is_crashed_told_of_and_replaced_once(
    pool: SyncPrefectClient, battery: Battery, receiver: Receiver
) -> None:
    before = len(runs_of(pool, LISTEN))
    scaling = start(pool, "scale-listeners/scale-listeners", deployments=[LISTEN], maximum=1, period_s=2, max_run_s=900)
    wait_until(lambda: len(living(battery)) == 1, LIMIT_S)
    battery.produce(2_000, poison=0)
    (victim,) = living(battery)
    (pod,) = pods_of(victim)
    kill(pod)
    wait_until(lambda: living(battery) not in ([], [victim]), LIMIT_S)
    assert ended(pool, UUID(victim)).is_crashed()
    assert victim in receiver.wait_for("listen-transactions Crashed").body
    battery.produce(1_000, poison=0)
    wait_until(lambda: battery.is_read, LIMIT_S)
    assert len(runs_of(pool, LISTEN)) == before + 2
    (listener,) = living(battery)
    for run_id in (scaling, UUID(listener)):
        (pod,) = pods_of(run_id)
        kubectl("-n", NAMESPACE, "delete", "pod", pod, "--wait=false")
        assert ended(pool, run_id).is_completed()
    battery.assert_nothing_is_lost_or_doubled()


def test_a_pod_that_never_starts_is_noticed(pool: SyncPrefectClient, battery: Battery) -> None:
    run_id = start(pool, LISTEN, memory="9000Gi")  # for which no node has room, as if its image could not be pulled
    wait_until(lambda: pods_of(run_id) != [], LIMIT_S)
    limits: dict[str, Any] = {"maximum": 1, "period_s": 2, "start_limit_s": 90, "max_run_s": 600}
    scaling = start(pool, "scale-listeners/scale-listeners", deployments=[LISTEN], **limits)
    state = ended(pool, run_id)
    assert state.is_crashed()
    wait_until(lambda: len(living(battery)) == 1, LIMIT_S)  # the one in its place
    (pod,) = pods_of(scaling)
    kubectl("-n", NAMESPACE, "delete", "pod", pod, "--wait=false")
    assert ended(pool, scaling).is_completed()
