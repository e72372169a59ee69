"""The servers that all workers of a test run share: a process keeps each of them, and stops it when the run is gone."""

import fcntl
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from freight.demo.local_kafka import fetch_broker
from freight.settings import PROJECT_ROOT
from tests.lib.kafka_under_test import KafkaUnderTest
from tests.lib.ports import free_port
from tests.lib.postgres import own_server
from tests.lib.waiting import LIMIT_S, wait_until

KAFKA_JARS = PROJECT_ROOT / ".kafka"
LOOKS_EVERY_S = 0.5
CALM = {"broker.session.timeout.ms": "9000", "broker.heartbeat.interval.ms": "2000"}  # as usual: nobody kills this one
# What the harness of Prefect for tests sets: no interface, no services for schedules. And no figures for its makers.
TEMPORARY = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "0",
}


@dataclass(frozen=True)
class TestRun:
    """A run of tests.

    Attributes:
        pid: The id of the process that started it; the servers live as long as this process.
        folder: The folder that the workers of the run share.
    """

    __test__ = False  # not a class of tests

    pid: int
    folder: Path

    def server(self, name: str) -> dict[str, Any]:
        """Return the place of a server; the first caller starts it, and the others wait.

        Args:
            name: The name of the server in `KEPT`.
        """
        place = self.folder / f"{name}.json"
        with _alone(place.with_suffix(".lock")):
            if not place.exists():
                self._start(name, place)
        return dict(json.loads(place.read_text(encoding="utf-8")))

    def _start(self, name: str, place: Path) -> None:
        argv = [sys.executable, "-m", "tests.lib.keeper", name, str(self.pid), str(place)]
        log = place.with_suffix(".log")
        with log.open("wb") as said:
            done = subprocess.run(
                argv, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False
            )
        assert done.returncode == 0, log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one worker in at a time; the system lets the next one in if it dies."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _postgres(_: Path) -> Iterator[Mapping[str, Any]]:
    with own_server() as server:
        yield {"folder": str(server.folder), "port": server.port}


@contextmanager
def _kafka(folder: Path) -> Iterator[Mapping[str, Any]]:
    jars = fetch_broker(KAFKA_JARS)
    assert jars
    with KafkaUnderTest(jars, folder / "données", secure=True, options=CALM) as broker:
        yield broker.place
        broker.crash()  # nobody needs its data


@contextmanager
def _prefect(folder: Path) -> Iterator[Mapping[str, Any]]:
    folder.mkdir()
    port, log = free_port(), folder / "server.log"
    argv = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    argv += ["--port", str(port), "--log-level", "error", "--lifespan", "on"]
    environment = {**os.environ, **TEMPORARY, "PREFECT_HOME": str(folder)}
    with log.open("wb") as said, subprocess.Popen(argv, env=environment, stdout=said, stderr=said) as server:
        try:
            wait_until(lambda: _listens(server, port), told=log)
            copy = folder / "migrated.db"
            _copy(folder / "prefect.db", copy)
            yield {"api": f"http://127.0.0.1:{port}/api", "database": str(copy)}
        finally:
            server.kill()  # nobody needs its data


def _copy(database: Path, to: Path) -> None:
    """Copy a SQLite database that others use."""
    with closing(sqlite3.connect(database, timeout=LIMIT_S)) as used, closing(sqlite3.connect(to)) as copy:
        used.backup(copy)


def _listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Return True once a server listens, which it does when it is ready."""
    assert server.poll() is None, f"the server has ended with code {server.returncode}"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


KEPT = {"postgres": _postgres, "kafka": _kafka, "prefect": _prefect}


def _keep(server: AbstractContextManager[Mapping[str, Any]], run: psutil.Process, place: Path, ready: int) -> None:
    """Start a server, write its place to a file, and stop it at the end of the run."""
    with server as where:
        place.write_text(json.dumps(where), encoding="utf-8")
        os.write(ready, b"1")
        os.close(ready)
        while run.is_running() and run.status() != psutil.STATUS_ZOMBIE:
            time.sleep(LOOKS_EVERY_S)


def main(name: str, run: str, place: str) -> int:
    """Leave a process behind that keeps a server; return 0 once the server is up."""
    process, (told, ready) = psutil.Process(int(run)), os.pipe()
    if os.fork():
        os.close(ready)
        return 0 if os.read(told, 1) else 1
    os.close(told)
    os.setsid()  # Ctrl-C is for the run, whose workers still use the server
    _keep(KEPT[name](Path(place).with_suffix("")), process, Path(place), ready)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
