"""What runs of a work pool may ask for, by a live Prefect server."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.workers.process import ProcessJobConfiguration

from deployments.pools import process_template
from tests.lib.aks import IMAGE, job_variables, template

POOLS = {"kubernetes": template(IMAGE), "process": process_template()}
ATTACKS: list[dict[str, Any]] = [
    {"command": "sh -c 'echo canary'"},
    {"working_dir": "/tmp"},
    {"image": "evil.example/dpa:1"},
    {"env": {"LD_PRELOAD": "/tmp/evil.so"}},
    {"env.LD_PRELOAD": "/tmp/evil.so"},
    {"env": {"PREFECT_API_URL": "http://evil.example/api"}},
]


@flow
def nothing() -> None:
    """Do nothing."""


@pytest.fixture(scope="module")
def prefect() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module", params=POOLS)
def deployment(request: pytest.FixtureRequest, prefect: SyncPrefectClient) -> UUID:
    """A deployment that asks of its pool what a listener does."""
    pool = f"judged-{request.param}"
    made = WorkPoolCreate(name=pool, type=request.param, base_job_template=POOLS[request.param])
    prefect.create_work_pool(made, overwrite=True)
    asked = job_variables("listen-transactions")
    return prefect.create_deployment(prefect.create_flow(nothing), name=pool, work_pool_name=pool, job_variables=asked)


def test_a_run_may_ask_for_what_deployments_ask_for(prefect: SyncPrefectClient, deployment: UUID) -> None:
    asked = {"memory_limit": "2Gi", "env": {"MALLOC_ARENA_MAX": "4"}}
    assert prefect.create_flow_run_from_deployment(deployment, job_variables=asked).job_variables == asked


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_run_that_asks_for_anything_else_is_refused(
    prefect: SyncPrefectClient, deployment: UUID, attack: dict[str, Any]
) -> None:
    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        prefect.create_flow_run_from_deployment(deployment, job_variables=attack)


@pytest.mark.parametrize("attack", ATTACKS[:3], ids=str)
def test_a_process_starts_nothing_but_its_run_wherever_it_was_asked_for(attack: dict[str, Any]) -> None:
    nowhere = PrefectClient("http://127.0.0.1:9/api")  # the template names no block, so nobody is asked
    making = ProcessJobConfiguration.from_template_and_values(process_template(), attack, client=nowhere)
    configuration: Any = asyncio.run(making)
    run = Flow(name="it", labels={})
    configuration.prepare_for_flow_run(FlowRun(name="a run", flow_id=run.id), None, run)
    assert configuration.working_dir is None
    assert configuration.command == f"{sys.executable} -m prefect.engine"
