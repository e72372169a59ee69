"""Why a row is in quarantine, in words: every fault and every rule of every contract has some."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

import polars as pl
import pytest

from freight.contracts import Column, Contract, contract_for, contracts
from freight.contracts.rules import BrokenRule, Ordered, rules_of
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER, BadRow, each_bad_row
from freight.reports.faults import FAULTS, broken_rules_of, faults_of, in_words
from freight.types import FaultCode
from freight.validation import Locale, split

TRANSACTIONS = contract_for("transactions")
FAULT = BadRow(2, None, "ragged_row", "7 cells in place of 5", b"")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_every_fault_has_words_and_nothing_else_has() -> None:
    assert FAULTS.keys() == set(get_args(FaultCode))
    assert all(" " in words for words in FAULTS.values())


@pytest.mark.parametrize("contract", contracts().values(), ids=contracts())
def test_every_rule_has_words_that_begin_with_its_column(contract: Contract) -> None:
    for rule in rules_of(contract):
        told = in_words(contract, rule.key, {})
        assert told.startswith(f"{rule.key.columns[0]} "), told


def test_no_rule_has_the_code_of_a_fault() -> None:
    reasons = {rule.key.reason for contract in contracts().values() for rule in rules_of(contract)}
    assert not reasons & FAULTS.keys()


@pytest.mark.parametrize(
    ("column", "wrong", "stated"),
    [
        (Column("age_s", "integer", "", minimum=0), "age_s is less than 0", "at least 0"),
        (Column("age_s", "integer", "", unit="seconds", maximum=9), "age_s is more than 9 seconds", "at most 9"),
        (Column("age_s", "number", "", minimum=0, maximum=9.5), "age_s is not between 0 and 9.5", "0 to 9.5"),
        (
            Column("seen_at", "instant", "", not_before="2000-01-01"),
            "seen_at is not between 2000-01-01 and 2100-01-01",
            "from 2000-01-01",
        ),
    ],
)
def test_a_range_is_told_with_its_bounds(column: Column, wrong: str, stated: str) -> None:
    contract = Contract("sample", 1, "sample", (), (column,), freshness_s=0, load_order=0)
    (rule,) = (rule for rule in rules_of(contract) if rule.key.reason == "out_of_range")
    assert (in_words(contract, rule.key, {}), rule.stated) == (wrong, stated)


def test_each_rule_that_a_row_breaks_is_kept_as_data() -> None:
    row = {ROW_NUMBER: 2, "transaction_id": "TRX-1", "volume_transferred_t": "-1", "status_code": "OK"}
    rows = pl.DataFrame([row | {"transaction_at": "2026-02-01 10:00:00", "machine_id": ""}])
    quarantined = split(rows, TRANSACTIONS, Locale(), NOW).quarantined
    (bad,) = each_bad_row(quarantined)
    assert bad.detail == "machine_id: required; volume_transferred_t: out_of_range"
    assert broken_rules_of(bad) == [
        BrokenRule("required", ("machine_id",)),
        BrokenRule("out_of_range", ("volume_transferred_t",)),
    ]


@pytest.mark.parametrize("detail", ["7 cells in place of 5", "machine_id: required; and more", "machine_id: required"])
def test_what_a_reader_says_is_never_read_as_rules(detail: str) -> None:
    fault = FAULT._replace(detail=detail)
    (broken,) = broken_rules_of(fault)
    assert broken == BrokenRule("ragged_row", ())
    told = in_words(TRANSACTIONS, broken, {}, fault.detail)
    assert told == f"the row has more or fewer cells than the header ({detail})"


def test_a_fault_of_a_column_names_it_where_the_contract_has_it() -> None:
    nested, of_a_header = (BrokenRule("nested_value", (name,)) for name in ("status_code", "Statut"))
    assert in_words(TRANSACTIONS, nested, {}, "x") == "status_code: a list or an object stands where a value belongs"
    assert in_words(TRANSACTIONS, of_a_header, {}, "x") == "a list or an object stands where a value belongs (x)"


def test_a_rule_that_the_contract_has_no_more_leads_to_a_replay() -> None:
    lenient = replace(TRANSACTIONS, columns=tuple(replace(column, pattern=None) for column in TRANSACTIONS.columns))
    told = in_words(lenient, BrokenRule("pattern", ("machine_id",)), {})
    assert told == "machine_id: pattern, a rule that the contract no longer has: replay the row"


def test_a_code_is_told_by_an_example_and_not_by_an_expression() -> None:
    told = in_words(TRANSACTIONS, BrokenRule("pattern", ("machine_id",)), {})
    assert told == "machine_id is not a code such as MCH-007"


@pytest.mark.parametrize("example", ["", "DLA-1"])
def test_an_example_that_does_not_match_is_refused(example: str) -> None:
    with pytest.raises(ConfigurationError, match=r"site: its example .* does not match \[A-Z\]\{3\}"):
        Column("site", "text", "", pattern="[A-Z]{3}", example=example)


def test_a_log_has_no_values_of_rows() -> None:
    row = FAULT._replace(reason="out_of_order", broken_rules='[{"columns": ["a_t", "b_t"], "reason": "out_of_order"}]')
    weights = Contract(
        "weights",
        1,
        "weights",
        (),
        (Column("a_t", "number", ""), Column("b_t", "number", "")),
        0,
        0,
        rules=(Ordered("a_t", "<", "b_t"),),
    )
    assert faults_of(row, weights, None) == "a_t must be less than b_t: correct one of them"
    assert faults_of(row, weights, {"a_t": "2"}) == "a_t ('2') must be less than b_t (empty): correct one of them"
