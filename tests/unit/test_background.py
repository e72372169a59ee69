"""Processes in the background: known again, told apart from others, and ended with all that they started."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deployments import background
from deployments.background import Background
from freight.errors import ConfigurationError
from tests.lib.waiting import LIMIT_S, wait_until

SLEEP = "import time; time.sleep(60)"
FAMILY = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Background]:
    made = Background(tmp_path / "run" / "sleeper.pid", tmp_path / "logs" / "sleeper.log")
    yield made
    made.stop()


def start(program: Background, code: str) -> psutil.Process:
    return program.start([sys.executable, "-c", code], os.environ, program.pid_path.parent.parent)


def wait_until_said(program: Background, word: str) -> None:
    wait_until(lambda: word in program.log_path.read_text())


def test_a_process_is_known_again_until_it_is_stopped(program: Background) -> None:
    assert program.process() is None
    started = start(program, SLEEP)
    known = Background(program.pid_path, program.log_path).process()
    assert known == started
    program.stop()
    assert not started.is_running() or started.status() == psutil.STATUS_ZOMBIE
    assert program.process() is None
    assert not program.pid_path.exists()


def test_another_process_that_got_the_number_is_not_taken_for_it_nor_stopped(program: Background) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as other:
        program.pid_path.parent.mkdir()
        program.pid_path.write_text(f"{other.pid} {psutil.Process(other.pid).create_time() - 60}\n")
        assert program.process() is None
        program.stop()
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("text", ["", "twelve", "1 2 3"])
def test_a_broken_file_names_no_process(program: Background, text: str) -> None:
    program.pid_path.parent.mkdir()
    program.pid_path.write_text(text)
    assert program.process() is None


def test_what_a_process_has_started_ends_with_it(program: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STOP_LIMIT_S", 0.5)
    parent = start(program, FAMILY)
    wait_until(parent.children)
    (child,) = parent.children()
    program.stop()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_does_not_listen_is_killed(program: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "STOP_LIMIT_S", 0.5)
    deaf = start(program, DEAF)
    wait_until_said(program, "deaf")
    program.stop()
    assert deaf.wait(LIMIT_S) is not None


def test_the_last_words_of_a_process_that_has_ended_are_told(program: Background) -> None:
    start(program, "print('no port is free'); raise SystemExit(1)").wait(LIMIT_S)
    with pytest.raises(ConfigurationError, match=r"(?s)sleeper has ended, see .*no port is free"):
        program.need()


def test_a_log_that_has_grown_long_is_set_aside_at_the_next_start(
    program: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LOG_BYTES", 10)
    for word in ("first", "second"):
        start(program, f"print({word!r} * 3)").wait()
    old = program.log_path.with_name("sleeper.old.log")
    assert (old.read_text(), program.log_path.read_text()) == ("first" * 3 + "\n", "second" * 3 + "\n")
