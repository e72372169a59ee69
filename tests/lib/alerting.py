"""A separate Prefect for tests of alerts, and a receiver that keeps the messages."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.worker import EventsWorker
from pydantic import SecretStr

from blocks.alert_channel import AlertChannel
from deployments import automations
from deployments.address import Address
from deployments.automations import ALERTS, CHANNEL, Alert
from deployments.background import Background
from deployments.local import POOL, PREFECT, SERVER, Endpoint, is_healthy, server_environment
from freight.settings import PROJECT_ROOT, Settings
from tasks.temporary_server import new_login
from tests.lib.ports import free_port
from tests.lib.serving import HttpHandler, Served
from tests.lib.waiting import LIMIT_S, wait_until

# Faster than usual, to keep tests short: a worker's absence is noticed after seconds.
QUICK = {
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "1",
    "PREFECT_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "2",
    "PREFECT_SERVER_LOGGING_LEVEL": "INFO",
}


class Message(NamedTuple):
    """A received alert."""

    subject: str
    body: str


class Receiver(Served):
    """A webhook that accepts POSTs at any path.

    Attributes:
        url: The URL; its last part is a secret.
    """

    def __init__(self, secret: str) -> None:
        self._bodies: list[dict[str, Any]] = []
        receiver = self

        class Handler(HttpHandler):
            def do_POST(self) -> None:
                """Keep the message."""
                assert self.headers["Content-Type"] == "application/json"
                receiver._bodies.append(json.loads(self.sent))
                self.answer(204)

        super().__init__(Handler)
        self.url += f"/{secret}"

    @property
    def messages(self) -> list[Message]:
        """The received messages, in order of arrival."""
        return [Message(body["subject"], body["body"]) for body in self._bodies]

    def wait_for(self, subject: str) -> Message:
        """Return the message with this subject, once it has arrived."""
        wait_until(lambda: any(subject in told.subject for told in self.messages), told=self)
        return next(told for told in self.messages if subject in told.subject)

    def __str__(self) -> str:
        return f"arrived so far: {self.messages}"


class Answers(Served):
    """A server that accepts every POST.

    Attributes:
        bodies: The messages that have arrived.
    """

    def __init__(self) -> None:
        self.bodies: list[str] = []
        bodies = self.bodies

        class Handler(HttpHandler):
            def do_POST(self) -> None:
                bodies.append(self.sent.decode())
                self.answer(200, b"ok")

        super().__init__(Handler)


@contextmanager
def receiving(prefect: SyncPrefectClient, secret: str, alerts: Sequence[Alert] = ALERTS) -> Iterator[Receiver]:
    """Yield a receiver of alerts; the alerts are removed at the end."""
    with Receiver(secret) as made:
        AlertChannel(kind="webhook", key=SecretStr(made.url)).save(CHANNEL, overwrite=True)
        automations.apply(prefect, alerts=alerts)
        yield made
        automations.apply(prefect, alerts=[])


class OwnPrefect:
    """A Prefect server in a process of its own, and optionally a worker."""

    def __init__(self, folder: Path, address: Address | None = None, authority: str = "") -> None:
        self._address = address or Address("127.0.0.1", free_port())
        self.endpoint = Endpoint(self._address.api, new_login(), authority)
        self._home = Settings(folder, f"sqlite:///{(folder / 'warehouse.sqlite').as_posix()}", folder / "catalog.yaml")
        self.environment = {**self.endpoint.environment(self._home), **QUICK, "DPA_HOME": str(folder)}
        self._server = Background(folder / "run" / "server.pid", folder / "logs" / "server.log")
        self.database = folder / ".prefect" / "prefect.db"
        self._worker = Background(folder / "run" / "worker.pid", folder / "logs" / "worker.log")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        environment = server_environment(self._home, self._address, self.endpoint) | QUICK
        self._server.start(SERVER, {**environment, "DPA_HOME": str(self._home.home)}, PROJECT_ROOT)
        wait_until(lambda: bool(self._server.need()) and is_healthy(self.endpoint), told=self._server.log_path)

    def stop_server(self) -> None:
        """Stop the server only."""
        self._server.stop()

    def start_worker(self, bootstrap: str = "127.0.0.1:9", **settings: str) -> psutil.Process:
        """Start a worker that runs processes on this machine.

        Args:
            bootstrap: The Kafka servers; by default an address without an answer.
            settings: Further environment variables of runs.
        """
        argv = [*PREFECT, "worker", "start", "--pool", POOL, "--type", "process"]
        return self._worker.start(
            argv, {**self.environment, "DPA_KAFKA_BOOTSTRAP": bootstrap, **settings}, PROJECT_ROOT
        )

    @property
    def worker_log(self) -> Path:
        """The worker's log."""
        return self._worker.log_path

    @property
    def said(self) -> str:
        """The server's log."""
        return self._server.log_path.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Stop the server and the worker."""
        self._worker.stop()
        self._server.stop()


@contextmanager
def own_prefect(
    folder: Path, migrated: Path | None = None, address: Address | None = None, authority: str = ""
) -> Iterator[OwnPrefect]:
    """Yield a running Prefect.

    Args:
        folder: The folder of its database and its logs.
        migrated: The migrated, empty database to copy, which saves seconds; None to make one.
        address: The place where it listens; by default a free port of this machine.
        authority: The authority that signs its certificate, if it has one.
    """
    made = OwnPrefect(folder, address, authority)
    if migrated:
        made.database.parent.mkdir(mode=0o700)
        shutil.copyfile(migrated, made.database)
    _forget_where_events_go()
    try:
        made.start()
        yield made
    finally:
        _forget_where_events_go()
        made.stop()


def _forget_where_events_go() -> None:
    """Make this process choose its event server again: otherwise it keeps to the server of its first event."""
    EventsWorker.drain_all(LIMIT_S, at_exit=False)


def run_of(worker: psutil.Process) -> psutil.Process | None:
    """Return the process of a run that a worker started."""
    for child in worker.children(recursive=True):
        try:
            if "PREFECT__FLOW_RUN_ID" in child.environ():
                return child
        except psutil.Error:
            continue
    return None
