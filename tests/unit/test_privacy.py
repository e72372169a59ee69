"""What DPA writes is its user's alone, and what is not is told with the command that closes it."""

import contextlib
import getpass
import os
import shlex
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freight.care import doctor
from freight.care.open_places import open_places, privacy_warning
from freight.errors import ConfigurationError
from freight.parsers.confinement import Confinement
from freight.privacy import keep_private
from freight.settings import PROJECT_ROOT, load_settings, started_by

pytestmark = pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: Windows has access lists in place of modes")


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """What most systems start a shell with; put back afterwards."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DPA_UMASK", "DPA_WAREHOUSE_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("DPA_HOME", str(tmp_path))
    return tmp_path


def open_here(**changed: object) -> list[str]:
    here = replace(load_settings(), **changed)  # type: ignore[arg-type]
    return [place.path.name for place in open_places(here, here.warehouse_url)]


def modes_below(folder: Path) -> set[str]:
    return {f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in folder.rglob("*")}


def dpa(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "freight.console.cli", *arguments],
        env={**os.environ, "DPA_HOME": str(home), **environment},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_that_commands_write_is_for_their_user_alone(home: Path) -> None:
    """A shared machine, with the umask that shells have."""
    (home / "catalog.yaml").write_text((PROJECT_ROOT / "catalog.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (home / "catalog.yaml").chmod(0o600)
    assert dpa(home, "demo").returncode == 0
    assert dpa(home, "export", "dim_stations", str(home / "stations.csv")).returncode == 0
    written = {str(path.relative_to(home)) for path in home.rglob("*")}
    assert {"database/supply_chain_dwh.sqlite", "logs/dpa.log", "stations.csv", "landing"} <= written
    assert modes_below(home) == {"0600", "0700"}


def test_a_group_may_be_let_in_by_a_setting(home: Path) -> None:
    assert dpa(home, "migrate", DPA_UMASK="0027").returncode == 0
    assert modes_below(home) == {"0640", "0750"}
    assert dpa(home, "doctor", DPA_UMASK="0027").returncode == 0
    assert dpa(home, "doctor").returncode == 1


def test_what_replaces_a_file_stays_open_to_those_whom_somebody_let_in(home: Path) -> None:
    """A nightly export that an analyst reads: access that is given once stays."""
    there = home / "runs.csv"
    assert dpa(home, "migrate").returncode == 0
    assert dpa(home, "export", "runs", str(there)).returncode == 0
    there.chmod(0o644)
    assert dpa(home, "export", "runs", str(there), "--replace").returncode == 0
    assert modes_below(home) == {"0600", "0644", "0700"}


def test_the_group_that_the_runbook_lets_in_reads_the_warehouse_whoever_comes_first(home: Path) -> None:
    """Whoever opens the file first makes the log of SQLite: with the mode of the file and the group of the folder."""
    assert dpa(home, "migrate").returncode == 0
    folder = home / "database"
    subprocess.run(["chmod", "-R", "g+rwX", folder], check=True)
    subprocess.run(["chmod", "g+s", folder], check=True)
    with contextlib.closing(sqlite3.connect(folder / "supply_chain_dwh.sqlite")) as reader:
        reader.execute("SELECT COUNT(*) FROM runs")
        assert modes_below(folder) == {"0660"}
        assert len(list(folder.iterdir())) == 3
    assert dpa(home, "doctor", DPA_UMASK="0007").returncode == 0


@pytest.mark.usefixtures("home")
def test_a_user_whom_the_system_does_not_know_may_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number in a container, without a name and without a home."""
    monkeypatch.setattr(Path, "expanduser", _raise(RuntimeError("Could not determine home directory.")))
    monkeypatch.setattr(getpass, "getuser", _raise(KeyError("getpwuid(): uid not found: 54321")))
    assert load_settings().prefect_home is None
    assert started_by().startswith(f"{os.getuid()}@")
    assert open_here() == []


def _raise(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_runs_and_deployments_close_what_they_write_before_prefect_is_there() -> None:
    for package in ("flows", "deployments"):
        script = f"import {package}, os, sys; print(oct(os.umask(0)), 'prefect' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout == "0o77 False\n"


@pytest.mark.parametrize("said", ["0777", "0700", "u=rwx", "0o27", "8", "-1", "00000077", "0400"])
def test_a_umask_that_is_none_or_locks_its_user_out_is_told_and_closes_all(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("DPA_UMASK", said)
    with pytest.raises(ConfigurationError, match=r"DPA_UMASK is .*write 0077"):
        load_settings()
    keep_private()
    assert os.umask(0o022) == 0o077
    assert not [*home.iterdir()]


def test_what_an_older_release_left_open_is_told_and_its_remedy_closes_it(home: Path) -> None:
    logs = home / "logs"
    logs.mkdir(mode=0o755)
    (logs / "dpa.log").touch()
    here = load_settings()
    (place,) = open_places(here, here.warehouse_url)
    assert privacy_warning([place]) == f"{logs} is open to other users (mode 0755): `dpa doctor` shows how to close it"
    subprocess.run(shlex.split(place.remedy), check=True)
    assert open_here() == []
    assert modes_below(home) == {"0600", "0700"}


def test_a_remedy_takes_from_a_group_only_what_it_should_not_have(home: Path) -> None:
    (home / "it's logs").mkdir()
    here = replace(load_settings(), home=home / "it's logs", umask=0o027)
    (home / "it's logs" / "reports").mkdir()
    (home / "it's logs" / "reports").chmod(0o777)
    (place,) = open_places(here, here.warehouse_url)
    subprocess.run(shlex.split(place.remedy), check=True)
    assert modes_below(home / "it's logs") == {"0750"}


def test_a_warehouse_elsewhere_and_the_keys_of_prefect_are_looked_at(home: Path) -> None:
    (home / "elsewhere").mkdir()
    for name in ("dwh.sqlite", "dwh.sqlite-wal"):
        (home / "elsewhere" / name).touch()
    (home / "user" / ".prefect").mkdir(parents=True)
    url = f"sqlite:///{home}/elsewhere/dwh.sqlite"
    assert open_here(warehouse_url=url) == ["dwh.sqlite", "dwh.sqlite-wal"]
    (home / "user" / ".prefect" / "prefect.db").touch()
    assert open_here(warehouse_url=url) == [".prefect", "dwh.sqlite", "dwh.sqlite-wal"]


def test_a_landing_folder_into_which_others_deliver_is_no_fault(home: Path) -> None:
    (home / "landing").mkdir()
    (home / "landing").chmod(0o777)
    assert open_here() == []


def test_doctor_says_what_is_well_and_exits_1_with_a_remedy_if_something_is_not(home: Path) -> None:
    done = dpa(home, "doctor")
    assert (done.returncode, "files are closed to other users (umask 0077)" in done.stdout) == (0, True), done.stdout
    (home / "spool").mkdir()
    done = dpa(home, "doctor")
    assert done.returncode == 1
    assert (
        f"{home}/spool is open to other users (mode 0755). Remedy: chmod -R g-rwx,o-rwx {home}/spool\n" in done.stdout
    )


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux confines a process without root")
@pytest.mark.parametrize(
    ("confinement", "told", "remedy"),
    [
        (Confinement(7, seccomp=True), "parsers are confined", ""),
        (Confinement(0, seccomp=True), "reaches files as you do", "landlock in /sys/kernel/security/lsm"),
        (Confinement(0, seccomp=False), "reaches files as you do", "landlock in /sys/kernel/security/lsm"),
        (Confinement(3, seccomp=False), "reaches network and processes as you do", "seccomp"),
    ],
)
def test_doctor_tells_what_does_not_hold_parsers_back(confinement: Confinement, told: str, remedy: str) -> None:
    finding = doctor.about_confinement(confinement)
    assert told in finding.text
    assert remedy in finding.remedy
    assert bool(remedy) == bool(finding.remedy)


def test_where_no_kernel_can_confine_parsers_it_is_told_without_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    finding = doctor.about_confinement(Confinement(0, seccomp=False))
    assert "only Linux can" in finding.text
    assert not finding.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux confines a process without root")
def test_doctor_asks_a_process_that_has_tried_it() -> None:
    assert all(doctor.confinement_here())
