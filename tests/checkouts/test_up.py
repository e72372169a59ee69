"""`make up`, a run from Prefect and `make down`, as the README shows them, in a copy of the repository."""

import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from tests.lib.checkout import Checkout
from tests.lib.ports import free_port
from tests.lib.readme import block

DEPLOYMENTS = {
    "backfill/backfill",
    "check-sources/check-sources",
    "listen/listen-terminal-events",
    "listen/listen-transactions",
    "load-nightly/load-day",
    "load-nightly/load-nightly",
    "maintain-warehouse/maintain-warehouse",
    "reconcile/reconcile",
    "export-quarantine/export-quarantine",
    "preview-source/preview-source",
    "import-quarantine/import-quarantine",
    "replay-quarantine/replay-quarantine",
    "replay-range/replay-range",
    "scale-listeners/scale-listeners",
    "send-report/send-report",
    "watch/watch",
}
SCHEDULED = {  # none of which overlaps itself
    "load-nightly/load-nightly",
    "maintain-warehouse/maintain-warehouse",
    "reconcile/reconcile",
    "watch/watch",
}
LISTENERS = {"listen/listen-transactions": "transactions", "listen/listen-terminal-events": "terminal_events"}
LOGIN = "ops:p@ss word"
AUTH = httpx.BasicAuth(*LOGIN.split(":"))
SCHEDULED_WITHIN_S = 30.0
BUSY_LIMIT_S = 60.0


class Installation(NamedTuple):
    """A checkout and the port that its server gets."""

    checkout: Checkout
    port: int

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def run(self, line: str, **environment: str) -> str:
        """Run a line of the README, which must succeed."""
        line = line.replace("4200", str(self.port))
        done = self.checkout.run(line, PREFECT_SERVER_API_PORT=str(self.port), **environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def ask(self, path: str, **what: Any) -> Any:
        """Ask as Prefect's own clients do: again while the server says that its database is busy."""
        deadline = time.monotonic() + BUSY_LIMIT_S
        while True:
            answer = httpx.post(f"{self.api}{path}", json=what, auth=AUTH, timeout=30)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                return answer.raise_for_status().json()
            time.sleep(0.5)

    def keep(self, slug: str, name: str, **data: Any) -> None:
        """Keep a block of a kind that is registered."""
        with httpx.Client(base_url=self.api, auth=AUTH, timeout=30) as client:
            known = client.get(f"/block_types/slug/{slug}").raise_for_status().json()["id"]
            wanted = {"block_schemas": {"block_type_id": {"any_": [known]}}}
            (schema,) = client.post("/block_schemas/filter", json=wanted).raise_for_status().json()
            block = {"name": name, "data": data, "block_type_id": known, "block_schema_id": schema["id"]}
            client.post("/block_documents/", json=block).raise_for_status()

    def deployments(self) -> dict[str, Any]:
        flows = {flow["id"]: flow["name"] for flow in self.ask("/flows/filter")}
        return {f"{flows[found['flow_id']]}/{found['name']}": found for found in self.ask("/deployments/filter")}

    def server_settings(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.api}/admin/settings", auth=AUTH, timeout=30)
        settings = answer.raise_for_status().json()["server"]
        assert isinstance(settings, dict)
        return settings

    def processes(self) -> list[int]:
        """Numbers of the processes that live in this checkout, children of the worker included."""
        folder = str(self.checkout.folder)
        return [p.pid for p in psutil.process_iter() if _is_of(p, folder)]


def _is_of(process: psutil.Process, folder: str) -> bool:
    try:
        return process.environ().get("PREFECT_HOME", "").startswith(folder) and process.status() != "zombie"
    except psutil.Error:
        return False


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(Checkout(tmp_path / "dpa"), free_port())
    yield made
    for pid in made.processes():  # of a test that failed
        psutil.Process(pid).kill()


def scheduled(installation: Installation) -> set[str]:
    """Return the names of the deployments that have runs to come."""
    names = {found["id"]: name for name, found in installation.deployments().items()}
    deadline = time.monotonic() + SCHEDULED_WITHIN_S
    while time.monotonic() < deadline:
        runs = installation.ask("/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})
        if len(found := {names[run["deployment_id"]] for run in runs if run["deployment_id"]}) == len(SCHEDULED):
            return found
        time.sleep(0.5)
    return set()


def count(installation: Installation, table: str) -> int:
    path = installation.checkout.folder / "database" / "supply_chain_dwh.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        ((found,),) = connection.execute(f"SELECT count(*) FROM {table}").fetchall()
    assert isinstance(found, int)
    return found


def stored_state(installation: Installation, run: str) -> str:
    """The state of a run in the server's own database."""
    path = installation.checkout.folder / ".prefect" / "prefect.db"
    with closing(sqlite3.connect(path)) as connection:
        ((state,),) = connection.execute("SELECT state_type FROM flow_run WHERE name = ?", [run]).fetchall()
    return str(state)


def start(installation: Installation, deployment: str, until: str, **parameters: Any) -> str:
    """Start a run and wait until it is in a state; return its name."""
    found = installation.deployments()[deployment]["id"]
    run = installation.ask(f"/deployments/{found}/create_flow_run", parameters=parameters)["id"]
    deadline = time.monotonic() + 180  # a busy machine takes its time to start a run
    while time.monotonic() < deadline:
        (told,) = installation.ask("/flow_runs/filter", flow_runs={"id": {"any_": [run]}})
        if told["state_type"] == until:
            return str(told["name"])
        time.sleep(0.5)
    raise AssertionError(f"{deployment} is not {until} but {told['state']}")


@pytest.mark.timeout(600)
def test_everything_runs_from_prefect_after_make_up_and_nothing_after_make_down(installation: Installation) -> None:
    up, export, run, down = block("sh", "make up").splitlines()
    settings = {"PREFECT_SERVER_API_AUTH_STRING": LOGIN, "DPA_KAFKA_BOOTSTRAP": "127.0.0.1:9"}  # where nobody answers
    login = {"PREFECT_API_AUTH_STRING": LOGIN}

    installation.checkout.write({"blocks.yaml": "azure-key-vault: {corridor: {url: 'https://v.vault.azure.net'}}"})
    first = installation.run(up, **settings)
    assert first.startswith("Simulated 28,002 rows in 17 files")
    assert export.replace("4200", str(installation.port)) in first
    assert LOGIN not in first
    assert httpx.post(f"{installation.api}/flows/filter", json={}).status_code == 401
    deployed, running = installation.deployments(), installation.processes()
    check_deployments(deployed)
    check_server(installation.server_settings())
    assert len(running) == 2
    assert scheduled(installation) == SCHEDULED
    assert [told["name"] for told in installation.ask("/block_documents/filter")] == ["corridor"]

    installation.run(f"{export}\n{run}", **login)  # ends with 0 if the run is Completed
    loaded = count(installation, "fact_transactions")
    assert loaded > 20_000

    installation.keep("alert-channel", "alerts", kind="webhook", key="http://127.0.0.1:9/nobody")
    again = installation.run(up)  # in a shell that knows neither password nor Kafka
    assert "alerts go to the channel 'alerts'" in again
    assert "The Prefect server runs already" in again
    assert "The worker runs already" in again
    assert "It keeps its own DPA_KAFKA_BOOTSTRAP" in again
    assert installation.processes() == running
    assert {name: told["id"] for name, told in installation.deployments().items()} == {
        name: told["id"] for name, told in deployed.items()
    }
    assert count(installation, "fact_transactions") == loaded

    start(installation, "reconcile/reconcile", until="COMPLETED")
    listener = start(installation, "listen/listen-transactions", until="RUNNING", simulated=True)
    ended = installation.run(down)
    assert f"Cancelling {listener}\nThe worker and the Prefect server are stopped" in ended
    assert stored_state(installation, listener) == "CANCELLED"
    assert installation.processes() == []
    assert "Nothing runs here" in installation.run(down)


def check_server(settings: dict[str, Any]) -> None:
    """It deletes what is old, remembers beyond a kill who has a place, and tells nobody that it is used."""
    assert set(settings["services"]["db_vacuum"]["enabled"]) == {"events", "flow_runs"}
    assert settings["concurrency"]["lease_storage"].endswith(".filesystem")
    assert settings["analytics_enabled"] is False


def check_deployments(deployed: dict[str, Any]) -> None:
    """What prefect.yaml says is what the server knows."""
    assert set(deployed) == DEPLOYMENTS
    for name, told in deployed.items():
        assert (told["work_pool_name"], told["description"] != "", "dpa" in told["tags"]) == ("local", True, True)
        parameters = told["parameter_openapi_schema"]["properties"].items()
        assert [n for n, parameter in parameters if not parameter.get("description")] == [], name
    limits = {n: t["global_concurrency_limit"] and t["global_concurrency_limit"]["limit"] for n, t in deployed.items()}
    assert {name for name, limit in limits.items() if limit} == SCHEDULED | {"scale-listeners/scale-listeners"}
    scaler = deployed["scale-listeners/scale-listeners"]
    assert [schedule["active"] for schedule in scaler["schedules"]] == [False]
    assert scaler["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    assert deployed["load-nightly/load-nightly"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    (nightly,) = deployed["load-nightly/load-nightly"]["schedules"]
    assert (nightly["schedule"]["cron"], nightly["schedule"]["timezone"]) == ("0 2 * * *", "Africa/Douala")
    for name, dataset in LISTENERS.items():
        assert deployed[name]["parameters"]["dataset"] == dataset
        assert deployed[name]["job_variables"]["env"]["MALLOC_ARENA_MAX"] == "2"


def test_a_port_in_use_is_named_and_nothing_is_left(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.port)):
        done = installation.checkout.run("python3 bootstrap.py up", PREFECT_SERVER_API_PORT=str(installation.port))
    assert done.returncode == 2
    assert f"port {installation.port} of 127.0.0.1 is in use by another program" in done.stdout
    assert installation.processes() == []
