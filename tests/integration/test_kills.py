"""Loads that are killed, starved, interrupted or doubled: a rerun always gives the tables of an undisturbed run."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from freight import retry
from freight.care.reconcile import reconcile
from freight.catalog import read_catalog
from freight.errors import ConfigurationError, TransientError
from freight.pipeline import CoreSteps, Run, RunReport, run_catalog
from freight.types import LoadCounts, RunId
from freight.warehouse import bulk
from freight.warehouse.connect import Engine, open_engine, transaction
from freight.warehouse.migrate import migrate
from tests.conftest import Measured, WarehouseUnderTest
from tests.lib.corridor import NOW, SIMULATED_FILES, Corridor, nightly, simulated_landing
from tests.lib.kills import (
    EX_TEMPFAIL,
    Death,
    LoadProcess,
    kills_in_words,
    remount,
    small_disk,
    wait_until_left_alone,
)
from tests.lib.postgres import PostgresServer, own_server
from tests.lib.tables import assert_sound, content_of, contradictions, empty, is_intact

COMMITS = range(1, SIMULATED_FILES + 3)  # of a run over the landing folder: begin, the files, statistics


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated_landing(tmp_path_factory.mktemp("landing"))


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "STEP", retry.RetryPolicy(first_pause_s=0.05, retries=4))


def run(engine: Engine, folder: Path, run_id: str) -> RunReport:
    catalog = read_catalog(folder / "catalog.yaml")
    return run_catalog(CoreSteps(Run(engine, RunId(run_id), folder / "spool", lambda: NOW), catalog), "tester@here")


def kill_again_and_again(warehouse: WarehouseUnderTest, landing: Path, kills: int) -> str:
    """Kill loads at instants spread over a load's duration, and around COMMIT; rerun each; return what was counted."""
    engine, started = warehouse.engine, time.monotonic()
    undisturbed = LoadProcess(warehouse.url, landing, "clean").end()
    assert undisturbed.returncode == 0, undisturbed.said
    clean = content_of(engine)
    assert clean["fact_transactions"]
    assert contradictions(engine) == []
    chance, duration = random.Random(f"{engine.dialect.name} {kills}"), undisturbed.seconds
    killed = 0
    for number in range(kills):
        empty(engine)
        share = (number + chance.random()) / kills  # one from each part of a load
        commit = COMMITS[int(len(COMMITS) * share)]
        death = (None, Death("before", commit), Death("after", commit))[number % 3]
        process = LoadProcess(warehouse.url, landing, f"victim-{kills}-{number}", death)
        ended = process.end() if death else process.kill_after(duration * share)
        assert ended.returncode in (0, -9), ended.said
        killed += ended.returncode == -9
        duration = ended.seconds if ended.returncode == 0 else duration  # it was through before: loads are faster now
        wait_until_left_alone(engine)
        assert is_intact(engine)
        assert contradictions(engine) == []
        assert run(engine, landing, f"rerun-{kills}-{number}").failures == []
        assert_sound(engine, clean)
    assert killed >= kills * 0.7
    assert reconcile(engine) == []
    return kills_in_words(kills, killed, time.monotonic() - started)


def test_six_kills_leave_nothing_half_done(warehouse: WarehouseUnderTest, landing: Path, measured: Measured) -> None:
    measured(kill_again_and_again(warehouse, landing, 6))


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
def test_a_hundred_kills_leave_nothing_half_done(
    warehouse: WarehouseUnderTest, landing: Path, measured: Measured
) -> None:
    measured(kill_again_and_again(warehouse, landing, 100))


def kill_around_the_archive(folder: Path, warehouse: WarehouseUnderTest, kills: int) -> str:
    """Kill loads right after a commit, or anywhere; at the end each row is there and each file archived, once."""
    corridor = Corridor(folder, warehouse.engine)
    corridor.add_source("drop", "transactions", "csv", "drop/*.csv", archive="done")
    assert corridor.catalog.sources
    chance, started, killed, keys = random.Random(kills), time.monotonic(), 0, list[str]()
    for number in range(kills):
        for _ in range(4):
            keys.append(f"TRX-{len(keys)}")
            corridor.write_transactions(f"drop/{keys[-1]}.csv", [f"{keys[-1]},MCH-001,2026-02-01 10:00:00,30,OK"])
        death = Death("after", chance.randint(2, 5)) if number % 2 == 0 else None
        process = LoadProcess(warehouse.url, folder, f"victim-{number}", death)
        ended = process.end() if death else process.kill_after(chance.uniform(0.2, 1.5))
        assert ended.returncode in (0, -9), ended.said
        killed += ended.returncode == -9
        assert is_intact(warehouse.engine)
    left = len(list((folder / "drop").iterdir()))
    assert left > 0  # otherwise nobody was killed in between
    assert corridor.load().failures == []
    assert list((folder / "drop").iterdir()) == []
    archived = sorted(path.name.partition("_")[2] for path in (folder / "done").iterdir())
    assert archived == sorted(f"{key}.csv" for key in keys)
    assert corridor.rows("fact_transactions", "transaction_id", "origin_seq") == [(key, 2) for key in sorted(keys)]
    assert reconcile(warehouse.engine) == []
    return f"{kills_in_words(kills, killed, time.monotonic() - started)}, {left} of {len(keys)} files left to archive"


def test_a_kill_between_a_commit_and_the_archive_loses_nothing(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    kill_around_the_archive(tmp_path, sqlite_warehouse, 1)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_kills_around_the_archive_lose_nothing(
    tmp_path: Path, warehouse: WarehouseUnderTest, measured: Measured
) -> None:
    measured(kill_around_the_archive(tmp_path, warehouse, 25))


def test_two_loads_of_the_same_files_at_once_do_no_harm(warehouse: WarehouseUnderTest, landing: Path) -> None:
    run(warehouse.engine, landing, "alone")
    clean = content_of(warehouse.engine)
    empty(warehouse.engine)
    twins = [LoadProcess(warehouse.url, landing, f"twin-{twin}") for twin in "ab"]
    for ended in [twin.end() for twin in twins]:
        assert ended.returncode == 0, ended.said
        assert "locked" not in ended.said
    assert_sound(warehouse.engine, clean)


def test_a_database_that_restarts_during_a_load_costs_a_retry(landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "STEP", retry.RetryPolicy(first_pause_s=0.5, retries=4))
    with own_server() as server:
        engine = open_engine(durable_database(server))
        migrate(engine)
        run(engine, landing, "undisturbed")
        clean = content_of(engine)
        for number, statement in enumerate(("INSERT INTO batches", "UPDATE batches", "COMMIT")):
            empty(engine)
            restart = RestartOnce(server, engine, statement)
            assert run(engine, landing, f"restarted-{number}").failures == []
            assert restart.done
            assert_sound(engine, clean)
        engine.dispose()


def durable_database(server: PostgresServer) -> str:
    """Return the URL of a new database that keeps what it has committed, as every real one does."""
    url = server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = on")
    return url


class RestartOnce:
    """Crashes and restarts the server when a statement is about to run for the third time."""

    def __init__(self, server: PostgresServer, engine: Engine, statement: str) -> None:
        self.done = False
        self._server, self._statement, self._seen = server, statement, 0
        sa.event.listen(engine, "before_cursor_execute", lambda *call: self._note(call[2]))
        sa.event.listen(engine, "commit", lambda _: self._note("COMMIT"))

    def _note(self, statement: str) -> None:
        self._seen += statement.startswith(self._statement)
        if self._seen == 3 and not self.done:
            self.done = True
            self._server.stop("immediate")
            self._server.start()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.chaos
def test_a_database_that_restarts_at_any_instant_loses_nothing(landing: Path, share: float) -> None:
    with own_server() as server:
        url = durable_database(server)
        engine = open_engine(url)
        migrate(engine)
        undisturbed = LoadProcess(url, landing, "undisturbed").end()
        clean = content_of(engine)
        empty(engine)
        engine.dispose()
        process = LoadProcess(url, landing, "interrupted")
        process.sleep(undisturbed.seconds * share)
        server.stop("immediate")
        server.start()
        ended = process.end()
        assert ended.returncode in (0, EX_TEMPFAIL), ended.said
        assert run(engine, landing, "rerun").failures == []
        assert_sound(engine, clean)
        engine.dispose()


class FailOnce:
    """Fails one kind of statement the first time it runs, as a busy database does."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: dict[str, None] = {}
        self._engine, self._wanted = engine, ""
        self._failed = False
        for event in ("do_execute", "do_executemany", "do_execute_no_params"):
            sa.event.listen(engine, event, self._on_statement)
        honest_cursor = bulk._driver_cursor

        @contextmanager
        def cursor(connection: sa.Connection, statement: str) -> Iterator[Any]:
            with honest_cursor(connection, statement) as given:
                if error := self._error_for(" ".join(statement.split()[:2])):
                    raise error
                yield given

        monkeypatch.setattr(bulk, "_driver_cursor", cursor)

    def fail(self, kind: str) -> None:
        self._wanted, self._failed = kind, False

    @property
    def has_failed(self) -> bool:
        return self._failed

    def _on_statement(self, *call: Any) -> None:
        _, statement, *_ = call
        if error := self._error_for(" ".join(statement.split()[:4])):
            raise error

    def _error_for(self, kind: str) -> Exception | None:
        self.kinds[kind] = None
        if kind != self._wanted or self._failed:
            return None
        self._failed = True
        if self._engine.dialect.name == "sqlite":
            return sqlite3.OperationalError("database is locked")
        errors = psycopg.errors
        busy = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
        return busy[len(kind) % len(busy)]("injected")


@pytest.fixture
def two_nights(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    """A corridor whose files take every path through the load: new, changed, moved, superseded and bad rows."""
    corridor = nightly(tmp_path, warehouse.engine)
    lines = [f"TRX-{n},MCH-00{n % 3 + 1},2026-02-0{n % 4 + 1} 10:00:00,{n},WARN" for n in range(20)]
    corridor.write_transactions("erp_20260202.csv", [*lines, "TRX-90,MCH-001,never,1,OK"])
    corridor.write_transactions("erp_20260203.csv", [line.replace("-02-01", "-02-02") for line in lines])
    moved = [{"machine_id": f"MCH-00{n}", "site_location": "Edéa", "installation_year": 2011} for n in (2, 3)]
    corridor.write_machines("machines_20260202.json", moved)
    corridor.add_source("late", "machines", "json", "late*.json")
    corridor.write_machines("late_20260115.json", moved[:1])
    corridor.add_source("stations", "stations", "csv", "stations*.csv")
    corridor.write("stations_20260101.csv", "code,nom,region,lat,lon,km\nBEL,Belabo,Est,4.9,13.3,560\n")
    return corridor


def test_a_busy_database_at_any_statement_costs_a_retry_of_the_whole_transaction(
    two_nights: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = two_nights.engine
    database = FailOnce(engine, monkeypatch)
    report = two_nights.load()
    assert report.failures == []
    clean = content_of(engine)
    writing = ("INSERT", "UPDATE", "DELETE", "COPY", "CREATE", "LOCK")
    kinds = [kind for kind in database.kinds if kind.startswith(writing)]
    assert len(kinds) > 15
    for kind in kinds:
        empty(engine)
        database.fail(kind)
        again = two_nights.load()
        assert database.has_failed, kind
        assert (kind, again.failures, again.counts()) == (kind, [], report.counts())
        assert (kind, content_of(engine)) == (kind, clean)
        assert contradictions(engine) == []


def test_a_database_that_stays_busy_ends_the_run_and_the_next_one_completes_it(
    two_nights: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_busy(*_: Any) -> None:
        raise TransientError("the warehouse is not ready: busy")

    monkeypatch.setattr(retry, "STEP", retry.RetryPolicy(first_pause_s=0, retries=4))
    with monkeypatch.context() as busy:
        busy.setattr("freight.warehouse.load.close_batch", always_busy)
        with pytest.raises(TransientError, match="busy"):
            two_nights.load()
    assert content_of(two_nights.engine)["batches"] == []
    assert two_nights.load().counts().inserted > 0
    assert contradictions(two_nights.engine) == []


def test_a_full_spool_disk_is_named_loads_nothing_half_and_works_once_there_is_space(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    corridor = nightly(tmp_path, sqlite_warehouse.engine)
    corridor.write_transactions(
        "erp_20260202.csv", (f"TRX-{n * 7919},MCH-001,2026-02-01 10:00:00,{n % 997},OK" for n in range(60_000))
    )
    with small_disk(tmp_path / "spool", "300k") as spool:
        with pytest.raises(TransientError, match=r"the spool folder .*/spool/.* cannot be used: .*No space left"):
            corridor.load()
        assert contradictions(corridor.engine) == []
        assert corridor.rows("fact_transactions", "1", order_by="1") == []
        remount(spool, "size=64m")
        assert corridor.load().counts("erp") == LoadCounts(read=60_000, inserted=60_000)


def test_a_full_warehouse_disk_is_named_loads_nothing_half_and_works_once_there_is_space(
    tmp_path: Path, landing: Path, sqlite_warehouse: WarehouseUnderTest
) -> None:
    run(sqlite_warehouse.engine, landing, "elsewhere")
    clean = content_of(sqlite_warehouse.engine)
    with small_disk(tmp_path / "small", "64m") as disk:
        url = f"sqlite:///{(disk / 'warehouse.sqlite').as_posix()}"
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()  # or the log of the migration would stay beside the file
        used = sum(file.stat().st_size for file in disk.iterdir())
        remount(disk, f"size={used + 256_000}")
        ended = LoadProcess(url, landing, "starved").end()
        assert ended.returncode == EX_TEMPFAIL, ended.said
        assert "warehouse.sqlite is not ready: " in ended.said
        assert "full" in ended.said
        remount(disk, "size=64m")
        assert contradictions(engine) == []
        assert is_intact(engine)
        assert run(engine, landing, "fed").failures == []
        assert_sound(engine, clean)
        engine.dispose()


@pytest.fixture
def read_only_warehouse(tmp_path: Path) -> Iterator[str]:
    """A migrated SQLite warehouse on a disk that takes no writes."""
    with small_disk(tmp_path / "sealed", "16m") as disk:
        url = f"sqlite:///{(disk / 'warehouse.sqlite').as_posix()}"
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()
        remount(disk, "ro")
        yield url


def test_a_read_only_warehouse_is_named_at_once(read_only_warehouse: str, landing: Path) -> None:
    engine = open_engine(read_only_warehouse)
    with pytest.raises(ConfigurationError, match=r"sealed/warehouse\.sqlite cannot be used: "):
        run(engine, landing, "refused")
    engine.dispose()


def test_a_warehouse_in_a_read_only_folder_is_named_at_once(read_only_warehouse: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be made: .*sealed/deeper"):
        open_engine(read_only_warehouse.replace("sealed/", "sealed/deeper/"))
    engine = open_engine(read_only_warehouse.replace("warehouse.", "another."))
    with pytest.raises(ConfigurationError, match=r"sealed/another\.sqlite cannot be used: "), transaction(engine):
        pass
    engine.dispose()
