"""The probe of a pod: whether the loop of a listener turns."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from freight.settings import PROJECT_ROOT
from freight.streaming import alive
from freight.streaming.alive import alive_path

# Names what a start imports that is neither Python's nor ours.
FOREIGN = """
import sys
before = set(sys.modules)
from freight.streaming import alive
alive.main(["transactions"])
tops = {name.partition(".")[0] for name in sys.modules.keys() - before}
print(sorted(tops - sys.stdlib_module_names - {"freight"}))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPA_HOME", str(tmp_path))
    return tmp_path


def turned(home: Path, seconds_ago: float) -> None:
    path = alive_path(home / "run", "transactions")
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_there_may_be_no_listener(capsys: pytest.CaptureFixture[str]) -> None:
    assert alive.main(["transactions"]) == 1
    assert capsys.readouterr().out == "no listener of transactions runs here\n"


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--max-age", "3600"], 0)], ids=["a minute", "an hour"])
def test_a_loop_that_has_not_turned_for_too_long_is_stuck(
    home: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int
) -> None:
    turned(home, seconds_ago=600)
    assert alive.main(["transactions", *options]) == code
    assert re.fullmatch(r"the listener of transactions last advanced \d+ s ago\n", capsys.readouterr().out)


def test_a_loop_that_has_just_turned_is_alive(home: Path) -> None:
    turned(home, seconds_ago=0)
    assert alive.main(["transactions", "--max-age", "300"]) == 0


@pytest.mark.parametrize("age", ["0", "nan", "soon"])
def test_an_age_is_a_second_at_least(age: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        alive.main(["transactions", "--max-age", age])


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DPA_HOME", "nowhere")
    assert alive.main(["transactions"]) == 2
    assert capsys.readouterr().err.startswith("error: DPA_HOME names ")


def test_a_probe_imports_only_what_python_has(home: Path) -> None:
    turned(home, seconds_ago=0)
    told = subprocess.run([sys.executable, "-c", FOREIGN], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
