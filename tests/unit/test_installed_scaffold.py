"""`dpa sources new` where DPA is installed as a package: no checkout, no ruff, and a home folder with a catalog."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from freight.settings import PROJECT_ROOT
from tests.lib.corridor import HEADER

TRANSACTIONS = f"{HEADER}\nTRX-1,MCH-001,2026-02-01 10:00:00,30,OK\nTRX-2,MCH-001,2026-02-01 11:00:00,,WARN\n"
MAIN = "from freight.console.cli import main; main()"


@dataclass(frozen=True)
class Installation:
    """The modules of the package in a folder of their own, and a home folder."""

    packages: Path
    home: Path

    def dpa(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        ours = {"PYTHONPATH": str(self.packages), "PATH": "", "DPA_HOME": str(self.home), "DPA_CATALOG": "catalog.yaml"}
        return subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=self.home,
            env={**os.environ, **ours},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )

    def files(self) -> set[str]:
        found = (path.relative_to(self.home) for path in self.home.rglob("*.*") if path.is_file())
        return {path.as_posix() for path in found if path.parts[0] != "logs"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    for module in (PROJECT_ROOT / "freight").rglob("*.py"):
        copy = folder / module.relative_to(PROJECT_ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(module, copy)
    (folder / "ruff.py").write_text("raise SystemExit('there is no ruff')", encoding="utf-8")
    return folder


@pytest.fixture
def installation(packages: Path, tmp_path: Path) -> Installation:
    (tmp_path / "erp").mkdir()
    (tmp_path / "erp" / "douala_20260201.csv").write_text(TRANSACTIONS, encoding="utf-8")
    (tmp_path / "wagons.csv").write_text("numero,tare_t\n0042,21.5\n", encoding="utf-8")
    return Installation(packages, tmp_path)


def test_a_source_of_a_known_dataset_gets_its_entry_and_is_told_what_is_left_out(installation: Installation) -> None:
    before = installation.files()
    done = installation.dpa("sources", "new", "erp_douala", "erp/douala_20260201.csv")
    assert done.returncode == 0, done.stdout
    assert "LEFT OUT the test that loads rows of the sample: only a checkout of DPA has tests" in done.stdout
    assert "the first rows of the sample: read 2, inserted 2" in done.stdout
    assert done.stdout.endswith("Next:\n  dpa sources check erp_douala\n")
    assert installation.files() == before | {"catalog.yaml"}
    assert not (installation.packages / "tests").exists()
    assert yaml.safe_load((installation.home / "catalog.yaml").read_text(encoding="utf-8"))["sources"] == [
        {
            "name": "erp_douala",
            "dataset": "transactions",
            "reader": "csv",
            "location": "erp/douala_{day:%Y%m%d}.csv",
        }
    ]


def test_a_new_dataset_is_sent_to_a_checkout(installation: Installation) -> None:
    before = installation.files()
    done = installation.dpa("sources", "new", "wagons", "wagons.csv")
    assert done.returncode == 2, done.stdout
    assert "the sample needs a new dataset, wagons, but this is an installation of DPA" in done.stdout
    assert "Run this command in a checkout of the project, and install DPA from there" in done.stdout
    assert installation.files() == before
