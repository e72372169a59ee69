"""Kill and starve loads."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from freight import retry
from freight.catalog import read_catalog
from freight.errors import TransientError
from freight.pipeline import CoreSteps, Run, run_catalog
from freight.settings import PROJECT_ROOT
from freight.types import RunId
from freight.warehouse.connect import Engine, open_engine, reading
from tests.lib.connections import kept_connections
from tests.lib.corridor import NOW
from tests.lib.forks import Forked
from tests.lib.waiting import LIMIT_S, wait_until

EX_TEMPFAIL = 75  # "try again later" in sysexits.h
STARTED = "started"


@dataclass(frozen=True)
class Death:
    """The instant at which a load kills itself: right before or right after its n-th COMMIT."""

    when: Literal["before", "after"]
    commit: int


@dataclass(frozen=True)
class Ended:
    """How a process ended; `returncode` is negative when a signal killed it."""

    returncode: int
    seconds: float
    said: str


class LoadProcess:
    """A load in a process of its own, from the moment it opens the warehouse."""

    def __init__(self, url: str, folder: Path, run_id: str, death: Death | None = None) -> None:
        fate = [death.when, str(death.commit)] if death else []
        self._process = Forked(_load, url, str(folder), run_id, *fate, log=folder / f"{run_id}.txt")
        while STARTED not in self._process.output and self._process.lives:
            time.sleep(0.002)
        self._started = time.monotonic()

    def kill_after(self, seconds: float) -> Ended:
        """Kill the process some time after its start; it may have ended by then."""
        self.sleep(seconds)
        self._process.kill()
        return self.end()

    def sleep(self, seconds: float) -> None:
        """Let the process run for some time, or until it ends."""
        with contextlib.suppress(TimeoutError):
            self._process.wait(seconds)

    def end(self) -> Ended:
        """Wait until the process ends."""
        code = self._process.wait(LIMIT_S)
        return Ended(code, time.monotonic() - self._started, self._process.output)


class ProgramProcess:
    """A program in a process of its own, with its own installation folder."""

    def __init__(self, home: Path, arguments: Sequence[str], settings: Mapping[str, str]) -> None:
        self._output = home / "output.txt"
        with self._output.open("w", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=PROJECT_ROOT,
                env={**os.environ, "DPA_HOME": str(home), **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; the process must not end before."""

        def holds() -> bool:
            assert self._process.poll() is None, self.output
            return condition()

        wait_until(holds, told=self._output)

    def kill_after(self, seconds: float) -> int:
        """Kill the process some time from now, unless it ends before; return its exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._process.kill()
        return self.end()

    def signal(self, number: int) -> Ended:
        """Send a signal and wait until the process has ended."""
        started = time.monotonic()
        self._process.send_signal(number)
        return Ended(self.end(), time.monotonic() - started, self.output)

    def end(self) -> int:
        """Wait until the process ends; return its exit code, which is negative if a signal ended it."""
        return self._process.wait(LIMIT_S)

    @property
    def output(self) -> str:
        """The output so far."""
        return self._output.read_text(encoding="utf-8")


class FlowProcess(ProgramProcess):
    """The nightly flow on a running Prefect server."""

    def __init__(self, home: Path, url: str, catalog: Path, api_url: str) -> None:
        settings = {"DPA_WAREHOUSE_URL": url, "DPA_CATALOG": str(catalog), "PREFECT_API_URL": api_url}
        super().__init__(home, ["-m", "flows.load_nightly"], settings)


def kills_in_words(kills: int, hits: int, seconds: float) -> str:
    """Return the figures of a series of kills in which each rerun gave the tables of a clean load."""
    return f"kills {kills}, of a load at work {hits}, lost 0, doubled 0, {seconds:.0f} s"


def wait_until_left_alone(engine: Engine) -> None:
    """Wait until PostgreSQL has noticed the death of its other clients."""
    if engine.dialect.name == "sqlite":
        return
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    engine.dispose()  # otherwise our own pooled connections would count

    def alone() -> bool:
        with reading(engine) as connection:
            return bool(connection.execute(sa.text(others)).scalar_one() == 0)

    wait_until(alone, told="a killed client still has a session")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a memory disk of a size such as `1m` on a folder; skips the test if that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not _mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("NOT TESTED: a small disk can be mounted by root on Linux only; run this test as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a small disk: `size=64m` frees space, `ro` refuses writes."""
    assert _mounted("-o", f"remount,{options}", str(folder)), f"{folder} could not be mounted with {options}"


def _mounted(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _die_at_commit(engine: Engine, when: str, number: int) -> None:
    commits, commit = count(1), engine.dialect.do_commit

    def fatal_commit(connection: Any) -> None:
        is_the_one = next(commits) == number
        if is_the_one and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        commit(connection)
        if is_the_one:
            os.kill(os.getpid(), signal.SIGKILL)

    engine.dialect.do_commit = fatal_commit  # type: ignore[assignment]


def _load(url: str, folder: str, run_id: str, when: str = "", number: str = "0") -> None:
    """Load the catalog of a folder; exit 75 if a retry may help."""
    retry.STEP = retry.RetryPolicy(first_pause_s=0.2, retries=4)
    engine = open_engine(url)
    if when:
        _die_at_commit(engine, when, int(number))
    catalog, spool = read_catalog(Path(folder) / "catalog.yaml"), Path(folder) / "spool"
    connections = kept_connections(Path(folder))
    print(STARTED, flush=True)
    try:
        run = Run(engine, RunId(run_id), spool, lambda: NOW, connections)
        run_catalog(CoreSteps(run, catalog), "victim@here")
    except TransientError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(EX_TEMPFAIL)
