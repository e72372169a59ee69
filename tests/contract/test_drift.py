"""Columns that are renamed, added, dropped, retyped or scaled are found before anything is loaded, on both engines."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from freight.console.summary import check_line
from freight.contracts import Contract, contract_for, contracts
from freight.contracts.contract import Drift
from freight.pipeline import RunReport, UnitOutcome, check_source
from freight.quarantine.replay import ReplayOutcome, replay
from freight.types import LoadCounts, RunId
from freight.warehouse.connect import reading, transaction
from freight.warehouse.ledger import release
from freight.warehouse.reconcile import check_ledger
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import HEADER, NOW, Corridor, nightly

AT = "2026-02-01 10:00:00"
MANY = 240  # rows: enough to be compared with
_ids = count(1)


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return nightly(tmp_path, warehouse.engine)


class ContractUnderTest:
    """The contract of a dataset, which a test changes as a developer would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def becomes(self, contract: Contract) -> None:
        self._monkeypatch.setitem(contracts(), contract.dataset, contract)

    def has_policy(self, drift: Drift, dataset: str = "transactions") -> None:
        self.becomes(replace(contract_for(dataset), drift=drift))

    def learns(self, column: str, alias: str, dataset: str = "transactions") -> None:
        known = contract_for(dataset)
        columns = [replace(c, aliases=(*c.aliases, alias)) if c.name == column else c for c in known.columns]
        self.becomes(replace(known, columns=tuple(columns)))


@pytest.fixture
def contract(monkeypatch: pytest.MonkeyPatch) -> ContractUnderTest:
    return ContractUnderTest(monkeypatch)


def rows_of(volumes: list[float], status: str = "OK") -> list[str]:
    return [f"TRX-{next(_ids)},MCH-001,{AT},{volume:g},{status}" for volume in volumes]


def usual_volumes(factor: float = 1.0) -> list[float]:
    return [factor * (1 + i % 40) for i in range(MANY)]


def write(corridor: Corridor, day: int, rows: list[str], header: str = HEADER) -> str:
    name = f"erp_202602{day:02}.csv"
    corridor.write(name, "\n".join([header, *rows]) + "\n")
    return name


def outcome_of(report: RunReport, location: str) -> UnitOutcome:
    return next(outcome for outcome in report.outcomes if outcome.location == location)


def only_fault(corridor: Corridor) -> str:
    ((fault, _),) = corridor.rows("load_attempts", "fault", "attempt_id")
    return str(fault)


def retry(corridor: Corridor) -> None:
    with transaction(corridor.engine) as connection:
        release(connection, None, NOW)


def replay_all(corridor: Corridor) -> list[ReplayOutcome]:
    run_id = RunId(str(uuid4()))
    return replay(corridor.engine, corridor.catalog, run_id=run_id, source=None, clock=lambda: NOW)


def assert_proved(corridor: Corridor) -> None:
    with reading(corridor.engine) as connection:
        assert check_ledger(connection) == []


RENAMED = HEADER.replace("volume_transferred", "Poids net")
ADDED = f"{HEADER},couleur"


def test_a_renamed_column_is_told_with_the_old_and_the_new_header(corridor: Corridor) -> None:
    write(corridor, 1, rows_of([1, 2]))
    corridor.load()
    name = write(corridor, 2, rows_of([1, 2, 3, 4, 5]), RENAMED)
    failure = outcome_of(corridor.load(), name)
    assert failure.state == "failed"
    assert only_fault(corridor) == "renamed_column"
    assert "'Poids net' seems to be the new header of 'volume_transferred_t', by its values" in failure.message
    assert "it reads 'transaction_id', 'machine_id', 'date', 'Poids net', 'status_code'" in failure.message
    assert "the last one loaded read 'transaction_id', 'machine_id', 'date', 'volume_transferred'" in failure.message
    assert corridor.rows("batches", "location", "1") == [(n, 1) for n in ("erp_20260201.csv", "machines_20260101.json")]


def test_the_remedy_of_a_renamed_column_lets_the_file_load(corridor: Corridor, contract: ContractUnderTest) -> None:
    name = write(corridor, 2, rows_of([1, 2, 3, 4, 5]), RENAMED)
    contract.learns(*remedy_of(outcome_of(corridor.load(), name).message))
    retry(corridor)
    assert corridor.load().counts("erp") == LoadCounts(read=5, inserted=5)
    assert corridor.rows("fact_transactions", "SUM(volume_transferred_t)", "1") == [(15.0, 1)]


def remedy_of(message: str) -> tuple[str, str, str]:
    """Return the column, the alias and the dataset of the contract that a message names."""
    said = re.search(r"add '(.+?)' to the aliases of '(\w+)' in freight/contracts/(\w+)\.py, then `dpa ", message)
    assert said, message
    alias, column, dataset = said.groups()
    return column, alias, dataset


def test_an_added_column_is_left_out_and_told_if_the_contract_allows_it(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    contract.has_policy("allow_added")
    name = write(corridor, 1, [f"{row},rouge" for row in rows_of([1, 2])], ADDED)
    loaded = outcome_of(corridor.load(), name)
    assert loaded.counts == LoadCounts(read=2, inserted=2)
    assert (loaded.message, loaded.drift) == ("columns left out, unknown to the contract: 'couleur'", "")
    assert '"left_out":["couleur"]' in profile_of(corridor, name)
    assert_proved(corridor)


def profile_of(corridor: Corridor, location: str) -> str:
    return str(dict(corridor.rows("batches", "location", "profile"))[location])


@pytest.mark.parametrize("policy", ["allow_added", "freeze"])
def test_a_dropped_column_fails_whatever_may_be_added(
    corridor: Corridor, contract: ContractUnderTest, policy: Drift
) -> None:
    contract.has_policy(policy)
    write(corridor, 1, [f"TRX-1,MCH-001,{AT},OK,rouge"], "transaction_id,machine_id,date,status_code,couleur")
    (failure,) = corridor.load().failures
    assert "the header lacks 'volume_transferred_t'" in failure.message
    assert only_fault(corridor) == "missing_column"


def test_a_column_that_seems_renamed_is_not_left_out_as_an_added_one(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    contract.has_policy("allow_added", "machines")
    machine = {"machine_id": "MCH-003", "site_location": "Edéa", "installation_year": 2012, "machine_typ": "crane"}
    corridor.write_machines("machines_20260102.json", [machine])
    failure = corridor.load().failures[0]
    assert "'machine_typ' seems to be the new header of 'machine_type', by its name" in failure.message


def test_a_drifted_file_waits_in_quarantine_until_the_contract_knows_its_header(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    contract.has_policy("quarantine")
    rows = rows_of([1, 2, 3, 4, 5])
    name = write(corridor, 1, [*rows, "TRX-9,MCH-001,never,,OK"], RENAMED)
    loaded = outcome_of(corridor.load(), name)
    assert loaded.counts == LoadCounts(read=6, quarantined=6)
    assert loaded.reason_counts == {"schema_drift": 6}
    assert "[renamed_column]" in loaded.drift
    assert "then `dpa replay`" in loaded.drift
    reasons = corridor.rows("quarantine", "reason", "detail", "column_name")
    assert set(reasons) == {
        ("schema_drift", "missing: 'volume_transferred_t', unknown: 'Poids net'", "volume_transferred_t")
    }
    (_, raw) = corridor.rows("quarantine", "row_number", "raw", order_by="1")[0]
    assert json.loads(bytes(raw)) == {
        "transaction_id": rows[0].partition(",")[0],
        "machine_id": "MCH-001",
        "transaction_at": AT,
        "Poids net": "1",
        "status_code": "OK",
    }
    assert [told.waiting for told in replay_all(corridor)] == [6]

    contract.learns("volume_transferred_t", "poids_net")
    (told,) = replay_all(corridor)
    assert (told.counts, told.waiting) == (LoadCounts(read=5, inserted=5), 1)
    assert corridor.rows("fact_transactions", "SUM(volume_transferred_t)", "1") == [(15.0, 1)]
    assert replay_all(corridor)[0].counts == LoadCounts()
    assert_proved(corridor)


def test_rows_of_a_file_without_an_unneeded_value_are_not_replayed_as_if_it_were_empty(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    contract.has_policy("quarantine")
    write(corridor, 1, [f"TRX-1,MCH-001,{AT},OK"], "transaction_id,machine_id,transaction_at,status_code")
    corridor.load()
    assert [(told.counts.read, told.waiting) for told in replay_all(corridor)] == [(0, 1)]


def test_a_snapshot_that_waits_in_quarantine_flags_no_machine_as_absent(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    corridor.load()
    contract.has_policy("quarantine", "machines")
    corridor.write("machines_20260201.json", '[{"machine_id": "MCH-001", "site_location": "Douala", "annee": 2010}]')
    assert outcome_of(corridor.load(), "machines_20260201.json").counts == LoadCounts(read=1, quarantined=1)
    assert corridor.rows("dim_machines", "machine_id", "is_absent") == [("MCH-001", False), ("MCH-002", False)]


def test_a_header_with_the_same_unknown_cell_twice_fails_under_each_policy(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    contract.has_policy("quarantine")
    write(corridor, 1, [f"{row},x,y" for row in rows_of([1])], f"{HEADER},note,note")
    (failure,) = corridor.load().failures
    assert "[unknown_column]" in failure.message


@pytest.mark.parametrize("limit", [0.3, 1.0])
def test_a_retyped_column_is_named_under_any_limit(corridor: Corridor, limit: float) -> None:
    corridor.sources[1]["quarantine_limit"] = limit
    rows = [row.replace(",OK", ",green") for row in rows_of(usual_volumes()[:30])]
    name = write(corridor, 1, [*rows_of([1, 2]), *rows])
    failure = outcome_of(corridor.load(), name)
    assert "almost no value of 'status_code' is one of OK, WARN, ERR" in failure.message
    assert "[retyped_column]. Remedy: have the source corrected" in failure.message
    assert corridor.rows("load_attempts", "fault", "quarantined") == [("retyped_column", 30)]
    assert len(corridor.rows("load_attempt_rows", "row_number", "reason")) == 30
    assert corridor.rows("fact_transactions", "transaction_id", "1") == []


def test_a_retyped_column_of_a_contract_that_quarantines_costs_its_rows_only(
    corridor: Corridor, contract: ContractUnderTest
) -> None:
    contract.has_policy("quarantine")
    name = write(corridor, 1, [*rows_of([1, 2]), *(row.replace(AT, "hier") for row in rows_of([3.0] * 30))])
    loaded = outcome_of(corridor.load(), name)
    assert loaded.counts == LoadCounts(read=32, inserted=2, quarantined=30)
    assert loaded.drift == "almost no value of 'transaction_at' is of the type instant"
    assert_proved(corridor)


def test_few_bad_values_are_no_other_type(corridor: Corridor) -> None:
    write(corridor, 1, [row.replace(AT, "hier") for row in rows_of([3.0] * 19)])
    corridor.load()
    assert only_fault(corridor) == "quarantine_limit"


def test_another_unit_is_told_once_and_loads(corridor: Corridor) -> None:
    for day in (1, 2):
        write(corridor, day, rows_of(usual_volumes()))
        assert outcome_of(corridor.load(), f"erp_202602{day:02}.csv").drift == ""
    name = write(corridor, 3, rows_of(usual_volumes(1 / 1_000)))
    loaded = outcome_of(corridor.load(), name)
    assert loaded.counts.inserted == MANY
    told = "is about 1,000 times smaller: 0.005 to 0.036 (10 % to 90 %), lately 5 to 36; another unit?"
    assert loaded.drift == f"volume_transferred_t {told}"
    write(corridor, 4, rows_of(usual_volumes(1 / 1_000)))
    assert outcome_of(corridor.load(), "erp_20260204.csv").drift == ""


def test_another_unit_is_refused_if_the_source_says_so_until_somebody_accepts_it(corridor: Corridor) -> None:
    corridor.sources[1]["on_jump"] = "refuse"
    write(corridor, 1, rows_of(usual_volumes()))
    corridor.load()
    name = write(corridor, 2, rows_of(usual_volumes(100)))
    failure = outcome_of(corridor.load(), name)
    assert "volume_transferred_t is about 100 times as large" in failure.message
    assert "[distribution_jump]. Remedy: ask the owner of the source" in failure.message
    assert len(corridor.rows("fact_transactions", "transaction_id", "1")) == MANY
    assert outcome_of(corridor.load(), name).state == "parked"
    retry(corridor)
    accepted = outcome_of(corridor.load(), name)
    assert (accepted.counts.inserted, "100 times as large" in accepted.drift) == (MANY, True)


def test_a_unit_beyond_the_range_is_told_with_the_limit(corridor: Corridor) -> None:
    write(corridor, 1, rows_of(usual_volumes()))
    corridor.load()
    name = write(corridor, 2, rows_of(usual_volumes(1_000)))
    message = outcome_of(corridor.load(), name).message
    assert "rows break the contract, the limit is 30%: out_of_range" in message
    assert "volume_transferred_t is about 1,000 times as large" in message


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (lambda: rows_of(usual_volumes(), "ERR"), "status_code is 'ERR' in 100% of the rows, lately in 0%"),
        (
            lambda: [row.replace(",1,OK", ",,OK") for row in rows_of([1] * MANY)],
            "volume_transferred_t is empty in 100%",
        ),
        (lambda: rows_of([0] * MANY), "volume_transferred_t is '0' in 100% of the rows, lately in 0%"),
    ],
    ids=["a category takes over", "values are gone", "zeros in their place"],
)
def test_a_value_that_takes_over_is_told(corridor: Corridor, rows: Callable[[], list[str]], told: str) -> None:
    write(corridor, 1, rows_of(usual_volumes()))
    corridor.load()
    name = write(corridor, 2, rows())
    loaded = outcome_of(corridor.load(), name)
    assert told in loaded.drift
    assert loaded.state == "loaded"


def test_dates_that_lie_away_from_the_day_of_the_file_are_told_and_old_days_are_not(corridor: Corridor) -> None:
    def of_2022() -> list[str]:
        return [row.replace("2026", "2022") for row in rows_of(usual_volumes())]

    write(corridor, 2, rows_of(usual_volumes()))
    corridor.load()
    corridor.write_transactions("erp_20220202.csv", of_2022())
    name = write(corridor, 3, of_2022())
    report = corridor.load()
    assert outcome_of(report, "erp_20220202.csv").drift == ""
    told = "transaction_at is days away from the day of its file: 1,463 to 1,463 (10 % to 90 %), lately 18 to 18"
    assert outcome_of(report, name).drift == told


def test_small_files_and_other_sources_are_compared_with_nothing(corridor: Corridor) -> None:
    corridor.add_source("other", "transactions", "csv", "other*.csv")
    write(corridor, 1, rows_of(usual_volumes()))
    write(corridor, 2, rows_of(usual_volumes(100)[:150]))
    corridor.write("other_20260201.csv", "\n".join([HEADER, *rows_of(usual_volumes(100))]))
    corridor.load()
    write(corridor, 3, rows_of(usual_volumes(100)[:199]))
    report = corridor.load()
    assert [outcome.drift for outcome in report.outcomes] == [""] * len(report.outcomes)


def test_a_check_tells_what_drifted_and_keeps_nothing(corridor: Corridor) -> None:
    write(corridor, 1, rows_of(usual_volumes()))
    corridor.load()
    write(corridor, 2, rows_of(usual_volumes(100)))
    write(corridor, 3, rows_of([1, 2, 3, 4, 5]), RENAMED)
    catalog = corridor.catalog
    checks = check_source(corridor.engine, catalog.only(["erp"]).sources[0], NOW)
    told = [check.outcome for check in checks]
    assert [outcome.state for outcome in told] == ["unchanged", "loaded", "failed"]
    assert "100 times as large" in told[1].drift
    remedy = "add 'poids_net' to the aliases of 'volume_transferred_t' in freight/contracts/transactions.py"
    assert remedy in told[2].message
    shown = "\n".join(map(check_line, checks))
    assert "DRIFT erp erp_20260202.csv: 240 rows: 240 new" in shown
    assert "FAILED erp erp_20260203.csv" in shown
    assert remedy in shown
    assert len(corridor.rows("batches", "batch_id", "1")) == 2
    assert corridor.rows("load_attempts", "attempt_id", "1") == []


@pytest.mark.parametrize("reader", ["json", "jsonl"])
def test_a_renamed_key_is_told_with_its_remedy(corridor: Corridor, reader: str) -> None:
    corridor.sources[0] |= {"reader": reader, "location": f"keys*.{reader}"}
    machines = [{"machine_id": f"MCH-{i:03}", "site_location": "Edéa", "mise_en_service": 2000 + i} for i in range(6)]
    lines = [json.dumps(machine) for machine in machines]
    corridor.write(f"keys_20260102.{reader}", f"[{','.join(lines)}]" if reader == "json" else "\n".join(lines))
    failure = corridor.load().failures[0]
    assert "'mise_en_service' seems to be the new header of 'installation_year', by its values" in failure.message
    assert remedy_of(failure.message) == ("installation_year", "mise_en_service", "machines")
