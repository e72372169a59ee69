"""docs/streaming.md, done as it is written: a new topic is a contract, a table and a deployment."""

import json
import re
from pathlib import Path

from flows.listen import listen
from freight.settings import PROJECT_ROOT
from tests.conftest import WarehouseUnderTest
from tests.lib.checkout import Checkout
from tests.lib.kafka import new_topic
from tests.lib.kafka_under_test import SharedKafka
from tests.lib.readme import files_to_write
from tests.lib.streams import rows, send

SECTION = (PROJECT_ROOT / "docs" / "streaming.md").read_text(encoding="utf-8").rpartition("\n## A new topic")[2]


def block(language: str, containing: str) -> str:
    """Return the block of the section that contains some text."""
    (found,) = (b for b in re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.M | re.S) if containing in b)
    return str(found)


def test_a_new_topic_loads_into_a_warehouse_that_was_there_before(
    tmp_path: Path, postgres_warehouse: WarehouseUnderTest, kafka: SharedKafka, server: dict[str, str]
) -> None:
    checkout = Checkout(tmp_path / "dpa")
    checkout.write(files_to_write(SECTION))
    message = json.loads(block("json", "DEP-1"))
    sent = [message, {**message, "departure_id": "DEP-2"}, {**message, "departure_id": "DEP-3", "wagons": 0}]
    send(kafka, new_topic(kafka, 1, name="freight.departures"), [json.dumps(record).encode() for record in sent])
    at = {**server, "DPA_WAREHOUSE_URL": postgres_warehouse.url, "DPA_KAFKA_BOOTSTRAP": kafka.bootstrap}
    done = checkout.run(block("sh", "dpa migrate"), **at)
    assert done.returncode == 0, done.stdout
    assert "everything is read; read 3, inserted 2," in done.stdout
    stored = rows(postgres_warehouse.engine, "SELECT departure_id, station_name, wagons, is_late FROM fact_departures")
    assert sorted(stored) == [(f"DEP-{number}", "Ngaoundéré", 24, False) for number in (1, 2)]
    assert rows(postgres_warehouse.engine, "SELECT column_name, reason FROM quarantine") == [("wagons", "out_of_range")]


def test_the_deployment_of_the_page_names_the_flow_and_parameters_that_it_has() -> None:
    told = dict(re.findall(r"--param (\w+)=(\S+)", block("sh", "deploy")))
    assert listen.validate_parameters(told) | told == listen.validate_parameters(told)
    assert f"deploy {listen.fn.__module__}.{listen.fn.__name__} " in block("sh", "deploy")
