"""Of several sources of the same data the first that serves is loaded, and an older one overwrites nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.http_api import HttpApi
from freight import retry
from freight.care.reconcile import reconcile
from freight.console.summary import headline, shortfalls
from freight.errors import ConfigurationError
from freight.pipeline import RunReport
from tests.conftest import WarehouseUnderTest
from tests.lib.connections import KnownConnections
from tests.lib.corridor import Corridor
from tests.lib.odd_api import OddApi, Reply


@pytest.fixture
def api() -> Iterator[OddApi]:
    with OddApi() as api:
        yield api


@pytest.fixture
def corridor(
    tmp_path: Path, api: OddApi, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> Corridor:
    """Machines of an API, else of a JSON file that is not older than two days, else of a CSV file."""
    monkeypatch.setattr(retry, "SOURCE", retry.RetryPolicy(first_pause_s=0, retries=4))
    block = HttpApi(base_url=api.url, private=True)
    corridor = Corridor(tmp_path, sqlite_warehouse.engine, connections=KnownConnections(apis={"erp": block}))
    corridor.add_source("csv", "machines", "csv", "machines*.csv")
    corridor.add_source("json", "machines", "json", "machines*.json", max_age_h=48)
    return corridor.add_connected("api", "machines", "http_api", location="machines", fallbacks=["json", "csv"])


def site(name: str) -> list[dict[str, Any]]:
    return [{"machine_id": "MCH-001", "site_location": name, "installation_year": 2010}]


def load(corridor: Corridor) -> RunReport:
    report = corridor.load()
    assert reconcile(corridor.engine) == []
    return report


def states(report: RunReport) -> dict[str, str]:
    return {outcome.source: outcome.state for outcome in report.outcomes}


def current_site(corridor: Corridor) -> Any:
    ((name, _),) = corridor.rows("dim_machines WHERE is_current", "site_location", "1")
    return name


def away(_: object) -> Reply:
    return Reply("", 503)


def test_a_source_that_serves_needs_no_fallback(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda _: Reply(site("Douala"))
    corridor.write_machines("machines_20260301.json", site("Edéa"))
    assert states(load(corridor)) == {"api": "loaded"}
    assert states(load(corridor)) == {"api": "unchanged"}
    assert current_site(corridor) == "Douala"


def test_the_first_fallback_that_serves_is_loaded_and_told(corridor: Corridor, api: OddApi) -> None:
    api.reply = away
    corridor.write_machines("machines_20260301.json", site("Edéa"))
    corridor.write("machines_20260301.csv", "machine_id,site,year\nMCH-001,Bélabo,2010\n")
    report = load(corridor)
    assert states(report) == {"api": "replaced", "json": "loaded"}
    assert report.failures == []
    (told,) = shortfalls(report, degraded_share=1)
    assert told.startswith("REPLACED api: erp/machines: ")
    assert "answers 503" in told
    assert told.endswith("; its fallback json takes its place")
    assert headline(report).endswith("; 1 replaced")
    assert corridor.rows("batches", "source", "location") == [("json", "machines_20260301.json")]
    assert states(load(corridor)) == {"api": "replaced", "json": "unchanged"}


def test_a_fallback_that_is_too_old_is_passed_over(corridor: Corridor, api: OddApi) -> None:
    api.reply = away
    corridor.write_machines("machines_20260201.json", site("Edéa"))
    corridor.write("machines_20260201.csv", "machine_id,site,year\nMCH-001,Bélabo,2010\n")
    report = load(corridor)
    assert states(report) == {"api": "replaced", "json": "replaced", "csv": "loaded"}
    assert "stands for 2026-01-31 23:00 UTC, more than 48 h ago [too_old]" in report.outcomes[1].message
    assert current_site(corridor) == "Bélabo"


def test_a_fallback_whose_content_is_bad_is_passed_over_also_when_it_is_parked(corridor: Corridor, api: OddApi) -> None:
    api.reply = away
    corridor.write("machines_20260301.json", json.dumps([{"machine_id": "no id", "site": "x", "year": 1}]))
    corridor.write("machines_20260301.csv", "machine_id,site,year\nMCH-001,Bélabo,2010\n")
    assert states(load(corridor)) == {"api": "replaced", "json": "replaced", "csv": "loaded"}
    report = load(corridor)
    assert states(report) == {"api": "replaced", "json": "replaced", "csv": "unchanged"}
    assert "the same content is tried again after `dpa retry`" in report.outcomes[1].message


def test_without_one_that_serves_all_have_failed(corridor: Corridor, api: OddApi) -> None:
    api.reply = away
    report = load(corridor)
    assert states(report) == {"api": "failed", "json": "failed", "csv": "failed"}


def test_an_older_fallback_overwrites_no_newer_snapshot(corridor: Corridor, api: OddApi) -> None:
    api.reply = lambda _: Reply(site("Douala"))
    load(corridor)
    api.reply = away
    corridor.write_machines("machines_20260301.json", site("Edéa"))  # the API spoke of a later instant
    report = load(corridor)
    assert states(report) == {"api": "replaced", "json": "loaded"}
    assert report.counts("json").superseded == 1
    assert current_site(corridor) == "Douala"
    api.reply = lambda _: Reply(site("Edéa"))
    assert states(load(corridor)) == {"api": "loaded"}
    assert current_site(corridor) == "Edéa"


def test_a_source_that_is_chosen_brings_its_fallbacks_and_a_fallback_stands_for_itself(corridor: Corridor) -> None:
    catalog = corridor.catalog
    assert [source.name for source in catalog.heads] == ["api"]
    assert [source.name for source in catalog.only(["api"]).chain_of(catalog.heads[0])] == ["api", "json", "csv"]
    assert [source.name for source in catalog.only(["csv"]).heads] == ["csv"]


@pytest.mark.parametrize(
    ("fallbacks", "told"),
    [
        (["nowhere"], "fallbacks > nowhere: there is no such source"),
        (["api"], "fallbacks > api: it has fallbacks of its own"),
        (["stations"], "fallbacks > stations: its dataset is stations, not machines"),
    ],
)
def test_a_fallback_that_cannot_work_is_refused_at_once(corridor: Corridor, fallbacks: list[str], told: str) -> None:
    corridor.add_source("stations", "stations", "csv", "stations.csv")
    corridor.sources[2]["fallbacks"] = fallbacks
    with pytest.raises(ConfigurationError, match=told):
        _ = corridor.catalog
