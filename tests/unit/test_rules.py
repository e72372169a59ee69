"""Rules over several columns: when a row keeps them, what people read, and that a new kind is one entry."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, override

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freight.contracts import Column, Contract, RowRule, contracts
from freight.contracts.contract import Show
from freight.contracts.rules import BrokenRule, Cells, Ordered, RequiredBy, read_broken_rules
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER, BadRow, each_bad_row
from freight.reports.faults import broken_rules_of, in_words
from freight.validation import Locale, Split, split
from freight.warehouse.dictionary import render
from tests.lib import oracle
from tests.lib.examples import examples

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRIPS = Contract(
    dataset="trips",
    version=1,
    table="fact_trips",
    business_key=("trip_id",),
    freshness_s=0,
    load_order=0,
    columns=(
        Column("trip_id", "text", "", required=True),
        Column("departed_at", "instant", ""),
        Column("arrived_at", "instant", ""),
        Column("tare_t", "number", "", unit="tonnes"),
        Column("gross_t", "number", "", unit="tonnes"),
        Column("wagons", "integer", ""),
        Column("day", "date", ""),
        Column("status", "text", "", allowed=("OK", "ERR", "HALT")),
        Column("remark", "text", ""),
    ),
    rules=(
        Ordered("arrived_at", ">=", "departed_at"),
        Ordered("tare_t", "<", "gross_t"),
        RequiredBy("remark", "status", ("ERR", "HALT")),
    ),
)
EIGHT, NINE = "2026-02-01 08:00:00", "2026-02-01 09:00:00"


@pytest.fixture(autouse=True, scope="module")
def trips_are_a_dataset() -> Iterator[None]:
    contracts()[TRIPS.dataset] = TRIPS
    yield
    del contracts()[TRIPS.dataset]


def rows(contract: Contract, *cells: Mapping[str, str]) -> pl.DataFrame:
    schema = {ROW_NUMBER: pl.Int64, **dict.fromkeys(contract.column_names, pl.String)}
    return pl.DataFrame([{ROW_NUMBER: n, "trip_id": "T-1", **one} for n, one in enumerate(cells, 2)], schema=schema)


def judged(contract: Contract, *cells: Mapping[str, str]) -> Split:
    return split(rows(contract, *cells), contract, Locale(), NOW)


def bad_row(contract: Contract, cells: Mapping[str, str]) -> BadRow:
    (row,) = each_bad_row(judged(contract, cells).quarantined)
    return row


def broken(contract: Contract, **cells: str) -> list[str]:
    """Return the rules that a row breaks, as its detail has them."""
    details = judged(contract, cells).quarantined["detail"].to_list()
    return details[0].split("; ") if details else []


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ({"departed_at": EIGHT, "arrived_at": NINE}, []),
        ({"departed_at": EIGHT, "arrived_at": EIGHT}, []),
        ({"departed_at": NINE, "arrived_at": EIGHT}, ["arrived_at, departed_at: out_of_order"]),
        ({"departed_at": NINE, "arrived_at": "2026-02-01T09:00:00+02:00"}, ["arrived_at, departed_at: out_of_order"]),
        ({"departed_at": NINE}, []),
        ({"arrived_at": NINE}, []),
        ({"departed_at": NINE, "arrived_at": "eight"}, ["arrived_at: wrong_type"]),
        ({"tare_t": "20", "gross_t": "60"}, []),
        ({"tare_t": "20", "gross_t": "20"}, ["tare_t, gross_t: out_of_order"]),
        ({"tare_t": "NaN", "gross_t": "60"}, ["tare_t: not_finite"]),
        ({"tare_t": "60", "gross_t": "NaN"}, ["gross_t: not_finite"]),
        ({"tare_t": "inf", "gross_t": "60"}, ["tare_t: not_finite", "tare_t, gross_t: out_of_order"]),
        ({"status": "OK"}, []),
        ({}, []),
        ({"status": "err"}, ["remark, status: required_by"]),
        ({"status": "HALT", "remark": "  "}, ["remark, status: required_by"]),
        ({"status": "ERR", "remark": "stuck"}, []),
        ({"status": "ERR", "remark": "\x00"}, ["remark: control_character"]),
        ({"status": "LATE"}, ["status: not_allowed"]),
    ],
)
def test_a_row_is_judged_by_what_its_cells_hold(cells: dict[str, str], found: list[str]) -> None:
    assert broken(TRIPS, **cells) == found


@pytest.mark.parametrize(
    ("order", "kept"), [("<", (True, False, False)), ("<=", (True, True, False)), (">=", (False, True, True))]
)
def test_each_order_holds_as_it_is_written(order: Any, kept: tuple[bool, ...]) -> None:
    columns = (*TRIPS.columns, Column("load_t", "integer", "", unit="tonnes"))
    contract = replace(TRIPS, columns=columns, rules=(Ordered("load_t", order, "tare_t"),))
    assert tuple(not broken(contract, load_t="2", tare_t=tare) for tare in ("3", "2", "1")) == kept


def test_a_column_that_the_file_lacks_is_empty_in_each_row() -> None:
    columns = tuple(replace(column, optional=True) for column in TRIPS.columns)
    frame = rows(TRIPS, {"status": "ERR"}, {"status": "OK"}).select(ROW_NUMBER, "trip_id", "status")
    halves = split(frame, replace(TRIPS, columns=columns), Locale(), NOW)
    assert halves.quarantined[ROW_NUMBER].to_list() == [2]


def test_broken_rules_are_data_beside_the_words() -> None:
    row = bad_row(TRIPS, {"departed_at": NINE, "arrived_at": EIGHT, "status": "ERR"})
    assert (row.column_name, row.reason) == ("arrived_at", "out_of_order")
    assert json.loads(row.broken_rules or "") == [
        {"columns": ["arrived_at", "departed_at"], "reason": "out_of_order"},
        {"columns": ["remark", "status"], "reason": "required_by"},
    ]
    assert read_broken_rules(row.broken_rules) == broken_rules_of(row)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (
            {"departed_at": NINE, "arrived_at": EIGHT},
            f"arrived_at ('{EIGHT}') must not be before departed_at ('{NINE}'): correct one of them",
        ),
        ({"tare_t": "30", "gross_t": "20"}, "tare_t ('30') must be less than gross_t ('20'): correct one of them"),
        (
            {"status": "err"},
            "remark (empty) must not be empty if status ('err') is ERR or HALT: "
            "fill in the first, or correct the second",
        ),
    ],
)
def test_people_read_all_columns_their_values_and_what_to_do(cells: dict[str, str], told: str) -> None:
    assert [in_words(TRIPS, rule, cells) for rule in broken_rules_of(bad_row(TRIPS, cells))] == [told]


def test_values_of_others_are_shown_short_and_without_control_characters() -> None:
    key = BrokenRule("required_by", ("remark", "status"))
    told = in_words(TRIPS, key, {"status": "\x1b[31m" + "x" * 1_000})
    assert "\x1b" not in told
    assert len(told) < 250


def test_the_dictionary_has_them_below_the_columns() -> None:
    assert (
        "In each row:\n\n"
        "- `arrived_at` must not be before `departed_at` (`out_of_order`)\n"
        "- `tare_t` must be less than `gross_t` (`out_of_order`)\n"
        "- `remark` must not be empty if `status` is ERR or HALT (`required_by`)\n"
    ) in render([TRIPS])


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        (Ordered("arrived_at", ">", "left_at"), "no source delivers a column 'left_at'"),
        (Ordered("arrived_at", ">", "day"), "instant and date have no order"),
        (Ordered("status", ">", "remark"), "text and text have no order"),
        (Ordered("tare_t", ">", "tare_t"), "it names one column twice"),
        (Ordered("tare_t", ">", "wagons"), "their units differ: tonnes, none"),
        (RequiredBy("remark", "wagons", ("1",)), "wagons is not a text"),
        (RequiredBy("remark", "status", ("err",)), "status is never 'err'"),
        (RequiredBy("remark", "status", ()), "it names no value of status"),
    ],
)
def test_a_contract_refuses_a_rule_that_its_columns_cannot_have(rule: RowRule, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        replace(TRIPS, rules=(rule,))
    assert str(refused.value) == f"the contract 'trips' cannot have the rule {rule}: {fault}"


def test_a_contract_refuses_two_rules_that_nobody_could_tell_apart() -> None:
    rules = (RequiredBy("remark", "status", ("ERR",)), RequiredBy("remark", "status", ("HALT",)))
    with pytest.raises(ConfigurationError, match="another rule has the same kind and columns"):
        replace(TRIPS, rules=rules)


@dataclass(frozen=True)
class OneFilled(RowRule):
    """One of several columns is filled: a kind of rule that the product does not have."""

    names: tuple[str, ...]
    reason: ClassVar[str] = "none_filled"
    remedy: ClassVar[str] = "fill in one of them"

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        return self.names

    @override
    def fault(self, columns: object) -> str:
        return ""

    @override
    def broken(self, cells: Mapping[str, Cells]) -> pl.Expr:
        return ~pl.any_horizontal(cells[name].filled for name in self.names)

    @override
    def sentence(self, columns: object, show: Show) -> str:
        return f"one of {', '.join(map(show, self.names))} must not be empty"


def test_another_kind_of_rule_over_any_number_of_columns_is_one_class() -> None:
    contract = replace(TRIPS, rules=(OneFilled(("tare_t", "gross_t", "wagons")),))
    assert broken(contract, wagons="3") == []
    assert broken(contract) == ["tare_t, gross_t, wagons: none_filled"]
    (rule,) = broken_rules_of(bad_row(contract, {}))
    assert in_words(contract, rule, {}) == (
        "one of tare_t (empty), gross_t (empty), wagons (empty) must not be empty: fill in one of them"
    )
    assert "- one of `tare_t`, `gross_t`, `wagons` must not be empty (`none_filled`)" in render([contract])


times = st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 2)).map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}")
weights = st.integers(0, 3).map(str)
cells_of_trips = st.fixed_dictionaries(
    {},
    optional={
        "departed_at": st.one_of(times, st.just(EIGHT), st.just("no time")),
        "arrived_at": st.one_of(times, st.just(EIGHT), st.just("")),
        "tare_t": st.one_of(weights, st.just("NaN"), st.just("heavy")),
        "gross_t": weights,
        "status": st.sampled_from(["OK", "err", "HALT", "?"]),
        "remark": st.sampled_from(["", "x", "\x00"]),
    },
)


@given(st.lists(cells_of_trips, max_size=8))
@examples(100)
def test_a_second_reading_of_the_rules_comes_to_the_same_reasons(cells: list[dict[str, str]]) -> None:
    quarantined = judged(TRIPS, *cells).quarantined
    found = dict(quarantined.select(ROW_NUMBER, "reason").iter_rows())
    record = {**dict.fromkeys(TRIPS.column_names), "trip_id": "T-1"}
    for number, one in enumerate(cells, 2):
        message = json.dumps(record | one).encode()
        expected = oracle.judge(message, TRIPS, NOW)
        assert found.get(number) == (expected if isinstance(expected, str) else None)
