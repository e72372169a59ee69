"""Prefect on this machine: a server, all deployments of prefect.yaml and a worker (`make up`, `make down`).

Server and worker run in the background. Repeating either command is harmless.
"""

import os
import platform
import socket
import ssl
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import certifi
import httpx
import psutil
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    get_current_settings,
    temporary_settings,
)
from prefect.states import Cancelling

from deployments import automations
from deployments.address import Address
from deployments.apply_blocks import apply_blocks
from deployments.background import POLL_S, Background
from deployments.login import OURS, THEIRS, chosen_login, own_login, source_line, tell_shells
from deployments.pools import process_template
from freight.console.cli import demo
from freight.errors import ConfigurationError, DpaError
from freight.exits import exits_in_words
from freight.settings import PROJECT_ROOT, Settings, load_settings

POOL = "local"
START_LIMIT_S = 600.0  # a small, busy machine takes minutes for the server; one that ends is noticed at once
DRAIN_LIMIT_S = 60.0  # Prefect kills a run 30 s after it was cancelled
NO_CHANNEL = (
    "No channel for alerts is set: if a night fails, nobody hears of it. To set one: dpa alerts set teams"
    " (or slack, email, sms, webhook; docs/alerts.md)"
)
PREFECT = (sys.executable, "-m", "prefect")
SERVER = (sys.executable, "-m", "deployments.server")

# Defaults that a user's own setting overrides.
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # By default it deletes only events older than 7 days; runs and their logs would stay for ever.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    # By default it keeps concurrency slots in memory only: if it were killed, the slot of a nightly load would stay
    # taken for ever, and each later one would be cancelled.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


@dataclass(frozen=True)
class Endpoint:
    """The server's address, and the settings of its clients.

    Attributes:
        url: The URL of the API.
        login: The login, as user:password.
        authority: The PEM file of its certificate authority; empty for the authorities that Prefect trusts.
    """

    url: str
    login: str = field(repr=False)
    authority: str = ""

    @classmethod
    def of(cls, server: psutil.Process) -> "Endpoint":
        """Return the endpoint of a server that this module has started, possibly in another shell or version."""
        env = server.environ()
        return cls(env["PREFECT_API_URL"], env.get(THEIRS, ""), env.get("PREFECT_API_SSL_CERT_FILE", ""))

    @property
    def ui(self) -> str:
        """The address of the interface."""
        return self.url.removesuffix("/api")

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables for clients."""
        variables = {"PREFECT_API_URL": self.url, THEIRS: self.login}
        return variables | ({"PREFECT_API_SSL_CERT_FILE": self.authority} if self.authority else {})

    def environment(self, here: Settings) -> dict[str, str]:
        """Return the environment of Prefect's programs, separate from this user's other Prefects."""
        return {
            **SERVER_SETTINGS,
            **os.environ,
            "PREFECT_HOME": str(here.prefect),
            "PREFECT_DEFAULT_WORK_POOL_NAME": POOL,
            **self.variables,
        }

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Yield a client; Prefect's own calls use the same settings."""
        settings = {
            PREFECT_API_URL: self.url,
            PREFECT_API_AUTH_STRING: self.login or None,
            PREFECT_API_SSL_CERT_FILE: self.authority or None,
        }
        with temporary_settings(settings), get_client(sync_client=True) as client:
            yield client


# --- Up ----------------------------------------------------------------------------------------------------------


def up(here: Settings) -> None:
    """Start whatever is not running, and deploy everything.

    Raises:
        DpaError: A program cannot be started; the message says why.
    """
    demo()
    endpoint = _start_server(here)
    tell_shells(here, endpoint.ui, endpoint.variables)
    with endpoint.client() as client:
        _make_pool(client)
        worker = _start_worker(endpoint, here)  # slow to start: the rest goes on meanwhile
        blocks = here.home / "blocks.yaml"
        apply_blocks(blocks if blocks.exists() else None)
        _deploy(endpoint, here)
        _say(automations.apply(client) if automations.has_channel(client) else NO_CHANNEL)
        _wait_for(_worker(here), lambda: _is_at_work(client, worker))
    _say(_what_next(here, endpoint))


def running_endpoint(here: Settings) -> Endpoint | None:
    """Return the endpoint of the server that `make up` has started here; None if there is none."""
    process = _server(here).process()
    return Endpoint.of(process) if process else None


def _start_server(here: Settings) -> Endpoint:
    server = _server(here)
    process = server.process()
    if process is not None:
        return _endpoint_of(process)
    address = Address.wanted(here.home)
    address.require_closed()
    _refuse_open_metrics()
    _need_free_port(address)
    endpoint = Endpoint(address.api, chosen_login(here, _show_once), _authority(address))
    _say(f"Starting a Prefect server, log in {server.log_path}")
    server.start(SERVER, server_environment(here, address, endpoint), PROJECT_ROOT)
    _wait_for(server, lambda: is_healthy(endpoint))
    return endpoint


def _endpoint_of(server: psutil.Process) -> Endpoint:
    """Return the endpoint of a running server.

    Raises:
        ConfigurationError: It is of an older version, which has no password.
    """
    if SERVER[-1] not in server.cmdline():
        raise ConfigurationError(
            f"the running Prefect server (process {server.pid}) is from an older version of DPA and open to web pages:"
            " make down, then make up"
        )
    _say(f"The Prefect server is already running (process {server.pid})")
    endpoint = Endpoint.of(server)
    if own_login() not in ("", endpoint.login):
        _say(f"It keeps its old password: make down and make up to use the one in {OURS}")
    return endpoint


def _refuse_open_metrics() -> None:
    if get_current_settings().client.metrics.enabled:
        raise ConfigurationError(
            "PREFECT_CLIENT_METRICS_ENABLED would open a port to everybody on every address of this machine: unset it"
        )


def _need_free_port(address: Address) -> None:
    if _answers(address.host, address.port):
        raise ConfigurationError(
            f"port {address.port} of {address.host} is in use by another program: end it, or set"
            " PREFECT_SERVER_API_PORT"
        )


def _authority(address: Address) -> str:
    path = get_current_settings().api.ssl_cert_file
    return str(Path(path).resolve()) if path and address.api.startswith("https:") else ""


def server_environment(here: Settings, address: Address, endpoint: Endpoint) -> dict[str, str]:
    """Return the environment of a server; no setting of the user can open it to foreign web pages."""
    return {
        "PREFECT_UI_API_URL": f"{address.ui}/api",
        **endpoint.environment(here),
        OURS: endpoint.login,
        "PREFECT_SERVER_API_HOST": address.host,
        "PREFECT_SERVER_API_PORT": str(address.port),
        # This name, since Prefect prefers it to the one without API.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(sorted(address.origins)),
    }


def _show_once(login: str) -> None:
    """Show a new login to a person, not to a log."""
    if sys.stdout.isatty():
        _say(f"Prefect asks for a login. This one was just created: {login}")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def is_healthy(endpoint: Endpoint) -> bool:
    """Whether a server answers.

    Raises:
        ConfigurationError: It answers with a certificate that its clients do not trust.
    """
    url = httpx.URL(endpoint.url)
    if not _answers(url.host, url.port or (443 if url.scheme == "https" else 80)):
        return False  # a cheap check first: an HTTP client starts by loading all certificate authorities
    try:
        trusted = ssl.create_default_context(cafile=endpoint.authority or certifi.where())
        return httpx.get(f"{endpoint.url}/health", timeout=5, verify=trusted).is_success
    except httpx.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise ConfigurationError(
                f"Prefect's own programs do not trust the certificate of {endpoint.url} ({error}): name its authority"
                " in PREFECT_API_SSL_CERT_FILE, and the server in PREFECT_UI_URL as the certificate does"
            ) from error
        return False


def _wait_for(program: Background, is_ready: Callable[[], bool]) -> None:
    """Wait until a started program works; stop it if it never does."""
    deadline = time.monotonic() + START_LIMIT_S
    try:
        while not is_ready():
            program.need()
            if time.monotonic() > deadline:
                raise ConfigurationError(f"no sign of life after {START_LIMIT_S:.0f} s, see {program.log_path}")
            time.sleep(POLL_S)
    except DpaError:
        program.stop()
        raise


def _make_pool(client: SyncPrefectClient) -> None:
    fields: dict[str, Any] = {
        "description": "Processes of this machine.",
        "base_job_template": process_template(),
        "is_paused": False,
    }
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", **fields))
    except ObjectAlreadyExists:
        client.update_work_pool(POOL, WorkPoolUpdate(**fields))


def _deploy(endpoint: Endpoint, here: Settings) -> None:
    done = subprocess.run(
        [*PREFECT, "--no-prompt", "deploy", "--all"],
        cwd=PROJECT_ROOT,
        env=endpoint.environment(here),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise ConfigurationError(f"prefect.yaml could not be deployed:\n{done.stdout}")


def _start_worker(endpoint: Endpoint, here: Settings) -> psutil.Process:
    worker, environment = _worker(here), endpoint.environment(here)
    process = worker.process()
    if process is None:
        _say(f"Starting a worker, log in {worker.log_path}")
        argv = [*PREFECT, "worker", "start", "--pool", POOL, "--type", "process", "--name", platform.node()]
        return worker.start(argv, environment, PROJECT_ROOT)
    _say(f"The worker is already running (process {process.pid})")
    if changed := _changed_settings(process, environment):
        _say(f"It keeps its old {', '.join(changed)}: make down and make up to use the new ones")
    return process


def _changed_settings(process: psutil.Process, environment: dict[str, str]) -> list[str]:
    """Return DPA's settings that have changed since a process was started."""
    old = process.environ()
    return sorted(n for n in old.keys() | environment if n.startswith("DPA_") and old.get(n) != environment.get(n))


def _is_at_work(client: SyncPrefectClient, worker: psutil.Process) -> bool:
    """Whether this worker has sent Prefect a heartbeat; an earlier one had the same name."""
    since = datetime.fromtimestamp(worker.create_time(), UTC)
    beats = [known.last_heartbeat_time for known in client.read_workers_for_work_pool(POOL)]
    return any(beat is not None and beat >= since for beat in beats)


def _what_next(here: Settings, endpoint: Endpoint) -> str:
    programs = Path(".venv", "Scripts" if os.name == "nt" else "bin")
    lines = [
        source_line(here),
        f"{programs / 'prefect'} deployment ls",
        f"{programs / 'prefect'} deployment run load-nightly/load-nightly --watch",
    ]
    where = f"Prefect is at {endpoint.ui} and asks for a login: {programs / 'dpa'} prefect-login shows it. Next:"
    return "\n".join([where, *(f"  {line}" for line in lines)])


# --- Down --------------------------------------------------------------------------------------------------------


def down(here: Settings) -> None:
    """End the runs, the worker and the server; one that is not running is no error."""
    server, worker = _server(here), _worker(here)
    process = server.process()
    if process is None and worker.process() is None:
        _say("Nothing is running here")
        return
    if process is not None:
        _end_runs(Endpoint.of(process))
    worker.stop()  # its runs have ended before: it would kill them and leave them Running in Prefect
    server.stop()
    _say("The worker and the Prefect server are stopped")


def _end_runs(endpoint: Endpoint) -> None:
    """Prevent new runs and cancel the current ones; a listener then commits what it has read."""
    try:
        with endpoint.client() as client:
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
        _say(f"The server does not list the current runs: {error}")
        return
    for run in runs:
        _say(f"{run.name} did not end within {DRAIN_LIMIT_S:.0f} s and is killed; its committed work stays")


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
    return Background(Path(here.processes, f"{name}.pid"), Path(here.logs, f"{name}.log"))


def _say(line: str) -> None:
    print(line, flush=True)


@exits_in_words
def main() -> int:
    """Run the command."""
    parser = ArgumentParser(description=__doc__)
    commands = {command.__name__: command for command in (up, down)}
    parser.add_argument("command", choices=commands)
    commands[parser.parse_args().command](load_settings())
    return 0


if __name__ == "__main__":
    sys.exit(main())
