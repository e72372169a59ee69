"""What is wrong, in words: every reason has some, for every column that it may be told of."""

from typing import get_args

import pytest

from freight.contracts import Column, contracts
from freight.quarantine.words import broken_rules, in_words
from freight.types import ReasonCode

TRANSACTIONS = contracts()["transactions"]
COLUMNS = [column for contract in contracts().values() for column in contract.columns]


@pytest.mark.parametrize("reason", get_args(ReasonCode))
def test_every_reason_has_words(reason: str) -> None:
    for column in COLUMNS:
        told = in_words(reason, column).removeprefix(column.name).strip(" :")
        assert " " in told, told


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (Column("age_s", "integer", "", minimum=0), "age_s is less than 0"),
        (Column("age_s", "integer", "", unit="seconds", maximum=9), "age_s is more than 9 seconds"),
        (Column("age_s", "number", "", minimum=0, maximum=9.5), "age_s is not between 0 and 9.5"),
        (Column("seen_at", "instant", "", not_before="2000-01-01"), "seen_at is before 2000-01-01"),
    ],
)
def test_a_range_is_told_with_its_bounds(column: Column, told: str) -> None:
    assert in_words("out_of_range", column) == told


def test_each_rule_that_a_row_breaks_is_told() -> None:
    detail = "machine_id: required; volume_transferred_t: out_of_range"
    rules = broken_rules(TRANSACTIONS, "machine_id", "required", detail)
    assert [(column.name if column else None, reason) for column, reason in rules] == [
        ("machine_id", "required"),
        ("volume_transferred_t", "out_of_range"),
    ]


@pytest.mark.parametrize("detail", [None, "7 cells in place of 5", "machine_id: required; and more", "machine_id: why"])
def test_what_a_reader_tells_is_no_list_of_rules(detail: str | None) -> None:
    assert broken_rules(TRANSACTIONS, None, "ragged_row", detail) == [(None, "ragged_row")]
