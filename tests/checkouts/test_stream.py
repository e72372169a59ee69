"""`make stream`, as the README shows it, in a copy of the repository."""

import os
import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.lib.checkout import Checkout
from tests.lib.readme import line

TOPICS = ("freight.transactions", "freight.terminal-events")
OUTCOMES = ("inserted", "updated", "unchanged", "superseded", "quarantined")
AT_WORK = r"0:(0[2-9]|[1-5]\d) - Ctrl-C"  # a busy machine does not show every second
AGREE = "The ledger and the tables agree"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("stream") / "dpa")


@pytest.fixture
def jars(checkout: Checkout, kafka_jars: Path) -> None:
    """Spare the checkout the download of Apache Kafka."""
    (checkout.folder / ".kafka").mkdir(exist_ok=True)
    link = checkout.folder / ".kafka" / kafka_jars.name
    if not link.exists():
        link.symlink_to(kafka_jars)


def balanced(shown: str) -> dict[str, int]:
    """Return the figures of the balance, which holds."""
    (sentence,) = re.findall(r"The balance holds: (.*)", shown)
    figures = {name: int(figure.replace(",", "")) for figure, name in re.findall(r"([\d,]+) ([a-z]+)", sentence)}
    assert figures.pop("produced") == sum(figures.values()) > 0
    assert figures.keys() == set(OUTCOMES)
    return figures


def rows(checkout: Checkout, query: str) -> list[tuple[object, ...]]:
    path = checkout.folder / "database" / "supply_chain_dwh.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def count(checkout: Checkout, table: str) -> int:
    ((found,),) = rows(checkout, f"SELECT count(*) FROM {table}")
    assert isinstance(found, int)
    return found


@pytest.mark.usefixtures("jars")
def test_a_first_session_loads_what_it_produced_and_a_second_one_ends_well_on_ctrl_c(checkout: Checkout) -> None:
    first = checkout.run('make stream ARGS="--seconds 8"')
    assert first.returncode == 0, first.stdout
    assert "Broker: Apache Kafka" in first.stdout
    assert AGREE in first.stdout
    assert "\x1b" not in first.stdout
    assert all(f"\n{topic}: listening; " in first.stdout for topic in TOPICS)
    figures = balanced(first.stdout)
    loaded = count(checkout, "fact_transactions") + count(checkout, "fact_terminal_events")
    assert (loaded, count(checkout, "quarantine")) == (figures["inserted"], figures["quarantined"])
    assert rows(checkout, "SELECT 1 FROM v_transactions WHERE site_location = 'UNKNOWN'") == []

    code, shown = checkout.run_on_terminal("exec python3 bootstrap.py stream", interrupt_at=AT_WORK)
    assert code == 0, shown
    assert "reading to the end" in shown
    assert AGREE in shown
    again = balanced(shown)
    both = count(checkout, "fact_transactions") + count(checkout, "fact_terminal_events")
    assert both == loaded + again["inserted"]


def test_without_java_the_embedded_broker_serves_and_is_told(checkout: Checkout, tmp_path: Path) -> None:
    for name, program in (("py", sys.executable), ("sh", shutil.which("sh"))):  # py stands for the launcher of Windows
        (tmp_path / name).symlink_to(str(program))
    done = checkout.run(f"{line('powershell', 'py bootstrap.py stream')} --seconds 3", PATH=str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "librdkafka's embedded broker, because there is no Java: install Java 17" in done.stdout
    assert AGREE in done.stdout
    balanced(done.stdout)


def test_ctrl_c_reaches_the_demo_through_make_too(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "java").chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    _, shown = checkout.run_on_terminal(line("sh", "make stream"), interrupt_at=AT_WORK, **path)
    assert "because there is no Java" in shown
    assert AGREE in shown
    balanced(shown)
