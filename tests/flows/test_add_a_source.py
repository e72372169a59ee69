"""docs/add-a-source.md, done as it is written: `dpa sources new` makes a dataset and its source from a sample."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
import yaml

from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.checkout import Checkout
from tests.lib.readme import files_to_write

PAGE = (PROJECT_ROOT / "docs" / "add-a-source.md").read_text(encoding="utf-8")
WRITTEN = files_to_write(PAGE)
SHELL = re.findall(r"```sh\n(.*?)```", PAGE.partition("## A new dataset")[2], re.DOTALL)
CONTRACT, SAMPLE = "freight/contracts/wagons.py", "wagons/wagons_20260201.csv"
NEXT_SAMPLE = "wagons/wagons_20260202.csv"
OURS = """# Catalog of the corridor; each source has its owner.
sources:
  - name: erp  # of the ERP team
    dataset: transactions
    reader: csv
    location: nothing/*.csv
    archive: done
"""
DRIVERS = [("Export of 1 February",), (), ("Matricule", "Nom du chauffeur", "Permis", "Points")]
TRIPS = [{"trip": n, "wagon": f"00{42 + n % 3}", "km": n + 0.5, "late": n % 2 == 0} for n in range(30)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with the source of the page, and with one from a workbook and one from JSON."""
    checkout = Checkout(tmp_path_factory.mktemp("dataset") / "dpa")
    checkout.write({SAMPLE: WRITTEN[SAMPLE], "my-catalog.yaml": OURS, "trips/trips.json": json.dumps({"data": TRIPS})})
    write_drivers(checkout.folder / "drivers" / "drivers_2026-02-01.xlsx")
    made = checkout.run(
        f"{line_with('export')}\n{line_with('sources new')}\n"
        ".venv/bin/dpa sources new drivers drivers/drivers_2026-02-01.xlsx\n"
        ".venv/bin/dpa sources new trips trips/trips.json --key trip"
    )
    assert made.returncode == 0, made.stdout
    return checkout


def write_drivers(path: Path) -> None:
    book = openpyxl.Workbook()
    for row in DRIVERS:
        book.active.append(row)
    for number in range(1, 5):
        book.active.append((number, f"Chauffeur {number}", f"12E{number}", 12))
        book.active.cell(book.active.max_row, 1).number_format = "00000"
    path.parent.mkdir()
    book.save(path)


def line_with(text: str) -> str:
    """Return the line of the page's commands for a new dataset that contains some text."""
    (line,) = {line for line in "".join(SHELL).splitlines() if text in line}
    return line


def scaffolded(checkout: Checkout) -> Iterator[Path]:
    for pattern in ("freight/contracts/*.py", "sql/migrations/versions/*.py", "tests/sources/*.py"):
        for path in checkout.folder.glob(pattern):
            if path.stem.rpartition("_")[2] in ("wagons", "drivers", "trips"):
                yield path


def test_what_is_written_is_what_the_page_shows_in_the_style_of_the_project(checkout: Checkout) -> None:
    assert (checkout.folder / CONTRACT).read_text(encoding="utf-8") == WRITTEN[CONTRACT]
    files = sorted(scaffolded(checkout))
    assert len(files) == 9
    ruff = f".venv/bin/python -m ruff {{}} {' '.join(map(str, files))}"
    checked = checkout.run(f"{ruff.format('check')}\n{ruff.format('format --check')}")
    assert checked.returncode == 0, checked.stdout


def test_the_catalog_keeps_its_comments_and_has_the_new_entries_behind_the_others(checkout: Checkout) -> None:
    text = (checkout.folder / "my-catalog.yaml").read_text(encoding="utf-8")
    assert text.startswith(OURS)
    assert yaml.safe_load(text)["sources"][1:] == [
        {
            "name": "wagons",
            "dataset": "wagons",
            "reader": "csv",
            "location": "wagons/wagons_{day:%Y%m%d}.csv",
            "options": {"delimiter": ";", "decimal": ",", "day_first": True},
        },
        {
            "name": "drivers",
            "dataset": "drivers",
            "reader": "excel",
            "location": "drivers/drivers_{day:%Y-%m-%d}.xlsx",
        },
        {"name": "trips", "dataset": "trips", "reader": "json", "location": "trips/trips.json"},
    ]


def test_a_check_tells_what_a_load_would_bring(checkout: Checkout) -> None:
    looked = checkout.run("\n".join(map(line_with, ("export", "dpa migrate", "sources check"))))
    assert looked.returncode == 0, looked.stdout
    assert f"OK wagons {SAMPLE}: 3 rows: 3 new, 0 changed" in looked.stdout


def test_new_datasets_load_into_a_warehouse_that_was_there_before(
    checkout: Checkout, warehouse: WarehouseUnderTest, server: dict[str, str]
) -> None:
    at = {**server, "DPA_WAREHOUSE_URL": warehouse.url}
    run = checkout.run(f"{line_with('export')}\n{line_with('make run')}", **at)
    assert run.returncode == 0, run.stdout
    assert "37 rows read: 37 changed the warehouse, 0 quarantined" in run.stdout
    told = checkout.run(".venv/bin/dpa reconcile && .venv/bin/dpa explain fact_wagons 0042", **at)
    assert told.returncode == 0, told.stdout
    assert re.search(r"^tare_t +21\.5$", told.stdout, re.MULTILINE)
    assert re.search(rf"^  file +{SAMPLE}$", told.stdout, re.MULTILINE)


def test_a_rule_over_two_columns_is_added_as_the_page_says(checkout: Checkout) -> None:
    (patch,) = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
    checkout.write({"rule.patch": patch, NEXT_SAMPLE: WRITTEN[NEXT_SAMPLE]})
    looked = checkout.run(
        "\n".join(["git apply rule.patch", *map(line_with, ("export", "dictionary", "sources check"))])
    )
    assert looked.returncode == 0, looked.stdout
    assert (
        f"OK wagons {NEXT_SAMPLE}: 4 rows: 3 new, 0 changed, 0 unchanged, 0 superseded, 1 to quarantine"
        in looked.stdout
    )
    assert "row 3: prochaine_visite, derniere_visite: out_of_order (prochaine_visite (" in looked.stdout
    dictionary = (checkout.folder / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    assert "- `prochaine_visite` must be after `derniere_visite` (`out_of_order`)\n" in dictionary


def test_the_tests_that_were_written_pass_and_so_do_those_of_schema_and_dictionary(checkout: Checkout) -> None:
    tests = (
        "tests/sources",
        "tests/unit/test_docs.py::test_the_dictionary_is_that_of_the_contracts",
        "tests/contract/test_schema.py::test_the_migrated_schema_is_the_schema_of_the_code",
    )
    tested = checkout.run(line_with("make test").replace("tests/sources/test_wagons.py", " ".join(tests)))
    assert (tested.returncode, "9 passed" in tested.stdout) == (0, True), tested.stdout


@pytest.mark.chaos  # mypy reads all of the project
@pytest.mark.timeout(900)
def test_what_is_written_passes_the_checks_of_the_project(checkout: Checkout) -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    checked = checkout.run(f".venv/bin/python -m mypy\n{lint_imports} --no-logo")
    assert checked.returncode == 0, checked.stdout
