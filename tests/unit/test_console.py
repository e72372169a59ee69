"""What the commands of `dpa` import: a person who asks for help does not wait for libraries of data."""

import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner

from freight.console.cli import IN_ORDER, app
from freight.settings import PROJECT_ROOT

HEAVY = {"alembic", "confluent_kafka", "openpyxl", "polars", "prefect", "sqlalchemy"}
HELP = """
import sys
from freight.console.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("group", ["", "sources", "quarantine"])
def test_help_imports_no_library_of_data(group: str) -> None:
    words = [*group.split(), "--help"]
    shown = subprocess.run([sys.executable, "-c", HELP, *words], cwd=PROJECT_ROOT, capture_output=True, check=True)
    assert f"Usage: dpa {group}".encode() in shown.stdout
    imported = shown.stderr.decode().split()
    assert "freight.console.cli" in imported
    assert HEAVY & set(imported) == set()


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CliRunner().invoke(app, ["--version"]).output == f"dpa {project['version']}\n"


def test_the_help_begins_with_what_people_need_each_day_and_ends_with_what_deletes_everything() -> None:
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    panels = [line.split("─ ")[1].split(" ─")[0] for line in lines if line.startswith("╭")]
    assert panels == ["Options", "Everyday", "Proof, repair and housekeeping", "Set-up and demonstration"]
    commands = [line.split()[1] for line in lines if line.startswith("│ ") and line[2] not in " -"]
    assert commands == [*IN_ORDER]
