"""A backup is the whole warehouse of one instant in one file, whatever goes on meanwhile, and can be restored."""

import shutil
import subprocess
from pathlib import Path

import pytest

from freight.errors import ConfigurationError
from freight.warehouse.backup import back_up
from freight.warehouse.connect import closing, open_engine, transaction
from freight.warehouse.migrate import newest_version
from freight.warehouse.schema import metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.dpa import Dpa
from tests.lib.postgres import PostgresServer
from tests.lib.tables import Content, content_of

ROW = "TRX-{},MCH-001,2026-02-01 10:00:00,30.5,WARN"
PASSWORD = "canary-of-the-backup"


@pytest.fixture
def loaded(tmp_path: Path, warehouse: WarehouseUnderTest) -> WarehouseUnderTest:
    """A warehouse with 50 transactions; a new SQLite file has them in its write-ahead log alone."""
    corridor: Corridor = nightly(tmp_path, warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", [ROW.format(number) for number in range(50)])
    corridor.load()
    return warehouse


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy" / "dwh"


def content_restored(copy: Path, warehouse: WarehouseUnderTest, request: pytest.FixtureRequest) -> Content:
    """Return what is in a warehouse that is made of the copy alone."""
    if warehouse.engine.dialect.name == "sqlite":
        alone = copy.parent / "elsewhere" / "dwh.sqlite"
        alone.parent.mkdir()
        shutil.copy(copy, alone)
        url = f"sqlite:///{alone.as_posix()}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()
        subprocess.run(["pg_restore", "--exit-on-error", f"--dbname={url}", copy], check=True)
    with closing(open_engine(url)) as engine:
        return content_of(engine)


def test_a_backup_beside_a_writer_holds_the_last_commit_and_nothing_of_what_is_under_way(
    loaded: WarehouseUnderTest, copy: Path, request: pytest.FixtureRequest
) -> None:
    copy.parent.mkdir()
    before = content_of(loaded.engine)
    with transaction(loaded.engine) as connection:
        connection.execute(metadata.tables["fact_transactions"].delete())
        assert back_up(loaded.engine, copy) == newest_version()
    assert len(before["fact_transactions"]) == 50
    assert content_restored(copy, loaded, request) == before
    assert content_of(loaded.engine)["fact_transactions"] == []


def test_the_command_writes_one_file_and_replaces_none_unasked(
    loaded: WarehouseUnderTest, copy: Path, request: pytest.FixtureRequest
) -> None:
    dpa = Dpa(copy.parent.parent, loaded.url)
    assert f"schema version {newest_version()}" in dpa("backup", str(copy)).stdout
    assert list(copy.parent.iterdir()) == [copy]
    again = dpa("backup", str(copy))
    assert (again.returncode, "already exists: name another file, or use --replace" in again.stderr) == (2, True)
    copy.write_bytes(b"older")
    assert dpa("backup", str(copy), "--replace").returncode == 0
    assert content_restored(copy, loaded, request) == content_of(loaded.engine)


def test_the_warehouse_itself_is_no_copy_of_it(sqlite_warehouse: WarehouseUnderTest, tmp_path: Path) -> None:
    own = str(sqlite_warehouse.engine.url.database)
    done = Dpa(tmp_path, sqlite_warehouse.url)("backup", own, "--replace")
    assert done.returncode == 2
    assert "is the warehouse itself: name another file for its copy" in done.stderr


def test_where_no_warehouse_is_nothing_is_made(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{(tmp_path / 'dwh.sqlite').as_posix()}")
    with pytest.raises(ConfigurationError, match=r"there is no warehouse at .*: `dpa migrate` makes one"):
        back_up(engine, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_pg_dump_gets_the_password_by_a_file_and_its_words_come_without_it(
    postgres_warehouse: WarehouseUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "$@" >&2; cat "$PGSERVICEFILE" >&2; exit 1\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    engine = open_engine(postgres_warehouse.url.replace("postgres@", f"postgres:{PASSWORD}@"))
    with closing(engine), pytest.raises(ConfigurationError, match="pg_dump cannot copy") as refused:
        back_up(engine, tmp_path / "copy")
    command, _, service = str(refused.value).partition("[dpa]")
    assert "--dbname=service=dpa" in command
    assert "password=***" in service
    assert PASSWORD not in str(refused.value)


def test_a_machine_without_pg_dump_says_what_to_install(
    postgres_warehouse: WarehouseUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="there is no pg_dump here: install the client programs"):
        back_up(postgres_warehouse.engine, tmp_path / "copy")
