"""docs/add-a-source.md, done as it is written: a new dataset is a contract, a migration and a catalog entry."""

import re

import pytest

from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.checkout import Checkout
from tests.lib.readme import files_to_write

PAGE = (PROJECT_ROOT / "docs" / "add-a-source.md").read_text(encoding="utf-8")
DELIVERY = "NUMERO;TARE_T\n0042;21,5\n0043;22\n0044;20\n99;20,5\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(tmp_path_factory.mktemp("dataset") / "dpa")
    checkout.write({**files_to_write(PAGE), "wagons/wagons_20260201.csv": DELIVERY})
    return checkout


def line_with(text: str) -> str:
    """Return the line of the last shell block that contains some text."""
    (line,) = (line for line in PAGE.rpartition("```sh\n")[2].splitlines() if text in line)
    return line


def test_a_new_dataset_loads_into_a_warehouse_that_was_there_before(
    checkout: Checkout, warehouse: WarehouseUnderTest, server: dict[str, str]
) -> None:
    at = {**server, "DPA_WAREHOUSE_URL": warehouse.url}
    run = checkout.run(line_with("make run"), **at)
    assert run.returncode == 0, run.stdout
    assert "4 rows read: 3 changed the warehouse, 1 quarantined" in run.stdout
    told = checkout.run(".venv/bin/dpa reconcile && .venv/bin/dpa explain dim_wagons 0042", **at)
    assert told.returncode == 0, told.stdout
    assert re.search(r"^tare_t +21\.5$", told.stdout, re.MULTILINE)
    assert re.search(r"^  file +wagons/wagons_20260201\.csv$", told.stdout, re.MULTILINE)


def test_the_schema_and_the_dictionary_are_those_of_the_new_contract(checkout: Checkout) -> None:
    written = checkout.run(line_with("freight.dictionary"))
    assert written.returncode == 0, written.stdout
    dictionary = checkout.folder / "docs" / "data-dictionary.md"
    assert "## wagons: `dim_wagons`" in dictionary.read_text(encoding="utf-8")
    tests = (
        "tests/unit/test_docs.py::test_the_dictionary_is_that_of_the_contracts",
        "tests/contract/test_schema.py::test_the_migrated_schema_is_the_schema_of_the_code",
    )
    tested = checkout.run(f'{line_with("make test")} ARGS="-n 0 {" ".join(tests)}"')
    assert (tested.returncode, "3 passed" in tested.stdout) == (0, True), tested.stdout
