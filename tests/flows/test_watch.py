"""The flow that looks for what is overdue: when it is silent, and when it cannot look."""

from pathlib import Path
from typing import Any

from prefect import State

from flows.load_nightly import load_nightly
from flows.watch import SIMULATED, watch
from freight.warehouse.migrate import migrate
from tasks import load as steps
from tests.lib.corridor import HEADER


def run_flow(**parameters: Any) -> State[Any]:
    state = watch(**parameters, return_state=True)
    assert isinstance(state, State)
    return state


def test_nobody_waits_for_simulated_data(home: Path) -> None:
    source = "{name: sim, dataset: transactions, reader: csv, location: '*.csv', simulated: true}"
    (home / "catalog.yaml").write_text(f"sources: [{source}]", encoding="utf-8")
    (home / "sim.csv").write_text(f"{HEADER}\nTRX-1,MCH-001,2026-03-14 10:00:00,30,OK\n", encoding="utf-8")
    migrate(steps.warehouse())
    assert load_nightly(return_state=True).is_completed()
    state = run_flow(freshness_s={"transactions": 0})
    assert (state.is_completed(), state.message) == (True, SIMULATED)


def test_it_says_in_a_line_why_it_cannot_look(home: Path) -> None:
    assert home
    unmigrated = run_flow()
    assert (unmigrated.is_failed(), unmigrated.name) == (True, "Failed")
    assert "dpa migrate" in str(unmigrated.message)
    migrate(steps.warehouse())
    mistyped = run_flow(freshness_s={"transaction": 1})
    assert (mistyped.name, str(mistyped.message).splitlines()[0][:29]) == ("Failed", "unknown dataset 'transaction'")
    assert run_flow().is_completed()  # an empty warehouse


def test_every_parameter_is_described_in_the_form() -> None:
    parameters = watch.parameters.properties
    assert [name for name, told in parameters.items() if not told.get("description")] == []
