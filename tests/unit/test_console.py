"""What the commands of `dpa` import: a person who asks for help does not wait for libraries of data."""

import subprocess
import sys

import pytest

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
