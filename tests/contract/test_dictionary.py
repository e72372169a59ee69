"""The data dictionary describes every table and view as the warehouse has them, on both engines."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from freight.contracts import contract_for, contracts
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT
from freight.warehouse import dictionary
from freight.warehouse.dictionary import TYPES, described, render
from freight.warehouse.migrate import views
from freight.warehouse.schema import metadata, runs
from tests.conftest import WarehouseUnderTest

# The types of PostgreSQL by those of the dictionary.
KINDS: Mapping[str, type[Any]] = {
    "text": sa.Text,
    "integer": sa.Integer,
    "number": sa.Float,
    "instant": sa.DateTime,
    "date": sa.Date,
    "boolean": sa.Boolean,
    "bytes": sa.LargeBinary,
}
KNOWN_UNITS = {
    *("", "share", "tonnes", "tonnes per hour", "degrees", "km", "hours", "seconds", "microseconds", "bytes"),
    *("bar", "mm/s", "degrees Celsius", "messages/s"),
}
RELATIONS = [*views(), *metadata.tables]

every_relation = pytest.mark.parametrize("name", RELATIONS)


@every_relation
def test_each_column_of_the_warehouse_is_described_in_its_order(warehouse: WarehouseUnderTest, name: str) -> None:
    columns = sa.inspect(warehouse.engine).get_columns(name)
    found = [column["name"] for column in columns]
    if name in metadata.tables:  # a column that a migration has added is the last in older warehouses
        assert sorted(found) == sorted(described(name))
    else:
        assert found == list(described(name))


@every_relation
def test_each_type_is_that_of_postgresql(postgres_warehouse: WarehouseUnderTest, name: str) -> None:
    for column in sa.inspect(postgres_warehouse.engine).get_columns(name):
        stated = described(name)[column["name"]].type
        assert isinstance(column["type"], KINDS[stated]), f"{name}.{column['name']} is {column['type']!r}, not {stated}"


@every_relation
def test_each_column_has_a_sentence_and_a_known_unit(name: str) -> None:
    for column, told in described(name).items():
        assert told.meaning.endswith("."), f"{name}.{column}: {told.meaning}"
        assert told.unit in KNOWN_UNITS, f"{name}.{column}: {told.unit}"
        assert told.unit == "tonnes" or not column.endswith("_t"), column


def test_the_document_has_a_part_for_every_relation() -> None:
    text = (PROJECT_ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8")
    parts = re.findall(r"^## (?:\w+: )?`(\w+)`$", text, re.MULTILINE)
    assert sorted(parts) == sorted(RELATIONS)


def test_every_type_of_the_schema_has_a_name() -> None:
    assert set(TYPES.values()) == set(KINDS)


def test_a_column_without_a_description_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs.c.outcome, "doc", None)
    with pytest.raises(ConfigurationError, match=r"runs.outcome: describe the column"):
        render(contracts().values())


@pytest.mark.parametrize(
    ("comment", "fault"),
    [
        ("--   run_id (text): The run.", r"v_ledger: \['source', .* have no description"),
        (
            "-- Columns as in: v_data_quality, batches.\n--   age_s (integer, seconds): The age.",
            r"\{'age_s'\} no column",
        ),
    ],
)
def test_a_view_whose_comment_does_not_fit_its_columns_is_refused(
    monkeypatch: pytest.MonkeyPatch, comment: str, fault: str
) -> None:
    query = re.sub(r"^--.*\n", "", views()["v_ledger"], flags=re.MULTILINE)
    known = views()
    dictionary._columns_of_views()
    monkeypatch.setattr(dictionary, "views", lambda: {**known, "v_ledger": f"{comment}\n{query}"})
    with pytest.raises(ConfigurationError, match=fault):
        described("v_ledger")


def test_a_new_dataset_without_a_table_is_described() -> None:
    wagons = replace(contract_for("stations"), dataset="wagons", table="dim_wagons")
    assert "\n## wagons: `dim_wagons`\n" in render([*contracts().values(), wagons])
