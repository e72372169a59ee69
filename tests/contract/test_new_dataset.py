"""docs/add-a-source.md, done: a new dataset is a contract, a table and a catalog entry."""

from pathlib import Path

import pytest

from freight.contracts import Column, Contract, contracts
from freight.types import LoadCounts
from freight.warehouse.connect import transaction
from freight.warehouse.schema import dataset_table, metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor

WAGONS = Contract(
    dataset="wagons",
    version=1,
    table="dim_wagons",
    business_key=("wagon_id",),
    freshness_s=86_400,
    load_order=40,
    columns=(
        Column("wagon_id", "text", "Number of the wagon.", required=True, pattern="[0-9]{4}", aliases=("numéro",)),
        Column("tare_t", "number", "Weight of the empty wagon.", unit="tonnes", required=True, minimum=5, maximum=60),
    ),
)


def test_a_new_dataset_loads_with_a_contract_a_table_and_an_entry(
    tmp_path: Path, warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(contracts(), "wagons", WAGONS)
    table = dataset_table(WAGONS)
    try:
        with transaction(warehouse.engine) as connection:
            table.create(connection)
        corridor = Corridor(tmp_path, warehouse.engine).add_source("wagons", "wagons", "csv", "wagons.csv")
        corridor.write("wagons.csv", "NUMERO;TARE_T\n0042;21,5\n0043;22\n0044;20\n99;20,5\n")
        assert corridor.load().counts() == LoadCounts(read=4, inserted=3, quarantined=1)
        assert corridor.rows("dim_wagons", "wagon_id", "tare_t") == [("0042", 21.5), ("0043", 22.0), ("0044", 20.0)]
    finally:
        metadata.remove(table)
