"""The nightly flow on a real Prefect server."""

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prefect import State, get_client
from prefect.artifacts import Artifact

from blocks.http_api import HttpApi
from blocks.sql_source import SqlSource
from flows.load_nightly import load_nightly, main
from freight import pipeline
from freight.care.reconcile import reconcile
from freight.errors import TransientError
from freight.outward import markdown
from freight.pipeline import RunReport
from freight.settings import PROJECT_ROOT
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.corridor import HEADER, MACHINES, Corridor, nightly
from tests.lib.odd_api import OddApi, Reply
from tests.lib.runs import logged_within
from tests.lib.tables import empty

GOOD = "TRX-1,MCH-001,2026-02-01 10:00:00,30,OK"


@pytest.fixture
def corridor(home: Path) -> Corridor:
    migrate(steps.warehouse())
    corridor = nightly(home, steps.warehouse())
    corridor.write_transactions("erp_20260202.csv", [GOOD])
    assert corridor.catalog.sources
    return corridor


def run_flow() -> State[Any]:
    state = load_nightly(return_state=True)
    assert isinstance(state, State)
    return state


@pytest.mark.usefixtures("corridor")
def test_the_flow_loads_every_source_and_publishes_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    state = run_flow()
    assert state.is_completed()
    report = state.result()
    assert isinstance(report, RunReport)
    assert (report.counts("erp").inserted, report.counts("machines").inserted) == (1, 2)
    assert "3 rows read: 3 changed the warehouse, 0 quarantined" in capsys.readouterr().out
    artifact = Artifact.get("load-nightly-summary")
    assert "3 rows read" in str(getattr(artifact, "description", None))
    assert reconcile(steps.warehouse()) == []


@pytest.fixture
def other_program(corridor: Corridor, home: Path) -> Iterator[sqlite3.Connection]:
    """A connection of a program such as DBeaver; as long as it is there, SQLite does not merge its log by itself."""
    corridor.engine.dispose()
    path = home / "database" / "supply_chain_dwh.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("SELECT COUNT(*) FROM runs").fetchone()
        yield connection


def transactions_in_a_copy(home: Path) -> int:
    """Count the transactions in a copy of the warehouse's file alone."""
    shutil.copy(home / "database" / "supply_chain_dwh.sqlite", home / "copy.sqlite")
    with contextlib.closing(sqlite3.connect(home / "copy.sqlite")) as copied:
        return int(copied.execute("SELECT COUNT(*) FROM fact_transactions").fetchone()[0])


@pytest.mark.usefixtures("other_program")
def test_after_a_run_the_file_of_the_warehouse_alone_has_all_rows(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_flow().is_completed()
    assert transactions_in_a_copy(home) == 1
    assert "uses the warehouse" not in capsys.readouterr().out


def test_while_another_program_reads_the_summary_says_that_the_file_is_not_whole(
    other_program: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    other_program.execute("BEGIN")
    other_program.execute("SELECT COUNT(*) FROM fact_transactions").fetchone()
    assert run_flow().is_completed()
    told = capsys.readouterr().out
    assert "Another program uses the warehouse, so supply_chain_dwh.sqlite alone is not up to date" in told
    assert "For a whole copy: dpa backup FILE" in told


@pytest.mark.usefixtures("other_program")
def test_after_an_interrupted_run_the_file_alone_has_what_was_committed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.load.aggregates.refresh_aggregates", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_nightly()
    assert transactions_in_a_copy(home) == 1


@pytest.mark.usefixtures("corridor")
def test_a_second_run_changes_nothing_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run_flow()
    assert run_flow().is_completed()
    assert "Nothing to do: no file is new" in capsys.readouterr().out


def test_a_table_is_reached_by_the_block_that_the_catalog_names(corridor: Corridor, home: Path) -> None:
    url = f"sqlite:///{(home / 'erp.sqlite').as_posix()}"
    columns = "transaction_id, machine_id, date, volume_transferred, status_code, updated_at"
    erp = sa.create_engine(url)
    with erp.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE transactions ({columns})")
        row = "'TRX-9', 'MCH-001', '2026-02-01 10:00:00', 30, 'OK', '2026-02-01 10:00:00'"
        connection.exec_driver_sql(f"INSERT INTO transactions VALUES ({row})")
    erp.dispose()
    options = {"table": "transactions", "watermark": "updated_at"}
    corridor.sources.append(
        {"name": "azure", "dataset": "transactions", "reader": "sql", "connection": "erp-azure", "options": options}
    )
    assert corridor.catalog.sources
    state = run_flow()
    assert state.is_failed()
    assert "there is no SQL Source block 'erp-azure': create it in Prefect under Blocks" in str(state.message)
    assert corridor.rows("fact_transactions", "transaction_id", "1") == [("TRX-1", 1)]
    SqlSource(url=url).save("erp-azure")
    assert run_flow().is_completed()
    assert corridor.rows("fact_transactions", "transaction_id", "1") == [("TRX-1", 1), ("TRX-9", 1)]
    assert reconcile(steps.warehouse()) == []


def test_dpa_run_loads_sources_with_blocks_by_the_flow(corridor: Corridor, home: Path, server: dict[str, str]) -> None:
    with OddApi() as api:
        HttpApi(base_url=api.url, private=True).save("erp-machines")
        api.reply = lambda _: Reply(MACHINES)
        place = {"connection": "erp-machines", "location": "machines"}
        corridor.sources.append({"name": "api", "dataset": "machines", "reader": "http_api", **place})
        assert corridor.catalog.sources
        done = subprocess.run(
            [sys.executable, "-m", "freight.console.cli", "run", "api"],
            cwd=PROJECT_ROOT,
            env={**os.environ, **server, "DPA_HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done
    assert "2 rows read: 2 changed the warehouse" in done.stdout
    assert corridor.rows("batches", "source", "read_rows") == [("api", 2)]


def test_a_run_in_which_a_fallback_serves_is_degraded(corridor: Corridor) -> None:
    corridor.sources.append(
        {"name": "api", "dataset": "machines", "reader": "http_api", "connection": "erp-api", "location": "machines"}
        | {"fallbacks": ["machines"]}
    )
    assert corridor.catalog.sources
    with OddApi() as api:
        HttpApi(base_url=api.url, private=True).save("erp-api")
        api.reply = lambda _: Reply("", 404)
        state = run_flow()
        assert (state.is_completed(), state.name) == (True, "Degraded")
        assert "REPLACED api: erp-api/machines: " in str(state.message)
        assert "its fallback machines takes its place" in str(
            getattr(Artifact.get("load-nightly-summary"), "description", None)
        )
        assert len(corridor.rows("dim_machines", "machine_id", "1")) == 2
        api.reply = lambda _: Reply(MACHINES)
        assert run_flow().name == "Completed"
    assert ("api", "erp-api/machines") in corridor.rows("batches", "source", "location")


def test_a_bad_file_fails_the_flow_with_a_clear_message_and_the_others_load(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260203.csv", ["TRX-2,MCH-001,never,1,OK"])
    state = run_flow()
    assert state.is_failed()
    headline, reason = str(state.message).splitlines()
    assert headline == "1 of 3 files failed; the others are loaded"  # Prefect shows the beginning only
    assert "FAILED erp: erp_20260203.csv: 1 of 1 row breaks the contract" in reason
    assert markdown(reason) in str(getattr(Artifact.get("load-nightly-summary"), "description", None))
    assert corridor.rows("fact_transactions", "transaction_id", "1") == [("TRX-1", 1)]


def test_a_run_that_left_something_out_is_completed_by_the_name_degraded(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260203.csv", ["TRX-2,MCH-001,never,1,OK"])
    run_flow()
    state = run_flow()
    assert (state.is_completed(), state.name) == (True, "Degraded")
    assert "PARKED erp: erp_20260203.csv" in str(state.message)
    assert isinstance(state.result(), RunReport)


def test_columns_that_changed_are_shown_with_the_remedy(corridor: Corridor) -> None:
    def rows(first: int, volume: int) -> list[str]:
        return [f"TRX-{first + i},MCH-001,2026-02-01 10:00:00,{volume},OK" for i in range(200)]

    corridor.write_transactions("erp_20260203.csv", rows(1_000, 10))
    run_flow()
    corridor.write_transactions("erp_20260204.csv", rows(2_000, 1_000))
    state = run_flow()
    assert (state.is_completed(), state.name) == (True, "Degraded")
    drift = "DRIFT erp erp_20260204.csv: volume_transferred_t is about 100 times as large: "
    assert drift in str(state.message)
    assert drift in str(getattr(Artifact.get("load-nightly-summary"), "description", None))
    renamed = HEADER.replace("status_code", "statut_code")
    corridor.write("erp_20260205.csv", "\n".join([renamed, *rows(3_000, 10)]))
    state = run_flow()
    assert (state.is_failed(), "[renamed_column]" in str(state.message)) == (True, True)
    remedy = "add 'statut_code' to the aliases of 'status_code' in freight/contracts/transactions.py, then `dpa retry"
    assert remedy in str(getattr(Artifact.get("load-nightly-summary"), "description", None))


STEPS: dict[str, Callable[..., str]] = {
    "begin_run": lambda *_: "",
    "plan_source": lambda _, source: source.name,
    "extract_unit": lambda planned, *_: planned.unit.location,
    "transform_unit": lambda planned, *_: planned.unit.location,
    "load_conformed": lambda _, planned, __: planned.unit.location,
    "fail_unit": lambda _, unit, __: unit.location,
    "archive_loaded": lambda source, *_: source.name,
    "finish_run": lambda *_: "",
}


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the core is asked to do, by whomever: each step with its source or file."""
    taken: list[str] = []

    def recorded(name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            taken.append(f"{name} {STEPS[name](*arguments)}")
            return honest(*arguments, **named)

        return step

    for name in STEPS:
        step = recorded(name, getattr(pipeline, name))
        monkeypatch.setattr(pipeline, name, step)
        monkeypatch.setattr(pipeline.steps, name, step)
    return taken


def test_prefect_takes_the_steps_of_the_core_in_their_order(corridor: Corridor, steps_taken: list[str]) -> None:
    corridor.sources[1]["archive"] = "archive"
    corridor.add_source("fresh", "machines", "json", "fresh*.json", fallbacks=["machines"])
    corridor.write_transactions("erp_20260203.csv", ["TRX-2,MCH-001,never,1,OK"])
    corridor.load()
    by_the_core, steps_taken[:] = [*steps_taken], []
    assert {step.partition(" ")[0] for step in by_the_core} == STEPS.keys()
    empty(corridor.engine)
    corridor.write_transactions("erp_20260202.csv", [GOOD])
    run_flow()
    assert steps_taken == by_the_core


def test_the_log_file_tells_who_ran_what_and_why_rows_were_quarantined(corridor: Corridor, home: Path) -> None:
    rows = [GOOD.replace("TRX-1", f"TRX-{i}") for i in range(5)]
    corridor.write_transactions("erp_20260203.csv", [*rows, "TRX-9,MCH-001,2026-02-01 10:00:00,-1,OK"])
    run_flow()
    log = (home / "logs" / "dpa.log").read_text(encoding="utf-8")
    assert "started by" in log
    assert "erp_20260203.csv (sha256 " in log
    assert "row 7: volume_transferred_t is not between 0 and 5000 tonnes [out_of_range]" in log


def test_prefect_shows_a_named_run_with_what_the_core_logged(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260203.csv", [GOOD, "TRX-2,MCH-001,2026-02-01 10:00:00,1,OK"])
    state = run_flow()
    with get_client(sync_client=True) as prefect:
        run_id = state.state_details.flow_run_id
        assert run_id
        assert re.fullmatch(r"load-nightly [\d-]{10} [\d:]{8} UTC", prefect.read_flow_run(run_id).name)
        messages = logged_within(prefect, run_id, r"run .* completed")
    assert [message for message in messages if message.startswith("loaded erp erp_20260203.csv (sha256 ")]


@pytest.mark.usefixtures("corridor")
def test_a_step_that_fails_for_a_moment_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def failing_once(*arguments: Any) -> int:
        calls.append(arguments)
        if len(calls) == 1:
            raise TransientError("the warehouse is not ready: connection lost")
        return 1

    monkeypatch.setattr("tasks.load.aggregates.refresh_aggregates", failing_once)
    monkeypatch.setattr(steps.refresh_aggregates, "retry_delay_seconds", [0, 0, 0, 0])
    assert run_flow().is_completed()
    assert len(calls) == 2


def test_the_report_is_written_and_its_failure_never_harms_the_load(
    corridor: Corridor, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_flow().is_completed()
    report = home / "reports" / "supply_chain_report.xlsx"
    assert report.stat().st_size > 0
    report.unlink()
    report.mkdir()  # nothing can be put in its place
    corridor.write_transactions("erp_20260203.csv", [GOOD.replace("TRX-1", "TRX-2")])
    assert run_flow().is_completed()
    assert "not written" in capsys.readouterr().out


def test_simulated_and_real_data_never_mix(corridor: Corridor) -> None:
    run_flow()
    for source in corridor.sources:
        source["simulated"] = True
    assert corridor.catalog.simulated
    state = run_flow()
    assert state.is_failed()
    assert "the warehouse holds real data and this load would add simulated data" in str(state.message)


@pytest.fixture
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["load_nightly"])


@pytest.mark.usefixtures("corridor", "_no_arguments")
def test_the_exit_code_is_0_when_all_is_loaded() -> None:
    assert main() == 0


@pytest.mark.usefixtures("_no_arguments")
def test_the_exit_code_is_1_when_a_file_failed(corridor: Corridor) -> None:
    corridor.write_transactions("erp_20260203.csv", ["TRX-2,MCH-001,never,1,OK"])
    assert main() == 1


@pytest.mark.usefixtures("corridor", "_no_arguments")
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DPA_CATALOG", "nowhere.yaml")
    assert main() == 2
    said = capsys.readouterr().err
    assert re.search(r"^error: the catalog cannot be read: .*nowhere.yaml", said, re.MULTILINE)
    assert "Traceback" not in said


def test_an_argument_that_nobody_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["load_nightly", "--day", "2026-02-01"])
    with pytest.raises(SystemExit, match="2"):
        main()
