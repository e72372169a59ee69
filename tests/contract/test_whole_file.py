"""An embedded warehouse is one whole file after each command: whoever copies the file alone has all rows."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from freight.warehouse.connect import embedded_path
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.dpa import Dpa

ROW = "TRX-{},MCH-001,2026-02-01 10:00:00,30.5,WARN"
INTERRUPTED = """
import os, signal, sys
import sqlalchemy as sa
from freight.exits import exits_in_words
from freight.warehouse.connect import open_engine, transaction

@exits_in_words
def main():
    engine = open_engine(sys.argv[1])
    with transaction(engine) as connection:
        connection.execute(sa.text("DELETE FROM fact_transactions WHERE transaction_id = 'TRX-0'"))
    with transaction(engine) as connection:
        connection.execute(sa.text("DELETE FROM fact_transactions"))
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

main()
"""


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    """A warehouse with 50 transactions, all of them in its write-ahead log."""
    corridor = nightly(tmp_path, sqlite_warehouse.engine)
    corridor.write_transactions("erp_20260202.csv", [ROW.format(number) for number in range(50)])
    corridor.load()
    return corridor


@pytest.fixture
def dpa(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Dpa:
    return Dpa(tmp_path, sqlite_warehouse.url)


@pytest.fixture
def file(sqlite_warehouse: WarehouseUnderTest) -> Path:
    path = embedded_path(sqlite_warehouse.url)
    assert path
    return path


@pytest.fixture
def other_program(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection of a program such as DBeaver; as long as it is there, SQLite does not merge its log by itself."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("SELECT COUNT(*) FROM runs").fetchone()
        yield connection


def transactions_in_a_copy(file: Path) -> int:
    """Count the transactions in a copy of the file alone."""
    copy = file.parent.parent / "alone" / "copy.sqlite"
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(file, copy)
    with closing(sqlite3.connect(copy)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM fact_transactions").fetchone()[0])


@pytest.mark.usefixtures("corridor", "other_program")
@pytest.mark.parametrize(
    "command", [["retry"], ["reconcile"], ["migrate"], ["sources", "check"], ["explain", "runs", "x"]]
)
def test_after_a_command_the_file_alone_has_all_rows(dpa: Dpa, file: Path, command: list[str]) -> None:
    assert transactions_in_a_copy(file) == 0
    assert "uses the warehouse" not in dpa(*command).stderr
    assert transactions_in_a_copy(file) == 50


@pytest.mark.usefixtures("corridor")
def test_while_another_program_reads_the_command_says_that_the_file_is_not_whole(
    dpa: Dpa, file: Path, other_program: sqlite3.Connection
) -> None:
    other_program.execute("BEGIN")
    other_program.execute("SELECT COUNT(*) FROM fact_transactions").fetchone()
    assert (
        "Another program uses the warehouse, so warehouse.sqlite alone is not up to date: the newest rows are in "
        "warehouse.sqlite-wal beside it. For a whole copy: dpa backup FILE" in dpa("retry").stderr
    )
    copy = file.with_name("backup.sqlite")
    assert dpa("backup", str(copy)).returncode == 0
    assert transactions_in_a_copy(copy) == 50
    other_program.execute("COMMIT")
    assert "uses the warehouse" not in dpa("retry").stderr
    assert transactions_in_a_copy(file) == 50


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.usefixtures("other_program")
def test_after_ctrl_c_the_file_alone_has_what_was_committed(corridor: Corridor, file: Path) -> None:
    corridor.engine.dispose()
    url = corridor.engine.url.render_as_string()
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, url], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT, done.stderr
    assert transactions_in_a_copy(file) == 49
