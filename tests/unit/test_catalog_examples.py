"""The catalogs in the documents are catalogs."""

import re
from pathlib import Path
from typing import Any

import pytest

from freight.catalog import read_catalog
from freight.contracts import contracts
from freight.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "add-a-source.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(sources:\n.*?)```", PAGE, re.DOTALL)


def of_known_datasets(example: Any) -> bool:
    return set(re.findall(r"dataset: (\w+)", example)) <= contracts().keys()


@pytest.mark.parametrize("example", [*filter(of_known_datasets, EXAMPLES)], ids=lambda text: text.split()[3])
def test_an_example_is_a_catalog(tmp_path: Path, example: str) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(example, encoding="utf-8")
    assert read_catalog(path).heads


def test_all_but_the_new_dataset_are_examined() -> None:
    assert sum(map(of_known_datasets, EXAMPLES)) == len(EXAMPLES) - 1 > 5
