"""What the README shows, done as it is shown, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.lib.checkout import MADE_BY_DPA, Checkout
from tests.lib.corridor import HEADER
from tests.lib.postgres import PostgresServer
from tests.lib.readme import README, block

PASSWORD = "not ours: p@ss"
SUMMARY = r"^[\d,]+ rows read: [\d,]+ changed the warehouse, [\d,]+ quarantined$"
NOTHING_TO_DO = "Nothing to do: no file is new, the warehouse is unchanged"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("readme") / "dpa")


@pytest.fixture(scope="module")
def first_run(checkout: Checkout) -> subprocess.CompletedProcess[str]:
    """`make run` on a fresh checkout."""
    (line,) = (line for line in block("sh", "make test").splitlines() if line.startswith("make run"))
    return checkout.run(line)


def test_no_shell_line_of_the_readme_is_left_out_here() -> None:
    shown = "".join(re.findall(r"^```(?:sh|powershell)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
    assert set(re.sub(r" +#.*", "", shown).splitlines()) == {
        "make run",
        "make stream",  # in test_stream.py
        "make up",  # in test_up.py
        ". .prefect/login.sh",  # in test_up.py
        ".venv/bin/prefect deployment run load-nightly/load-nightly --watch",  # in test_up.py
        "make down",  # in test_up.py
        "make test",
        "py bootstrap.py run",
        "py bootstrap.py stream",  # in test_stream.py
        "py bootstrap.py test",
        "export DPA_CATALOG=my-catalog.yaml",
        "export DPA_WAREHOUSE_URL=postgresql://dpa@db.example.org/freight",
    }


def test_make_run_simulates_and_loads_a_corridor_and_ends_with_a_summary(
    first_run: subprocess.CompletedProcess[str], checkout: Checkout
) -> None:
    assert first_run.returncode == 0, first_run.stdout
    assert first_run.stdout.startswith("Simulated 28,002 rows in 17 files")
    assert re.search(SUMMARY, first_run.stdout, re.MULTILINE)
    named = re.findall(r"^\| `((?:database|reports|logs|landing)/[^`]*)` \|", README, re.MULTILINE)
    assert len(named) == 4
    assert [path for path in named if not (checkout.folder / path).exists()] == []


@pytest.mark.usefixtures("first_run")
def test_what_make_run_writes_is_for_its_user_alone_and_so_is_what_a_flow_writes(checkout: Checkout) -> None:
    prefect = checkout.folder.with_name("prefect")
    assert not prefect.exists()  # a load needs none
    flow = checkout.run(".venv/bin/python -m flows.load_nightly")  # with the server that it starts for itself
    assert flow.returncode == 0, flow.stdout
    made = [*(checkout.folder / name for name in MADE_BY_DPA), prefect]
    paths = [path for folder in made if folder.exists() for path in (folder, *folder.rglob("*"))]
    assert {path.suffix for path in paths} >= {".sqlite", ".log", ".xlsx", ".csv", ".db"}
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


def test_progress_is_plain_lines_without_a_terminal(first_run: subprocess.CompletedProcess[str]) -> None:
    lines = re.findall(r"^\[(\d+)/17\] landing/\S+: loaded, [\d,]+ rows?$", first_run.stdout, re.MULTILINE)
    assert lines == [str(number) for number in range(1, 18)]
    assert "\x1b" not in first_run.stdout


@pytest.mark.usefixtures("first_run")
def test_a_second_make_run_changes_nothing_and_says_so(checkout: Checkout, server: dict[str, str]) -> None:
    again = checkout.run("make run", **server)
    assert (again.returncode, NOTHING_TO_DO in again.stdout) == (0, True), again.stdout


@pytest.mark.usefixtures("first_run")
def test_the_powershell_lines_do_the_same_and_progress_is_a_bar_on_a_terminal(
    checkout: Checkout, server: dict[str, str]
) -> None:
    run, _, test = block("powershell", "py ").splitlines()
    launcher = checkout.folder.with_name("bin") / "py"  # stands for that of Windows
    launcher.parent.mkdir()
    launcher.symlink_to(sys.executable)
    path = {"PATH": f"{launcher.parent}{os.pathsep}{os.environ['PATH']}"}
    new = checkout.folder / "landing" / "erp_csv" / "erp_20260315.csv"
    new.write_text(f"{HEADER}\nTRX-1,MCH-001,2026-03-14 10:00:00,30,OK\n", encoding="utf-8")
    code, shown = checkout.run_on_terminal(run, **path, **server)
    assert code == 0, shown
    assert "━" in shown
    assert "1/1" in shown
    assert "1 row read: 1 changed the warehouse" in shown
    tests = checkout.run(f"{test} --version", **path)
    assert (tests.returncode, tests.stdout[:7]) == (0, "pytest "), tests.stdout


def test_make_test_runs_the_tests(checkout: Checkout) -> None:
    done = checkout.run('make test ARGS="tests/unit/test_summary.py -n 0"')
    assert (done.returncode, " passed in " in done.stdout) == (0, True), done.stdout


@pytest.mark.usefixtures("first_run")
def test_every_dpa_command_works_on_the_first_run(checkout: Checkout, tmp_path: Path) -> None:
    home = tmp_path / "home"  # `dpa reset` must not harm the other tests
    home.mkdir()
    for name in ("database", "landing", "transforms"):
        shutil.copytree(checkout.folder / name, home / name)
    shutil.copy(checkout.folder / "catalog.yaml", home)
    commands = re.findall(r"^\| `(dpa [^`]+)` \|", README, re.MULTILINE)
    assert len(commands) == 17
    for command in commands:
        command = command.replace("NAME", "erp_csv").replace("FILE", str(next(home.glob("landing/erp_csv/*.csv"))))
        catalog = "my-catalog.yaml" if " new " in command else "catalog.yaml"  # that of the demo takes no real source
        done = checkout.run(f".venv/bin/{command}", stdin="y\n", DPA_HOME=str(home), DPA_CATALOG=catalog)
        assert done.returncode == 0, f"{command}: {done.stdout}"


@pytest.fixture
def own_files(checkout: Checkout) -> None:
    """A catalog and a file beside those of the product, as a user adds them."""
    source = {"name": "mine", "dataset": "transactions", "reader": "csv", "location": "mine/*.csv"}
    (checkout.folder / "my-catalog.yaml").write_text(yaml.safe_dump({"sources": [source]}), encoding="utf-8")
    (checkout.folder / "mine").mkdir(exist_ok=True)
    mine = checkout.folder / "mine" / "mine_20260202.csv"
    mine.write_text(f"{HEADER}\nTRX-7,MCH-001,2026-02-01 10:00:00,30,OK\n", encoding="utf-8")


@pytest.mark.usefixtures("own_files")
def test_own_files_load_into_postgresql_with_the_password_from_a_file(
    checkout: Checkout, server: dict[str, str], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.new_protected_database(PASSWORD)
    lines = block("sh", "DPA_WAREHOUSE_URL").replace("postgresql://dpa@db.example.org/freight", url)
    assert url in lines
    passwords = tmp_path / ".pgpass"
    passwords.write_text("*:*:*:*:{}\n".format(PASSWORD.replace(":", r"\:")), encoding="utf-8")
    passwords.chmod(0o600)
    at_home = checkout.run(lines, HOME=str(tmp_path), **server)
    assert at_home.returncode == 0, at_home.stdout
    assert "1 row read: 1 changed the warehouse" in at_home.stdout
    assert PASSWORD not in at_home.stdout
    elsewhere = checkout.run(lines, PGPASSFILE=str(passwords), **server)
    assert (elsewhere.returncode, NOTHING_TO_DO in elsewhere.stdout) == (0, True), elsewhere.stdout
    with psycopg.connect(url, password=PASSWORD) as connection:
        assert connection.execute("SELECT transaction_id FROM fact_transactions").fetchall() == [("TRX-7",)]
