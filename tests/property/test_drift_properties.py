"""Of usual data nothing is told; a changed unit is told whatever the numbers are, if it is large enough."""

import random
from collections.abc import Sequence

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from freight.contracts import Column, Contract
from freight.drift import FROM_ROWS, Profile, Profiler, jumps, read_profile, retyped_column, written
from freight.drift.retyped import RETYPED_FROM_ROWS
from tests.lib.examples import examples

CONTRACT = Contract(
    dataset="weights",
    version=1,
    table="weights",
    business_key=("weight_id",),
    freshness_s=1,
    load_order=1,
    columns=(
        Column("weight_id", "text", "Key."),
        Column("weight_t", "number", "Any number."),
        Column("status_code", "text", "A category.", allowed=("OK", "WARN", "ERR")),
    ),
)
numbers = st.floats(min_value=-1e9, max_value=1e9).filter(lambda x: abs(x) > 1e-9) | st.just(0.0) | st.none()
statuses = st.sampled_from(["OK", "WARN", "ERR"])
rows = st.lists(st.tuples(numbers, statuses), min_size=1, max_size=30)
seeds = st.integers(0, 1_000_000)
sizes = st.integers(FROM_ROWS, 600)

Rows = Sequence[tuple[float | None, str]]


def look(found: Rows, batch_rows: int = 100) -> Profile:
    """Return how rows look that come in batches."""
    frame = pl.DataFrame(
        {
            "row_number": range(len(found)),
            "weight_t": pl.Series([weight for weight, _ in found], dtype=pl.Float64),
            "status_code": [status for _, status in found],
        }
    )
    profiler = Profiler(CONTRACT)
    for part in frame.iter_slices(batch_rows):
        profiler.note(part)
    filled = {name: frame.height - frame[name].null_count() for name in ("weight_t", "status_code")}
    return Profile(frame.height, ("weight_id", "weight_t", "status_code"), (), profiler.columns(frame.height, filled))


def drawn(kinds: Rows, count: int, seed: int) -> Rows:
    """Draw rows of the same kinds, as a source gives them each day."""
    return random.Random(seed).choices(kinds, k=count)


def scaled(found: Rows, factor: float) -> Rows:
    return [(None if weight is None else weight * factor, status) for weight, status in found]


@given(rows, sizes, sizes, seeds, seeds)
@examples(150)
def test_nothing_is_told_of_another_draw_of_the_same_rows(
    kinds: Rows, old: int, new: int, seed: int, other: int
) -> None:
    assert jumps(look(drawn(kinds, new, seed)), [look(drawn(kinds, old, other))]) == []


@given(rows, sizes, seeds, st.floats(0.25, 4))
@examples(100)
def test_nothing_is_told_of_a_season_or_of_pounds_for_kilograms(
    kinds: Rows, count: int, seed: int, factor: float
) -> None:
    usual = drawn(kinds, count, seed)
    assert jumps(look(scaled(usual, factor)), [look(usual)]) == []
    assert jumps(look(scaled(usual, 2.2)), [look(usual)]) == []


@given(
    st.lists(st.floats(0.5, 500), min_size=1, max_size=20),
    sizes,
    seeds,
    st.sampled_from([1_000.0, 1 / 1_000, 60.0, 1 / 60, 100.0]),
)
@examples(100)
def test_a_changed_unit_is_told_whatever_the_numbers_are(
    weights: list[float], count: int, seed: int, factor: float
) -> None:
    usual = drawn([(weight, "OK") for weight in weights], count, seed)
    (told,) = jumps(look(scaled(usual, factor)), [look(usual)])
    assert told.startswith("weight_t is about ")
    assert ("as large" in told) == (factor > 1)


@given(rows, sizes, seeds)
@examples(50)
def test_a_unit_that_was_seen_lately_is_not_told_again(kinds: Rows, count: int, seed: int) -> None:
    usual = drawn(kinds, count, seed)
    other = scaled(usual, 1_000)
    assert jumps(look(usual), [look(other), look(usual)]) == []


@given(rows, st.integers(1, FROM_ROWS - 1), seeds)
@examples(50)
def test_nothing_is_told_of_few_rows_nor_by_few(kinds: Rows, few: int, seed: int) -> None:
    usual = drawn(kinds, FROM_ROWS, seed)
    odd = scaled(usual, 1_000)
    assert jumps(look(odd[:few]), [look(usual)]) == []
    assert jumps(look(odd), [look(usual[:few])]) == []
    assert jumps(look(odd), []) == []


@given(rows, st.integers(1, 500), st.integers(1, 700))
@examples(50)
def test_a_look_is_the_same_in_any_batches_and_as_text(kinds: Rows, count: int, batch_rows: int) -> None:
    found = drawn(kinds, count, 1)
    assert look(found) == look(found, batch_rows) == read_profile(written(look(found)))


def test_the_look_of_many_rows_is_that_of_a_sample_which_does_not_grow() -> None:
    found = [(float(1 + i % 1_000), "ERR" if i % 4 == 0 else "OK") for i in range(300_000)]
    profile = look(found, batch_rows=20_000).columns
    expected = (100, 250, 500, 750, 900)
    assert all(abs(a / b - 1) < 0.05 for a, b in zip(profile["weight_t"].sizes, expected, strict=True))
    assert abs(profile["status_code"].shares["ERR"] - 0.25) < 0.02
    assert abs(profile["weight_t"].sized / 300_000 - 1) < 0.05


@given(st.integers(0, 1_000), st.data())
def test_a_column_is_retyped_only_if_nearly_all_of_many_values_are_misfits(filled: int, data: st.DataObject) -> None:
    misfits = data.draw(st.integers(0, filled))
    found = retyped_column(CONTRACT, {"weight_t": filled}, {"weight_t": misfits})
    assert (found is not None) == (filled >= RETYPED_FROM_ROWS and misfits >= 0.9 * filled)
