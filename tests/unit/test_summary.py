"""The summary that a person reads at the end of a run."""

import io

from rich.console import Console

from freight.console.summary import headline, print_summary, shortfalls
from freight.pipeline import RunReport, UnitOutcome, UnitState
from freight.types import LoadCounts, RunId

MILLION = LoadCounts(read=1_000_000, inserted=899_999, unchanged=100_000, quarantined=1)


def summary(*outcomes: UnitOutcome, simulated: bool = False) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_summary(console, RunReport(RunId("run-1"), outcomes), simulated=simulated, places={"log": "logs/dpa.log"})
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_no_number_is_cut_off_on_a_terminal_of_80_columns() -> None:
    text = summary(UnitOutcome("erp_csv", "a.csv", "loaded", MILLION))
    assert "…" not in text
    assert all(number in text for number in ("1,000,000", "899,999", "100,000"))


def test_a_failed_file_is_told_with_its_message_and_the_others_count() -> None:
    bad = UnitOutcome("erp", "b.csv", "failed", message="b.csv: the file is empty [empty]. Remedy: deliver it again")
    text = summary(UnitOutcome("erp", "a.csv", "loaded", MILLION), bad)
    assert "FAILED erp: b.csv: the file is empty" in text
    assert "1 of 2 files failed; the others are loaded" in text


def test_parked_files_are_not_called_loaded() -> None:
    parked = UnitOutcome("erp", "b.csv", "parked", message="b.csv: failed before")
    assert "1 of 1 file failed before and wait for `dpa retry`; no other file is new" in summary(parked)
    assert "1 of 2 files failed; 1 parked" in summary(parked, UnitOutcome("erp", "c.csv", "failed", message="c.csv"))


def test_files_that_wait_are_told_and_are_no_failure() -> None:
    waiting = UnitOutcome("erp", "b.csv", "waiting", message="b.csv: changed 3 s ago")
    loaded = UnitOutcome("erp", "a.csv", "loaded", MILLION)
    assert "WAITING erp: b.csv: changed 3 s ago" in summary(loaded, waiting)
    assert headline(RunReport(RunId("run-1"), (loaded, waiting))).endswith("1 quarantined; 1 left for the next run")


def test_nothing_to_do_is_no_headline_for_broken_files() -> None:
    states: tuple[UnitState, ...] = ("unchanged", "parked", "replaced", "gone", "waiting")
    outcomes = [UnitOutcome("erp", f"{state}.csv", state) for state in states]
    assert headline(RunReport(RunId("run-1"), tuple(outcomes))) == (
        "1 of 5 files failed before and wait for `dpa retry`, 1 of 5 files cannot be used and have a fallback, "
        "1 of 5 files failed before and are gone; no other file is new; 1 left for the next run"
    )
    idle = headline(RunReport(RunId("run-1"), (outcomes[0], outcomes[-1])))
    assert idle == "Nothing to do: no file is new, the warehouse is unchanged; 1 left for the next run"


def test_a_message_is_never_wrapped_within_a_path() -> None:
    path = "/".join(["folder"] * 30) + "/erp.csv"
    assert path in summary(UnitOutcome("erp", path, "failed", message=f"{path}: the file is empty"))


def test_simulated_data_is_never_taken_for_real() -> None:
    assert "SIMULATED" in summary(UnitOutcome("erp", "a.csv", "loaded", MILLION), simulated=True)
    assert "SIMULATED" not in summary(UnitOutcome("erp", "a.csv", "loaded", MILLION))


def test_what_a_load_left_out_is_parked_files_and_sources_with_many_rows_in_quarantine_and_drift_is_told() -> None:
    outcomes = (
        UnitOutcome("few", "a.csv", "loaded", LoadCounts(read=100, inserted=95, quarantined=5)),
        UnitOutcome("many", "b.csv", "loaded", LoadCounts(read=100, inserted=95, quarantined=5)),
        UnitOutcome("many", "c.csv", "loaded", LoadCounts(read=10, inserted=9, quarantined=1)),
        UnitOutcome("parked", "d.csv", "parked", message="d.csv: failed before"),
        UnitOutcome("idle", "e.csv", "unchanged", unarchived="e.csv: permission denied"),
        UnitOutcome("slow", "f.csv", "waiting", message="f.csv: changed 3 s ago"),
        UnitOutcome("odd", "g.csv", "loaded", LoadCounts(read=1, inserted=1), drift="volume_t is 100 times as large"),
    )
    told = shortfalls(RunReport(RunId("run-1"), outcomes), degraded_share=0.05)
    assert told == [
        "PARKED parked: d.csv: failed before",
        "DRIFT odd g.csv: volume_t is 100 times as large",
        "NOT ARCHIVED idle: e.csv: permission denied",
        "QUARANTINE many: 6 of 110 rows",
    ]
    assert told[1] in summary(*outcomes)
    assert told[2] in summary(*outcomes)
    assert shortfalls(RunReport(RunId("run-1"), outcomes[:3]), degraded_share=1) == []
