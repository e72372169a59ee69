"""Kill and starve loads, and compare what a warehouse holds afterwards.

Run as a program, this module is the load that gets killed: `python -m tests.lib.kills URL FOLDER RUN_ID [WHEN NUMBER]`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from freight import retry
from freight.catalog import read_catalog
from freight.errors import TransientError
from freight.pipeline import run_catalog
from freight.settings import PROJECT_ROOT
from freight.types import RunId
from freight.warehouse.connect import Engine, open_engine, reading, transaction
from freight.warehouse.schema import metadata
from tests.lib.corridor import NOW

EX_TEMPFAIL = 75  # what sysexits.h calls "try again later"
CHILD_LIMIT_S = 120

# Who loaded a row and when differs between two ways to the same tables.
TECHNICAL = {"batch_id", "loaded_at", "run_id", "quarantine_id", "mark_id", "replayed_batch_id"}
DATA_TABLES = ("dim_stations", "dim_machines", "fact_transactions", "machine_observations", "quarantine")
JOURNALS = {"runs", "load_attempts", "load_attempt_reasons", "load_attempt_rows", "purges", "schema_views"}
LEDGER = {"batches", "file_positions", "quarantine"}

Content = dict[str, list[tuple[Any, ...]]]


def content_of(engine: Engine, without: Collection[str] = ()) -> Content:
    """Return the rows of all tables but the journals, without technical columns and in an order that rows fix."""
    tables = [table for name, table in metadata.tables.items() if name not in JOURNALS and name not in without]
    with reading(engine) as connection:
        return {table.name: sorted(_comparable_rows(connection, table), key=repr) for table in tables}


def _comparable_rows(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[Any, ...]]:
    columns = [column for column in table.c if column.name not in TECHNICAL]
    for row in connection.execute(sa.select(*columns)):
        yield tuple(_comparable(value) for value in row)


def _comparable(value: object) -> object:
    if isinstance(value, memoryview):
        return bytes(value)
    # The sum of a day depends on the order of its terms; 1e-6 t is far below what any scale weighs.
    return round(value, 6) if isinstance(value, float) else value


def empty(engine: Engine) -> None:
    """Delete every row, so that a migrated warehouse can be used again."""
    with transaction(engine) as connection:
        for table in metadata.tables.values():
            if table.name != "schema_views":
                connection.execute(table.delete())


def contradictions(engine: Engine) -> list[str]:
    """Return what a half-done load would have left behind, seen without the code under test."""
    outcomes = "inserted + updated + unchanged + superseded + quarantined"
    checks = {
        "a batch does not balance": f"SELECT batch_id FROM batches WHERE read_rows <> {outcomes}",
        "a file is loaded twice": "SELECT location FROM batches "
        "GROUP BY source, location, file_hash HAVING count(*) > 1",
        "a batch has no position": "SELECT batch_id FROM batches "
        "WHERE batch_id NOT IN (SELECT batch_id FROM file_positions)",
        "quarantine is not what was counted": "SELECT batch_id FROM batches AS b WHERE quarantined <> "
        "(SELECT count(*) FROM quarantine AS q WHERE q.batch_id = b.batch_id)",
    }
    for table in (*DATA_TABLES, "file_positions", "dirty_marks"):
        strays = f"SELECT batch_id FROM {table} WHERE batch_id NOT IN (SELECT batch_id FROM batches)"
        checks[f"a row of {table} has no batch"] = strays
    with reading(engine) as connection:
        found = {check: connection.execute(sa.text(query)).all() for check, query in checks.items()}
    return [f"{check}: {rows}" for check, rows in found.items() if rows]


def is_intact(engine: Engine) -> bool:
    """Whether SQLite finds its own file sound; PostgreSQL checks itself when it recovers."""
    if engine.dialect.name != "sqlite":
        return True
    with reading(engine) as connection:
        return bool(connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok")


@dataclass(frozen=True)
class Death:
    """The instant at which a load dies by its own hand: right before or right after its n-th COMMIT."""

    when: Literal["before", "after"]
    commit: int


@dataclass(frozen=True)
class Ended:
    """How a load process ended; `returncode` is negative when a signal killed it."""

    returncode: int
    seconds: float
    said: str


class LoadProcess:
    """A load in a process of its own, from the moment when it opens the warehouse."""

    def __init__(self, url: str, folder: Path, run_id: str, death: Death | None = None) -> None:
        fate = [death.when, str(death.commit)] if death else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lib.kills", url, str(folder), run_id, *fate],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self._process.stdout.readline()  # imports take longer than the load, and nothing can break in them
        self._started = time.monotonic()

    def kill_after(self, seconds: float) -> Ended:
        """Kill the process some time after its start; it may be through by then."""
        self.sleep(seconds)
        self._process.send_signal(signal.SIGKILL)
        return self.end()

    def sleep(self, seconds: float) -> None:
        """Let the process run for some time, or until it ends."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def end(self) -> Ended:
        """Wait until the process ends."""
        _, said = self._process.communicate(timeout=CHILD_LIMIT_S)
        return Ended(self._process.returncode, time.monotonic() - self._started, said)


def wait_until_left_alone(engine: Engine) -> None:
    """Wait until PostgreSQL has noticed the death of its other clients."""
    if engine.dialect.name == "sqlite":
        return
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 30
    engine.dispose()  # or our own pooled connections would count
    while time.monotonic() < deadline:
        with reading(engine) as connection:
            if connection.execute(sa.text(others)).scalar_one() == 0:
                return
        time.sleep(0.02)
    raise AssertionError("a killed client still has a session after 30 s")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a memory disk of a size such as `1m` on a folder; skips the test where that is not allowed."""
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


def main(url: str, folder: str, run_id: str, when: str = "", number: str = "0") -> None:
    """Load the catalog of a folder; exit 75 when a retry may help."""
    retry.FIRST_RETRY_S = 0.2
    engine = open_engine(url)
    if when:
        _die_at_commit(engine, when, int(number))
    catalog = read_catalog(Path(folder) / "catalog.yaml")
    print("started", flush=True)
    try:
        run_catalog(
            engine,
            catalog,
            run_id=RunId(run_id),
            spool=Path(folder) / "spool",
            started_by="victim@here",
            clock=lambda: NOW,
        )
    except TransientError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(EX_TEMPFAIL)


if __name__ == "__main__":
    main(*sys.argv[1:])
