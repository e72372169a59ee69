"""The catalogs in the documents are catalogs."""

import re
from pathlib import Path

import pytest

from freight.catalog import read_catalog
from freight.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "add-a-source.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(sources:\n.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split()[3])
def test_an_example_is_a_catalog(tmp_path: Path, example: str) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(example, encoding="utf-8")
    assert read_catalog(path).heads


def test_all_examples_are_found() -> None:
    assert len(EXAMPLES) > 5
