"""A span of days, each loaded by a run of the deployment `load-day`, on a real Prefect server."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import State, get_client
from prefect.artifacts import Artifact
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter

from flows.backfill import backfill
from flows.load_nightly import load_nightly
from freight.settings import PROJECT_ROOT
from freight.warehouse.migrate import migrate
from tasks import day_runs
from tasks import load as steps
from tests.lib.corridor import HEADER, Corridor

FIRST, LAST = date(2026, 2, 1), date(2026, 2, 4)
SOURCE = {"name": "erp", "dataset": "transactions", "reader": "csv", "location": "erp/{day:%Y/%m}/{day:%d}_*.csv"}


@pytest.fixture
def corridor(home: Path) -> Corridor:
    migrate(steps.warehouse())
    (home / "catalog.yaml").write_text(yaml.safe_dump({"sources": [SOURCE]}), encoding="utf-8")
    corridor = Corridor(home, steps.warehouse())
    for day in (1, 2, 4):
        write_day(corridor, day)
    return corridor


def write_day(corridor: Corridor, day: int, when: str = "10:00:00") -> None:
    row = f"TRX-{day},MCH-001,2026-02-{day:02} {when},30,OK"
    corridor.write(f"erp/2026/02/{day:02}_douala.csv", f"{HEADER}\n{row}\n")


def run(**parameters: Any) -> State[Any]:
    state = backfill(FIRST, LAST, **parameters, return_state=True)
    assert isinstance(state, State)
    return state


def stored(corridor: Corridor) -> list[str]:
    return [key for key, *_ in corridor.rows("fact_transactions", "transaction_id", "1")]


def test_a_dry_run_tells_what_would_be_loaded_and_loads_nothing(corridor: Corridor) -> None:
    state = run()
    assert state.is_completed()
    told = "3 of 4 days have files to load: 3 of 3 files"
    assert state.message == f"dry run, nothing was loaded. {told}"
    shown = str(Artifact.get("backfill-plan"))
    assert told in shown
    assert '"day": "2026-02-03", "source": "erp", "files": 0, "to load": 0, "note": "no file is there"' in shown
    assert stored(corridor) == []


class Pool(threading.Thread):
    """Executes the scheduled runs of a deployment, each in a process as a worker does."""

    def __init__(self, client: SyncPrefectClient, environment: dict[str, str]) -> None:
        super().__init__(daemon=True)
        step = {"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT_ROOT)}}
        self.deployment_id = client.create_deployment(
            client.create_flow(load_nightly),
            name="load-day",
            entrypoint="flows.load_nightly.load_nightly",
            pull_steps=[step],
            parameter_openapi_schema=load_nightly.parameters.model_dump_for_openapi(),
        )
        self.executed: list[str] = []
        self._environment, self._closed = environment, threading.Event()

    def run(self) -> None:
        scheduled = FlowRunFilter.model_validate(
            {"deployment_id": {"any_": [self.deployment_id]}, "state": {"type": {"any_": ["SCHEDULED"]}}}
        )
        with get_client(sync_client=True) as client:
            while not self._closed.is_set():
                for flow_run in client.read_flow_runs(flow_run_filter=scheduled):
                    self.executed.append(flow_run.name)
                    argv = [sys.executable, "-m", "prefect", "flow-run", "execute", str(flow_run.id)]
                    subprocess.run(argv, cwd=PROJECT_ROOT, env=self._environment, check=False, capture_output=True)
                time.sleep(0.2)

    def close(self) -> None:
        self._closed.set()
        self.join()


@pytest.fixture
def pool(server: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    for name, value in {**server, "DPA_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    with get_client(sync_client=True) as client:
        made = Pool(client, dict(os.environ))
        made.start()
        yield made
        made.close()


def test_days_are_loaded_in_runs_of_their_own_and_only_what_is_missing(corridor: Corridor, pool: Pool) -> None:
    """A day that is loaded is left alone, one that was delivered again is not, and a bad one stops no other."""
    load_nightly(sources=["erp"], day=FIRST)
    assert stored(corridor) == ["TRX-1"]
    corridor.write("erp/2026/02/02_douala.csv", "not, a, table\n")
    state = run(dry_run=False)
    assert state.is_failed()
    first, second = str(state.message).splitlines()
    assert first == "1 of 2 days are not loaded"
    assert second.startswith("2026-02-02: load 2026-02-02 FAILED: 1 of 1 file failed")
    assert stored(corridor) == ["TRX-1", "TRX-4"]

    write_day(corridor, 2)
    again = run(dry_run=False)
    assert again.is_completed(), again.message
    assert again.message == "1 of 4 days have files to load: 1 of 3 files; all loaded"
    assert stored(corridor) == ["TRX-1", "TRX-2", "TRX-4"]
    assert pool.executed == ["load 2026-02-02", "load 2026-02-04", "load 2026-02-02"]


def test_a_run_that_is_under_way_already_is_waited_for(corridor: Corridor, pool: Pool) -> None:
    """As after a backfill that was ended: its runs go on."""
    for day in (1, 2):
        load_nightly(day=date(2026, 2, day))
    with get_client(sync_client=True) as client:
        client.create_flow_run_from_deployment(
            pool.deployment_id, parameters={"day": "2026-02-04"}, tags=["day:2026-02-04"], name="begun before"
        )
        state = run(dry_run=False)
    assert state.is_completed(), state.message
    assert stored(corridor) == ["TRX-1", "TRX-2", "TRX-4"]
    assert pool.executed == ["begun before"]


@pytest.mark.usefixtures("corridor")
def test_a_backfill_that_cannot_be_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(day_runs, "DEPLOYMENT", "load-nightly/nowhere")
        assert "there is no deployment load-nightly/nowhere" in str(run(dry_run=False).message)
    backwards = backfill(LAST, FIRST, return_state=True)
    assert backwards.is_failed()
    assert "from_day 2026-02-04 to until_day 2026-02-01 is not a span" in str(backwards.message)
    assert "the catalog has no source 'rail': it has erp" in str(run(sources=["rail"]).message)
    undated = {**SOURCE, "location": "erp/*.csv"}
    (home / "catalog.yaml").write_text(yaml.safe_dump({"sources": [undated]}), encoding="utf-8")
    assert "the location of erp contains no day: write {day:%Y%m%d}" in str(run().message)
