"""Validation parts rows without losing any, and reads a number as exactly what was written or not at all."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from freight.contracts import contract_for
from freight.frames import ROW_NUMBER
from freight.notation.evidence import Notation
from freight.notation.numbers import Reading
from freight.transforms.versions import with_content_hash
from freight.validation import Locale, split
from tests.lib.examples import examples

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONTRACT = contract_for("transactions")
GOOD = {
    "transaction_id": "TRX-1",
    "machine_id": "MCH-001",
    "transaction_at": "2026-02-01 10:00:00",
    "volume_transferred_t": "1",
    "status_code": "OK",
}
POINT, COMMA = Locale(), Locale(Notation(Reading(",")))

quick = examples(100)

texts = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "TRX-1",
            "MCH-001",
            "2026-02-29",
            "2024-02-29 10:00:00",
            "2026-02-01 10:00:00",
            "NaN",
            "inf",
            "OK",
            "1",
        ]
    ),
)
number_like = st.one_of(
    st.text("0123456789.,+-eE_ infaNxd\u00a0\u202f", min_size=1, max_size=12),
    st.decimals(0, 5_000, allow_nan=False, places=4).map(str),
    st.floats().map(repr),
)


def frame(*rows: Mapping[str, str | None]) -> pl.DataFrame:
    schema = {ROW_NUMBER: pl.Int64, **dict.fromkeys(CONTRACT.column_names, pl.String)}
    return pl.DataFrame([{ROW_NUMBER: number, **row} for number, row in enumerate(rows, 2)], schema=schema)


def accepted_volume(text: str, locale: Locale) -> float | None:
    """Return the volume that validation makes of a text, None where it is refused."""
    halves = split(frame({**GOOD, "volume_transferred_t": text}), CONTRACT, locale, NOW)
    volumes = halves.valid["volume_transferred_t"].to_list()
    return volumes[0] if volumes else None


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(CONTRACT.column_names, texts)), max_size=8))
@quick
def test_every_row_ends_in_exactly_one_half(rows: list[dict[str, str | None]]) -> None:
    halves = split(frame(*rows, GOOD), CONTRACT, POINT, NOW)
    valid, bad = halves.valid[ROW_NUMBER].to_list(), halves.quarantined[ROW_NUMBER].to_list()
    assert sorted([*valid, *bad]) == list(range(2, len(rows) + 3))
    assert len(rows) + 2 in valid
    assert halves.quarantined.select("column_name", "reason", "detail", "raw").null_count().row(0) == (0, 0, 0, 0)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(CONTRACT.column_names, texts)), max_size=8))
@quick
def test_a_row_is_judged_alike_alone_and_among_others(rows: list[dict[str, str | None]]) -> None:
    together = split(frame(*rows), CONTRACT, POINT, NOW).valid.drop(ROW_NUMBER)
    alone = [split(frame(row), CONTRACT, POINT, NOW).valid.drop(ROW_NUMBER) for row in rows]
    assert together.rows() == [row for one in alone for row in one.rows()]


@given(number_like)
@quick
def test_an_accepted_number_is_the_decimal_that_was_written(text: str) -> None:
    volume = accepted_volume(text, POINT)
    if volume is not None:
        assert math.isfinite(volume)
        assert volume == float(Decimal(text.strip()))
        assert 0 <= volume <= 5_000


@given(st.decimals(0, 5_000, allow_nan=False, places=6))
@quick
def test_every_plain_decimal_within_the_range_is_accepted(number: Decimal) -> None:
    assert accepted_volume(f"{number:f}", POINT) == float(number)


@given(st.decimals(0, 5_000, allow_nan=False, places=3))
@quick
def test_a_decimal_comma_reads_as_the_point_of_the_other_locale(number: Decimal) -> None:
    point = f"{number:f}"
    comma = point.replace(".", ",")
    assert accepted_volume(comma, COMMA) == accepted_volume(point, POINT) == float(number)
    assert accepted_volume(f"{number:,f}".replace(",", "\u202f").replace(".", ","), COMMA) == float(number)
    assert accepted_volume(comma, POINT) is None
    assert accepted_volume(point, COMMA) is None


@given(number_like)
@quick
def test_a_number_under_a_decimal_comma_is_never_read_as_another_one(text: str) -> None:
    volume = accepted_volume(text, COMMA)
    if volume is not None:
        bare = "".join(char for char in text.strip() if char not in " \u00a0\u202f")
        assert "." not in bare
        assert volume == float(Decimal(bare.replace(",", ".")))


@given(st.floats(0, 5_000), st.floats(0, 5_000))
@quick
def test_the_content_hash_tells_numbers_apart_by_their_bits(one: float, other: float) -> None:
    rows = [{**GOOD, "volume_transferred_t": repr(volume)} for volume in (one, other)]
    first, second = with_content_hash(split(frame(*rows), CONTRACT, POINT, NOW).valid, CONTRACT)["content_hash"]
    assert (first == second) == (one == other)


def test_both_zeros_are_one_content() -> None:
    rows = [{**GOOD, "volume_transferred_t": zero} for zero in ("0", "-0", "0.0", "-0.0")]
    hashed = with_content_hash(split(frame(*rows), CONTRACT, POINT, NOW).valid, CONTRACT)
    assert hashed["content_hash"].n_unique() == 1
