"""A contract that was made from a sample takes every row of it, whatever its cells hold."""

import re
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from freight.contracts import LOCAL_ZONE
from freight.contracts.headers import match_header, normalise
from freight.frames import ROW_NUMBER, DecimalMark
from freight.readers import find_files
from freight.scaffold.infer import propose_contract
from freight.scaffold.sample import Sample
from freight.validation import CONTROL_CHARACTERS, Locale, split
from freight.warehouse.schema import UNUSABLE_NAMES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILE = find_files(Path(__file__).as_posix(), Path.cwd())[0]  # a sample is of some file; nobody opens it here
CONTROL = re.compile(CONTROL_CHARACTERS)  # which no contract takes, as no warehouse does

cells = st.one_of(
    st.text(max_size=300),
    st.sampled_from(["", " ", "0", "007", "1", "-1", "1,5", "1.5", "1 234", "1 234,5", "1e5", "NaN", "inf", "TRUE"]),
    st.sampled_from(["2026-02-01", "31/12/2026", "2026-02-30", "2026-02-01 10:00", "2026-02-01T10:00:00Z", "24:00"]),
    st.integers().map(str),
    st.floats().map(repr),
    st.decimals(places=3, allow_nan=False).map(str),
    st.datetimes().map(str),
).filter(lambda text: not CONTROL.search(text))
alike = st.one_of(  # columns are mostly of one kind
    *(
        st.lists(kind, min_size=4, max_size=4)
        for kind in (
            cells,
            st.integers().map(str),
            st.integers(0, 10**6).map(lambda n: f"{n / 8}"),
            st.integers(0, 10**6).map(lambda n: f"{n / 8}".replace(".", ",")),
            st.datetimes().map(lambda at: at.strftime("%d/%m/%Y %H:%M")),
            st.dates().map(str),
            st.booleans().map(str),
        )
    )
)
words = st.one_of(st.text(min_size=1, max_size=80), st.text("x 23_()!", min_size=1, max_size=5), st.just("order"))
headers = st.lists(words.filter(normalise), min_size=1, max_size=5, unique_by=normalise)


def sample(header: list[str], columns: list[list[str]], decimal: DecimalMark) -> Sample:
    """Return a sample with one more column, which is the key."""
    whole = [["K1", "K2", "K3", "K4"], *columns]
    rows = pl.DataFrame({str(position): texts for position, texts in enumerate(whole)})
    numbered = rows.with_columns(pl.Series(ROW_NUMBER, range(2, 6), pl.Int64))
    return Sample(FILE, "csv", {}, ("the key of all", *header), numbered, 0, decimal)


@given(st.data(), headers, st.sampled_from([".", ","]))
@settings(max_examples=150, deadline=None)
def test_a_proposed_contract_takes_every_row_of_its_sample(
    data: st.DataObject, header: list[str], decimal: DecimalMark
) -> None:
    columns = [data.draw(alike) for _ in header]
    made = sample(header, columns, decimal)
    contract = propose_contract(made, "things", ["the key of all"], 50, LOCAL_ZONE, NOW).contract
    assert match_header(made.header, contract).columns == contract.column_names
    halves = split(made.conformed(contract), contract, Locale(decimal, LOCAL_ZONE), NOW)
    assert halves.quarantined.to_dicts() == []
    assert halves.valid.height == 4


@given(headers)
@settings(max_examples=200, deadline=None)
def test_names_are_plain_and_tell_columns_apart(header: list[str]) -> None:
    made = sample(header, [["", "", "", ""] for _ in header], ".")
    names = propose_contract(made, "things", ["the key of all"], 50, LOCAL_ZONE, NOW).contract.column_names
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) and name not in UNUSABLE_NAMES for name in names)
