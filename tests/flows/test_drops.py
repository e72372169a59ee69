"""The nightly flow over files in Azure Blob, on a real Azurite, with the login of a block."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from prefect import State, get_client
from prefect.artifacts import Artifact
from pydantic import SecretStr

from blocks import drop_files
from blocks.blob_drop import BlobDrop
from blocks.places import BlockConnections
from flows.export_quarantine import export_quarantine
from flows.import_quarantine import import_quarantine
from flows.load_nightly import load_nightly
from freight import pipeline
from freight.care.reconcile import reconcile
from freight.errors import ConfigurationError
from freight.pipeline import PlannedUnit, RawSpool, RunReport, plan_days
from freight.types import LoadCounts
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.flows.test_block_secrets import ask
from tests.integration.test_blob_drop import IMPATIENT
from tests.lib.azurite import CANARY, KEY, Azurite, OwnAzurite
from tests.lib.corridor import HEADER, Corridor, nightly
from tests.lib.quarantine_books import correct
from tests.lib.runs import logged_within

ROW = "TRX-{},MCH-001,2026-02-01 10:00:00,{},OK"
HOSTILE = ("'; DROP TABLE runs; --.csv", "a\nFAILED b.csv", "{run_id} %s.csv", "..%2fx#1?.csv", f"{'😀' * 250}.csv")


class Drop:
    """A container with files of transactions, which the source `blobs` loads beside those of a folder."""

    def __init__(self, corridor: Corridor, azurite: Azurite) -> None:
        self.corridor, self.azurite = corridor, azurite
        self.container: ContainerClient = azurite.new_container()
        self.place = f"abfs://{self.container.container_name}/in"
        self.allow(KEY)
        corridor.add_source("blobs", "transactions", "csv", f"{self.place}/*.csv", drop="corridor")
        assert corridor.catalog.sources

    def allow(self, key: str) -> None:
        BlobDrop(account_url=self.azurite.url, key=SecretStr(key)).save("corridor", overwrite=True)

    def put(self, name: str, *rows: str) -> None:
        self.container.upload_blob(f"in/{name}", "\n".join([HEADER, *rows]).encode(), overwrite=True)

    def loaded(self) -> list[tuple[Any, ...]]:
        return self.corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_files, "client_options", lambda: IMPATIENT)


@pytest.fixture
def corridor(home: Path) -> Corridor:
    migrate(steps.warehouse())
    corridor = nightly(home, steps.warehouse())
    corridor.write_transactions("erp_20260202.csv", [ROW.format(1, 30)])
    return corridor


@pytest.fixture
def drop(corridor: Corridor, azurite: Azurite) -> Drop:
    return Drop(corridor, azurite)


def run_flow() -> State[Any]:
    state = load_nightly(return_state=True)
    assert isinstance(state, State)
    return state


def report_of(state: State[Any]) -> RunReport:
    report = state.result(raise_on_failure=False)
    assert isinstance(report, RunReport), state.message
    return report


def test_new_files_load_old_ones_are_left_alone_and_a_changed_one_loads_again(drop: Drop) -> None:
    drop.put("erp_20260203.csv", ROW.format(2, 20), ROW.format(3, 20))
    assert report_of(run_flow()).counts("blobs") == LoadCounts(read=2, inserted=2)
    again = report_of(run_flow())
    assert {outcome.state for outcome in again.outcomes} == {"unchanged"}
    drop.put("erp_20260203.csv", ROW.format(2, 21), ROW.format(3, 20))  # as long as before, and within the second
    assert report_of(run_flow()).counts("blobs") == LoadCounts(read=2, updated=1, unchanged=1)
    assert drop.loaded() == [("TRX-1", 30), ("TRX-2", 21), ("TRX-3", 20)]
    assert (f"{drop.place}/erp_20260203.csv", "blobs") in drop.corridor.rows("file_positions", "location", "source")
    assert reconcile(steps.warehouse()) == []


def test_the_quarantine_goes_to_people_and_comes_back_by_a_drop(drop: Drop, tmp_path: Path) -> None:
    drop.put("erp_20260203.csv", ROW.format(2, -7), *(ROW.format(number, 20) for number in range(3, 10)))
    assert report_of(run_flow()).counts("blobs").quarantined == 1
    place, book = f"abfs://{drop.container.container_name}", tmp_path / "mine.xlsx"
    exported = export_quarantine(folder=f"{place}/todo", drop="corridor", return_state=True)
    assert str(exported.message).startswith(f"1 of 1 waiting row written to {place}/todo/quarantine_")
    (written,) = drop.container.list_blob_names(name_starts_with="todo/")
    book.write_bytes(drop.container.download_blob(written).readall())
    correct(book, {1: {"volume_transferred_t": "7"}})
    drop.container.upload_blob("corrections/mine.xlsx", book.read_bytes())

    state = import_quarantine(f"{place}/corrections/*.xlsx", f"{place}/done", drop="corridor", return_state=True)
    assert (state.is_completed(), state.name) == (True, "Completed"), state.message
    assert drop.loaded()[:2] == [("TRX-1", 30), ("TRX-2", 7)]
    assert [*drop.container.list_blob_names(name_starts_with="corrections/")] == []
    assert len([*drop.container.list_blob_names(name_starts_with="done/")]) == 1
    assert reconcile(steps.warehouse()) == []


def test_files_that_are_loaded_are_archived_and_what_cannot_be_is_told(drop: Drop) -> None:
    entry = drop.corridor.sources[-1]
    entry.update(archive=f"abfs://{drop.container.container_name}/done", settle_s=3600)
    assert drop.corridor.catalog.sources
    drop.put("erp_20260203.csv", ROW.format(2, 20))
    state = run_flow()
    assert (state.is_completed(), state.name) == (True, "Completed")
    assert "1 left for the next run" in str(state.message)
    assert f"WAITING blobs: {drop.place}/erp_20260203.csv: changed " in str(
        getattr(Artifact.get("load-nightly-summary"), "description", None)
    )
    entry["settle_s"] = 0
    assert drop.corridor.catalog.sources
    drop.allow(drop.azurite.sas("rl"))
    state = run_flow()
    assert (state.is_completed(), state.name) == (True, "Degraded")
    assert f"NOT ARCHIVED blobs: {drop.place}/erp_20260203.csv: " in str(state.message)
    drop.allow(KEY)
    assert report_of(run_flow()).failures == []
    (archived,) = drop.container.list_blob_names()
    assert re.fullmatch(r"done/\d{8}T\d{6}\.\d{6}_erp_20260203\.csv", archived)
    assert drop.loaded() == [("TRX-1", 30), ("TRX-2", 20)]


def test_the_key_is_in_nothing_that_prefect_keeps(
    drop: Drop, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_RESULTS_PERSIST_BY_DEFAULT", "true")
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(home / "results"))
    drop.put("erp_20260203.csv", ROW.format(2, 20))
    drop.put("erp_20260204.csv", "TRX-4,MCH-001,never,1,OK")
    state = run_flow()
    assert "1 of 4 files failed" in str(state.message)
    run_id = state.state_details.flow_run_id
    assert run_id
    with get_client(sync_client=True) as prefect:
        logged = logged_within(prefect, run_id, r"run .* failed")
        kept = [ask(prefect, kind) for kind in ("artifacts", "block_documents", "flow_runs", "task_runs", "logs")]
    files = [path.read_text(encoding="utf-8", errors="replace") for path in home.rglob("*") if path.is_file()]
    seen = [*logged, *kept, *files, *capfd.readouterr()]
    assert not [text for text in seen if KEY in text or CANARY in text]


def test_what_cannot_be_opened_fails_its_source_and_the_others_load(drop: Drop) -> None:
    drop.put("erp_20260203.csv", ROW.format(2, 20))
    drop.allow("d3Jvbmc=")
    drop.corridor.add_source("more", "transactions", "csv", f"{drop.place}/*.csv", drop="nowhere")
    assert drop.corridor.catalog.sources
    told = str(run_flow().message)
    assert f"FAILED blobs: {drop.place}/*.csv: {drop.azurite.url} refuses the login: 403" in told
    assert "Remedy: correct the key in the Blob Drop block" in told
    assert f"FAILED more: {drop.place}/*.csv: the drop cannot be opened: there is no Blob Drop block 'nowhere'" in told
    assert drop.loaded() == [("TRX-1", 30)]


def test_an_account_that_goes_away_in_between_fails_what_is_left_and_the_next_run_loads_it(
    corridor: Corridor, own_azurite: OwnAzurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    azurite = own_azurite()
    drop = Drop(corridor, azurite)
    drop.put("erp_20260203.csv", ROW.format(2, 20))
    drop.put("erp_20260204.csv", ROW.format(3, 20))
    extract, away = pipeline.extract_unit, "erp_20260204.csv"

    def extract_as_it_goes(planned: PlannedUnit, folder: Path) -> RawSpool:
        if planned.unit.location.endswith(away):
            azurite.stop()
        return extract(planned, folder)

    monkeypatch.setattr(pipeline, "extract_unit", extract_as_it_goes)
    told = str(run_flow().message)
    assert f"FAILED blobs: {drop.place}/{away}: {azurite.url} does not answer" in told
    assert "the next run tries again" in told
    assert drop.loaded() == [("TRX-1", 30), ("TRX-2", 20)]
    azurite.start()
    away = "none"
    assert run_flow().is_completed()
    assert drop.loaded() == [("TRX-1", 30), ("TRX-2", 20), ("TRX-3", 20)]
    assert reconcile(corridor.engine) == []


def test_names_do_no_harm(drop: Drop) -> None:
    for number, name in enumerate(HOSTILE, start=2):
        drop.put(name, ROW.format(number, 20))
    state = run_flow()
    assert state.is_completed(), state.message
    assert [key for key, _ in drop.loaded()] == [f"TRX-{number}" for number in range(1, len(HOSTILE) + 2)]
    log = (drop.corridor.folder / "logs" / "dpa.log").read_text(encoding="utf-8")
    assert "a\\nFAILED b.csv" in log
    assert not [line for line in log.splitlines() if line.startswith("FAILED")]


def test_days_of_a_drop_can_be_planned(drop: Drop) -> None:
    drop.put("2026-02-03.csv", ROW.format(2, 20))
    drop.corridor.sources[-1]["location"] = f"{drop.place}/{{day:%Y-%m-%d}}.csv"
    dated = drop.corridor.catalog.only(["blobs"], dated=True)
    days = [date(2026, 2, 2), date(2026, 2, 3)]
    assert [(plan.files, plan.fault) for plan in plan_days(steps.warehouse(), dated, days, BlockConnections())] == [
        (0, ""),
        (1, ""),
    ]
    assert "only Prefect knows" in plan_days(steps.warehouse(), dated, days)[0].fault


@pytest.mark.parametrize(
    ("location", "drop", "remedy"),
    [
        ("abfs://in/*.csv", None, "needs drop, the name of a Blob Drop block"),
        ("in/*.csv", "corridor", "with drop, write abfs://container/"),
        ("abfs://in", "corridor", "with drop, write abfs://container/"),
        ("abfs://in@account.dfs.core.windows.net/*.csv", "corridor", "the block names the account"),
    ],
)
def test_a_drop_and_its_location_belong_together(
    corridor: Corridor, location: str, drop: str | None, remedy: str
) -> None:
    corridor.add_source("blobs", "transactions", "csv", location, drop=drop)
    with pytest.raises(ConfigurationError, match=f"sources > blobs > location: .*{remedy}"):
        assert corridor.catalog
