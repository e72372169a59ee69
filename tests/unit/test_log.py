"""The log file is rotated at 10 MB and kept for 30 days."""

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from freight.log import log_to_file

MEGABYTE = 1_000_000
DAY_S = 86_400


@pytest.fixture
def core() -> Iterator[logging.Logger]:
    """The core's logger, put back afterwards as it was."""
    core = logging.getLogger("freight")
    before = (core.handlers[:], core.propagate, core.level)
    core.handlers = []
    yield core
    logger.remove()
    core.handlers, core.propagate, core.level = before


def write_lines(core: logging.Logger, count_bytes: int) -> None:
    for _ in range(count_bytes // 1_000):
        core.info("x" * 1_000)


def test_a_full_log_goes_on_in_a_new_file_and_old_ones_go_after_30_days(tmp_path: Path, core: logging.Logger) -> None:
    path = log_to_file(tmp_path)
    for days in (29, 31):
        old = tmp_path / f"dpa.{days}_days_old.log"
        old.touch()
        os.utime(old, times=(time.time() - days * DAY_S,) * 2)
    write_lines(core, 9 * MEGABYTE)
    assert len(list(tmp_path.iterdir())) == 3
    write_lines(core, 2 * MEGABYTE)
    assert path.stat().st_size < 3 * MEGABYTE
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert "dpa.29_days_old.log" in sizes
    assert "dpa.31_days_old.log" not in sizes
    assert sum(sizes.values()) > 11 * MEGABYTE
    assert max(sizes.values()) <= 10.5 * MEGABYTE


def test_a_message_of_several_lines_stays_one_line(tmp_path: Path, core: logging.Logger) -> None:
    path = log_to_file(tmp_path)
    core.error("first\nsecond")
    assert path.read_text(encoding="utf-8").splitlines()[-1].endswith("ERROR    first | second")


def test_a_traceback_shows_no_values_of_variables(tmp_path: Path, core: logging.Logger) -> None:
    def log_in(password: str) -> None:
        local = f"{password}!"
        raise ValueError(len(local))

    path = log_to_file(tmp_path)
    try:
        log_in("cAnArY")
    except ValueError:
        core.exception("it failed")
    text = path.read_text(encoding="utf-8")
    assert "raise ValueError(len(local))" in text
    assert "cAnArY" not in text.replace('log_in("cAnArY")', "")


def test_a_folder_that_takes_no_log_costs_the_log_only(
    tmp_path: Path, core: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").touch()
    log_to_file(tmp_path / "logs")
    core.info("nobody reads this")
    assert "warning: no log file can be written" in capsys.readouterr().err
