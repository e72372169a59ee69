"""What a dataset needs beside its contract is found by the name of a module: nobody registers it anywhere."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from freight import transforms
from freight.contracts import by_dataset, contract_for
from freight.errors import ConfigurationError
from freight.transforms import derive
from freight.warehouse import datasets
from freight.warehouse.datasets import stations, writers

DERIVE = "import polars as pl\n\n\ndef derive(frame):\n    return frame.with_columns(seen=pl.lit(1))\n"
WRITER = "class Writer:\n    pass\n"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    transforms.transforms.cache_clear()
    writers.cache_clear()


def add(monkeypatch: pytest.MonkeyPatch, package: ModuleType, folder: Path, name: str, text: str) -> None:
    """Add a module to a package, as a developer would."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{package.__name__}.{name}", raising=False)


def test_a_transform_is_found_by_its_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add(monkeypatch, transforms, tmp_path, "terminal_events", DERIVE)
    transforms.transforms.cache_clear()
    assert transforms.transforms().keys() == {"transactions", "terminal_events"}
    derived = derive(pl.DataFrame({"a": [1]}), contract_for("terminal_events"))
    assert derived.columns == ["a", "seen", "is_late"]


def test_a_writer_is_found_by_its_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert writers()["stations"] is stations.Writer
    add(monkeypatch, datasets, tmp_path, "terminal_events", WRITER)
    writers.cache_clear()
    assert writers().keys() == {"stations", "machines", "transactions", "terminal_events"}


def test_a_module_that_is_named_after_no_dataset_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add(monkeypatch, transforms, tmp_path, "transaction", DERIVE)
    with pytest.raises(ConfigurationError, match="unknown dataset 'transaction': the datasets are stations"):
        by_dataset(transforms.__name__, "derive")
