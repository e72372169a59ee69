"""The flow that tells what loading would change, on a real Prefect server, of sources that only blocks reach."""

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect import State
from prefect.artifacts import Artifact

from blocks.http_api import HttpApi
from blocks.sql_source import SqlSource
from flows.check_sources import check_sources
from flows.load_nightly import load_nightly
from flows.preview_source import preview_source
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.corridor import Corridor, nightly
from tests.lib.odd_api import OddApi, Reply
from tests.lib.tables import content_of

COLUMNS = "transaction_id, machine_id, date, volume_transferred, status_code"
GOOD = "TRX-{},MCH-001,2026-02-01 10:00:00,30,OK"


@pytest.fixture
def corridor(home: Path) -> Corridor:
    """Three sources: a folder of which one file is loaded, a table with a changed, a new and a bad row, and an API."""
    migrate(steps.warehouse())
    corridor = nightly(home, steps.warehouse())
    corridor.write_transactions("erp_20260202.csv", [GOOD.format(number) for number in range(1, 5)])
    assert corridor.catalog.sources
    assert load_nightly(return_state=True).is_completed()
    corridor.add_connected("table", "transactions", "sql", options={"table": "transactions"}, quarantine_limit=0.5)
    corridor.add_connected("api", "machines", "http_api", location="machines")
    assert corridor.catalog.sources
    fill(home / "erp.sqlite", ("TRX-1", 31), ("TRX-2", 30), ("TRX-9", 30), ("TRX-8", -7))
    return corridor


def fill(path: Path, *rows: tuple[str, float]) -> None:
    url = f"sqlite:///{path.as_posix()}"
    erp = sa.create_engine(url)
    with erp.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE transactions ({COLUMNS})")
        for key, volume in rows:
            values = f"'{key}', 'MCH-001', '2026-02-01 10:00:00', {volume}, 'OK'"
            connection.exec_driver_sql(f"INSERT INTO transactions VALUES ({values})")
    erp.dispose()
    SqlSource(url=url).save("erp", overwrite=True)


def run_flow(**parameters: Any) -> State[Any]:
    state = check_sources(**parameters, return_state=True)
    assert isinstance(state, State)
    return state


def shown(key: str) -> list[dict[str, Any]]:
    """Return the rows of a table artifact."""
    rows = json.loads(str(getattr(Artifact.get(key), "data", None)))
    assert isinstance(rows, list)
    return rows


def test_it_tells_the_difference_of_sources_with_blocks_and_writes_nothing(corridor: Corridor) -> None:
    machines = [{"machine_id": "MCH-003", "site_location": "Edéa", "installation_year": 2015}]
    before = content_of(corridor.engine)
    with OddApi() as api:
        api.reply = lambda _: Reply(machines)
        HttpApi(base_url=api.url, private=True).save("erp", overwrite=True)
        state = run_flow()
    assert state.is_completed(), state.message
    told = "3 of 5 rows would change the warehouse, 1 be quarantined; 2 of 4 files loaded before; nothing was written"
    assert state.message == told
    assert content_of(corridor.engine) == before
    rows = {row["source"]: row for row in shown("check-sources")}
    assert rows["erp"]["state"] == "UNCHANGED"
    assert rows["api"] | {"file": "", "note": ""} == difference("api", read=1, new=1)
    assert rows["table"] | {"file": "", "note": ""} == difference("table", read=4, new=1, changed=1, unchanged=1, bad=1)
    (bad,) = shown("check-sources-bad-rows")
    assert (bad["source"], bad["fault"]) == (
        "table",
        "volume_transferred_t: out_of_range (volume_transferred_t is not between 0 and 5000 tonnes)",
    )
    assert "TRX-8" in bad["text"]


def difference(
    source: str, *, read: int = 0, new: int = 0, changed: int = 0, unchanged: int = 0, bad: int = 0
) -> dict[str, object]:
    counts = {"read": read, "new": new, "changed": changed, "unchanged": unchanged, "superseded": 0}
    return {"source": source, "file": "", "state": "OK", **counts, "to quarantine": bad, "note": ""}


def test_it_is_failed_and_names_what_would_fail(corridor: Corridor, home: Path) -> None:
    corridor.write_transactions("erp_20260203.csv", ["TRX-5,MCH-001,never,30,OK"])
    (home / "erp.sqlite").unlink()
    before = content_of(corridor.engine)
    state = run_flow(sources=["erp", "table"])
    assert state.is_failed()
    headline, *failures = str(state.message).splitlines()
    assert headline == "2 of 3 files would fail; nothing was written"
    assert failures[0].startswith("FAILED erp erp_20260203.csv: 1 of 1 row breaks the contract")
    assert failures[1].startswith("FAILED table erp/transactions: ")
    assert "Remedy: " in failures[1]
    assert [row["file"] for row in shown("check-sources-bad-rows")] == ["erp_20260203.csv"]
    assert content_of(corridor.engine) == before


def test_what_a_supplier_has_written_is_text_in_an_artifact(corridor: Corridor) -> None:
    """Prefect's interface reads each cell of a table as Markdown: an image would tell another host who looks."""
    image, tag = "![](http://evil.example/who.png)", "<img src=http://evil.example/who.png>"
    name = "erp_20260203_![](evil) <b>.csv"
    corridor.write_transactions(
        name, [*(GOOD.format(number) for number in range(5, 10)), f"TRX-4,{image}{tag},never,30,OK"]
    )
    state = run_flow(sources=["erp"])
    assert state.is_completed(), state.message
    (bad,) = shown("check-sources-bad-rows")
    assert "!［］(http://evil.example/who.png)‹img src=http://evil.example/who.png›" in bad["text"]
    assert bad["file"] == "erp_20260203_!［］(evil) ‹b›.csv"
    kept = [Artifact.get(key) for key in ("check-sources", "check-sources-bad-rows")]
    told = "".join(f"{getattr(one, 'description', '')}{getattr(one, 'data', '')}" for one in kept)
    assert not [sign for sign in ("](", "<b>", "<img") if sign in told]


def test_what_it_cannot_do_is_told_in_a_line(home: Path) -> None:
    Corridor(home, steps.warehouse()).add_source("erp", "transactions", "csv", "*.csv").catalog  # noqa: B018 - writes it
    assert "dpa migrate" in str(run_flow().message)
    migrate(steps.warehouse())
    state = run_flow(sources=["nobody"])
    assert (state.is_failed(), str(state.message)) == (True, "the catalog has no source 'nobody': it has erp")


def test_a_preview_shows_rows_of_sources_with_blocks_as_the_warehouse_would_have_them(corridor: Corridor) -> None:
    before = content_of(corridor.engine)
    state = preview_source("table", rows=2, return_state=True)
    assert state.is_completed()
    assert "2 rows of table" in str(state.message)
    assert "bad rows: 1" in str(state.message)
    assert [(row["transaction_id"], row["volume_transferred_t"]) for row in shown("preview-source")] == [
        ("TRX-1", "31.0"),
        ("TRX-2", "30.0"),
    ]
    assert preview_source("erp", return_state=True).is_completed()
    assert shown("preview-source")[0]["transaction_at"].startswith("2026-02-01 09:00:00")
    assert content_of(corridor.engine) == before
    missing = preview_source("nothing", return_state=True)
    assert (missing.is_failed(), "the catalog has no source 'nothing'" in str(missing.message)) == (True, True)
