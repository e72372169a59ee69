"""Prefect on this machine: a server, all deployments of prefect.yaml and a worker (`make up`, `make down`).

Both go on in the background. Repeating either command is harmless.
"""

import os
import platform
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.states import Cancelling

from deployments import automations
from deployments.apply_blocks import apply_blocks
from deployments.background import POLL_S, Background
from freight.cli import demo
from freight.errors import ConfigurationError, DpaError
from freight.settings import PROJECT_ROOT, Settings, load_settings

POOL = "local"
START_LIMIT_S = 180.0  # a small machine that is busy takes a minute for the server
DRAIN_LIMIT_S = 60.0  # Prefect kills a run 30 s after it was cancelled
PREFECT = (sys.executable, "-m", "prefect")

# Defaults that a user's own setting overrides.
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # By itself it deletes only events, those older than 7 days; runs with their logs would stay for ever.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    # By itself it knows in memory only who has a place under a concurrency limit: if it were killed, the place of a
    # nightly would be taken for ever, and each later one cancelled.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


@dataclass(frozen=True)
class Place:
    """Where the server is, and what a client has to say to it.

    Attributes:
        url: of the API.
        login: user:password, empty if the server asks for none.
    """

    url: str
    login: str

    @classmethod
    def wanted(cls) -> "Place":
        """Return where Prefect's own settings want a server."""
        api = get_current_settings().server.api
        return cls(f"http://{api.host}:{api.port}/api", os.environ.get("PREFECT_SERVER_API_AUTH_STRING", ""))

    @classmethod
    def of(cls, server: psutil.Process) -> "Place":
        """Return where a server is that this module has started, be it in another shell."""
        environment = server.environ()
        return cls(environment["PREFECT_API_URL"], environment.get("PREFECT_API_AUTH_STRING", ""))

    @property
    def ui(self) -> str:
        """Address of the interface."""
        return self.url.removesuffix("/api")

    def environment(self, here: Settings) -> dict[str, str]:
        """Return the environment of Prefect's programs, which share nothing with other Prefects of this user."""
        environment = {
            **SERVER_SETTINGS,
            "DPA_SCALING": "false",  # an embedded warehouse takes one listener, and a laptop may have no Kafka
            **os.environ,
            "PREFECT_HOME": str(here.home / ".prefect"),
            "PREFECT_API_URL": self.url,
            "DPA_WORK_POOL": POOL,
        }
        return environment | ({"PREFECT_API_AUTH_STRING": self.login} if self.login else {})

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Give a client, which also those use who ask Prefect for one by themselves."""
        with (
            temporary_settings({PREFECT_API_URL: self.url, PREFECT_API_AUTH_STRING: self.login or None}),
            get_client(sync_client=True) as client,
        ):
            yield client


# --- Up ----------------------------------------------------------------------------------------------------------


def up(here: Settings) -> None:
    """Start what does not run yet, and deploy everything.

    Raises:
        DpaError: something cannot be started; the message says why.
    """
    demo()
    place = _start_server(here)
    with place.client() as client:
        _make_pool(client)
        worker = _start_worker(place, here)  # which takes its time: the rest is done meanwhile
        blocks = here.home / "blocks.yaml"
        apply_blocks(blocks if blocks.exists() else None)
        _deploy(place, here)
        if automations.has_channel(client):
            _say(automations.apply(client))
        _wait_for(_worker(here), lambda: _is_at_work(client, worker))
    _say(_what_next(place))


def _start_server(here: Settings) -> Place:
    server = _server(here)
    process = server.process()
    if process is not None:
        _say(f"The Prefect server runs already (process {process.pid})")
        return Place.of(process)
    place = Place.wanted()
    url = httpx.URL(place.url)
    if _answers(url):
        raise ConfigurationError(
            f"port {url.port} of {url.host} is in use by another program: end it, or set PREFECT_SERVER_API_PORT"
        )
    _say(f"Starting a Prefect server, log in {server.log_path}")
    argv = [*PREFECT, "server", "start", "--host", url.host, "--port", str(url.port)]
    server.start(argv, place.environment(here), PROJECT_ROOT)
    _wait_for(server, lambda: is_healthy(place))
    return place


def _answers(url: httpx.URL) -> bool:
    try:
        socket.create_connection((url.host, url.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def is_healthy(place: Place) -> bool:
    """Whether a server answers."""
    if not _answers(httpx.URL(place.url)):
        return False  # which is cheap to tell: a client for HTTP loads all certificates of the world first
    try:
        return httpx.get(f"{place.url}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def _wait_for(program: Background, is_ready: Callable[[], bool]) -> None:
    """Wait until a program that was started does its work; one that does not come to it is stopped."""
    deadline = time.monotonic() + START_LIMIT_S
    while not is_ready():
        program.need()
        if time.monotonic() > deadline:
            program.stop()
            raise ConfigurationError(f"no sign of life after {START_LIMIT_S:.0f} s, see {program.log_path}")
        time.sleep(POLL_S)


def _make_pool(client: SyncPrefectClient) -> None:
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Processes of this machine."))
    except ObjectAlreadyExists:
        client.update_work_pool(POOL, WorkPoolUpdate(is_paused=False))


def _deploy(place: Place, here: Settings) -> None:
    done = subprocess.run(
        [*PREFECT, "--no-prompt", "deploy", "--all"],
        cwd=PROJECT_ROOT,
        env=place.environment(here),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise ConfigurationError(f"prefect.yaml could not be deployed:\n{done.stdout}")


def _start_worker(place: Place, here: Settings) -> psutil.Process:
    worker, environment = _worker(here), place.environment(here)
    process = worker.process()
    if process is None:
        _say(f"Starting a worker, log in {worker.log_path}")
        argv = [*PREFECT, "worker", "start", "--pool", POOL, "--type", "process", "--name", platform.node()]
        return worker.start(argv, environment, PROJECT_ROOT)
    _say(f"The worker runs already (process {process.pid})")
    if changed := _changed_settings(process, environment):
        _say(f"It keeps its own {', '.join(changed)}: make down and make up for the new ones")
    return process


def _changed_settings(process: psutil.Process, environment: dict[str, str]) -> list[str]:
    """Return the settings of DPA that are others now than when a process was started."""
    old = process.environ()
    return sorted(n for n in old.keys() | environment if n.startswith("DPA_") and old.get(n) != environment.get(n))


def _is_at_work(client: SyncPrefectClient, worker: psutil.Process) -> bool:
    """Whether the worker has told Prefect that it lives; an earlier one had the same name."""
    since = datetime.fromtimestamp(worker.create_time(), UTC)
    beats = [known.last_heartbeat_time for known in client.read_workers_for_work_pool(POOL)]
    return any(beat is not None and beat >= since for beat in beats)


def _what_next(place: Place) -> str:
    login = [("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")] if place.login else []
    if os.name == "nt":
        lines = [f'$env:PREFECT_API_URL = "{place.url}"', *(f"$env:{theirs} = $env:{ours}" for theirs, ours in login)]
        prefect = r".venv\Scripts\prefect"
    else:
        lines = [f"export PREFECT_API_URL={place.url}", *(f'export {theirs}="${ours}"' for theirs, ours in login)]
        prefect = ".venv/bin/prefect"
    lines += [f"{prefect} deployment ls", f"{prefect} deployment run load-nightly/load-nightly --watch"]
    return "\n".join([f"Prefect is at {place.ui}. Next:", *(f"  {line}" for line in lines)])


# --- Down --------------------------------------------------------------------------------------------------------


def down(here: Settings) -> None:
    """End the runs, the worker and the server; what does not run is no fault."""
    server, worker = _server(here), _worker(here)
    process = server.process()
    if process is None and worker.process() is None:
        _say("Nothing runs here")
        return
    if process is not None:
        _end_runs(Place.of(process))
    worker.stop()  # its runs first: it would kill them, and leave them Running in Prefect
    server.stop()
    _say("The worker and the Prefect server are stopped")


def _end_runs(place: Place) -> None:
    """Let no run begin any more, and cancel those under way; a listener then commits what it has read."""
    try:
        with place.client() as client:
            client.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))
            runs = _runs_under_way(client)
            for run in runs:
                _say(f"Cancelling {run.name}")
                client.set_flow_run_state(run.id, Cancelling())
            deadline = time.monotonic() + DRAIN_LIMIT_S
            while runs and time.monotonic() < deadline:
                time.sleep(POLL_S)
                runs = _runs_under_way(client)
    except httpx.HTTPError as error:
        _say(f"The server does not tell which runs are under way: {error}")
        return
    for run in runs:
        _say(f"{run.name} did not end within {DRAIN_LIMIT_S:.0f} s and is killed; what it had committed stays")


def _runs_under_way(client: SyncPrefectClient) -> list[FlowRun]:
    states = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    return client.read_flow_runs(
        work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [POOL]}}),
        flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": states}}}),
    )


# --- Both --------------------------------------------------------------------------------------------------------


def _server(here: Settings) -> Background:
    return _background(here, "prefect-server")


def _worker(here: Settings) -> Background:
    return _background(here, "prefect-worker")


def _background(here: Settings, name: str) -> Background:
    return Background(Path(here.run, f"{name}.pid"), Path(here.logs, f"{name}.log"))


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Carry out the command; return 0, or 2 if something cannot be started."""
    parser = ArgumentParser(description=__doc__)
    commands = {command.__name__: command for command in (up, down)}
    parser.add_argument("command", choices=commands)
    try:
        commands[parser.parse_args().command](load_settings())
    except DpaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
