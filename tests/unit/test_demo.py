"""What a session of the demo refuses, how it is asked to end, and that a failed listener is no success."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from rich.console import Console

from freight.catalog import read_catalog
from freight.demo import session
from freight.demo.broker import delete_demo_data, demo_broker
from freight.demo.session import Wishes, stream_demo
from freight.errors import ConfigurationError
from freight.pipeline import CoreSteps, Run, run_catalog
from freight.settings import PROJECT_ROOT, Settings
from freight.types import RunId
from freight.warehouse.connect import open_engine
from freight.warehouse.migrate import migrate
from tests.lib.corridor import HEADER, NOW
from tests.lib.waiting import LIMIT_S, wait_until

QUICK = Wishes(rate=50, seconds=1)
ONCE_MORE = """
import os, signal, time
from rich.console import Console
from freight.demo import session
with session._requests_to_end(Console()) as asked:
    os.kill(os.getpid(), signal.SIGINT)
    while not asked():
        pass
    time.sleep(session.SAME_REQUEST_S)
    os.kill(os.getpid(), signal.{second})
    time.sleep(3_600)
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation with the catalog of the product, on a machine without Java."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "catalog.yaml").write_bytes((PROJECT_ROOT / "catalog.yaml").read_bytes())
    return Settings(tmp_path, f"sqlite:///{(tmp_path / 'warehouse.sqlite').as_posix()}", tmp_path / "catalog.yaml")


def real_catalog(folder: Path) -> Path:
    """Write a catalog of one real file."""
    (folder / "real.csv").write_text(f"{HEADER}\nTRX-7,MCH-001,2026-02-01 10:00:00,30,OK\n", encoding="utf-8")
    source = {"name": "mine", "dataset": "transactions", "reader": "csv", "location": "real.csv"}
    (folder / "real.yaml").write_text(yaml.safe_dump({"sources": [source]}), encoding="utf-8")
    return folder / "real.yaml"


def run(settings: Settings) -> tuple[bool, str]:
    """Run a short session; return whether it was a success, and what it printed."""
    console = Console(file=io.StringIO())
    success = stream_demo(settings, QUICK, console)
    assert isinstance(console.file, io.StringIO)
    return success, console.file.getvalue()


def test_a_catalog_of_real_sources_is_refused_before_the_warehouse_is_touched(settings: Settings) -> None:
    real = Settings(settings.home, settings.warehouse_url, real_catalog(settings.home))
    with pytest.raises(ConfigurationError, match=r"real\.yaml names real sources"):
        run(real)
    assert not (settings.home / "warehouse.sqlite").exists()


def test_a_warehouse_of_real_data_is_refused(settings: Settings) -> None:
    engine = open_engine(settings.warehouse_url)
    migrate(engine)
    catalog = read_catalog(real_catalog(settings.home))
    run_catalog(CoreSteps(Run(engine, RunId("r"), settings.spool, lambda: NOW), catalog), "tester@here")
    with pytest.raises(ConfigurationError, match="holds real data"):
        run(settings)


def test_a_listener_that_fails_ends_the_session_and_is_no_success(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise ConfigurationError("the stream is parked")

    monkeypatch.setattr(session, "listen", fail)
    success, printed = run(settings)
    assert not success
    assert "FAILED freight.transactions: the stream is parked" in printed
    assert "FAILED freight.terminal-events: the stream is parked" in printed


def test_one_demo_at_a_time_has_the_broker_and_its_data_stays_while_it_runs(settings: Settings) -> None:
    said: list[str] = []
    assert not delete_demo_data(settings.home)
    with demo_broker(settings.home, said.append):
        (settings.home / ".kafka" / "demo").mkdir()
        with pytest.raises(ConfigurationError, match="a demo is running"), demo_broker(settings.home, said.append):
            pass
        with pytest.raises(ConfigurationError, match="a demo is running"):
            delete_demo_data(settings.home)
    assert len(said) == 1
    assert delete_demo_data(settings.home)
    assert not (settings.home / ".kafka" / "demo").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_twice_at_once_is_one_request(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SAME_REQUEST_S", LIMIT_S)  # a busy machine may take its time between the two
    before = signal.getsignal(number)
    with session._requests_to_end(Console()) as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        wait_until(asked)
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("second", ["SIGINT", "SIGTERM"])
def test_a_second_signal_ends_at_once(second: str) -> None:
    program = [sys.executable, "-c", ONCE_MORE.format(second=second)]
    assert subprocess.run(program, cwd=PROJECT_ROOT, timeout=LIMIT_S, check=False).returncode == 130
