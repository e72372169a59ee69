"""Servers that workers share are started once, and end with the run even if somebody kills that."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lib.keeper import TestRun
from tests.lib.postgres import PostgresServer
from tests.lib.waiting import wait_until


@pytest.mark.usefixtures("postgres_server")  # tells whether there can be one
def test_all_workers_get_one_server_which_ends_with_a_run_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as killed:
        run = TestRun(killed.pid, tmp_path)
        with ThreadPoolExecutor() as workers:
            first, second = workers.map(run.server, ["postgres"] * 2)
        assert first == second
        assert PostgresServer(Path(first["folder"]), port=first["port"]).new_database()
        killed.kill()
    wait_until(lambda: not Path(first["folder"]).exists())
