"""What would be calculated gets an apostrophe, whatever stands before it, and comes back as it was."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freight.reports.export import _Texts, _write_csv
from freight.reports.formulas import guarded
from freight.warehouse.extracts import Extract
from tests.lib.formulas import HARMLESS, HOSTILE, NOT_LIVE, without_guard

NASTY = st.text(st.sampled_from("=+-@＝；;\t\r\n\0 '\"\xa0\ufeffa1,"), max_size=12)


@pytest.mark.parametrize("text", sorted({*HOSTILE} - {*NOT_LIVE}), ids=repr)
def test_what_would_be_calculated_is_guarded(text: str) -> None:
    assert guarded(text) != text
    assert guarded(text).replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize("text", [*HARMLESS, *NOT_LIVE], ids=repr)
def test_what_is_text_anyway_stays_as_it_is(text: str) -> None:
    assert guarded(text) == text


@given(NASTY)
def test_no_part_that_could_be_a_cell_is_live_and_the_text_can_be_had_back(text: str) -> None:
    safe = guarded(text)
    for part in safe.replace("\t", ";").replace("\r", ";").replace("\n", ";").split(";"):
        assert not part.lstrip("\0 \"'\xa0\ufeff").startswith(("=", "+", "-", "@", "＝")) or "'" in part
    assert without_guard(safe) == text


@pytest.mark.parametrize(
    "text", ["\n" * 400_000, ";" * 400_000 + "x=", ("; " * 5 + "=") * 40_000], ids=["lines", "cuts", "live"]
)
def test_a_long_text_takes_no_square_of_its_length(text: str) -> None:
    assert without_guard(guarded(text)) == text


def test_names_of_columns_are_guarded_too(tmp_path: Path) -> None:
    texts = _Texts(raw=False)
    _write_csv(Extract(("=1+1", "b;=2"), [("x", None)]), "", tmp_path / "a.csv", texts)  # type: ignore[list-item]
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [["'=1+1", "b;'=2"], ["x", ""]]
    assert texts.guarded == 2
