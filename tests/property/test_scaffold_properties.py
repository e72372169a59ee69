"""A contract that was made from a sample takes every row of it, and is written as ruff would, whatever cells hold."""

import ast
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from freight.contracts import LOCAL_ZONE
from freight.contracts.headers import match_header, normalise
from freight.contracts.rules import UNSEEN_CHARACTERS
from freight.frames import ROW_NUMBER
from freight.notation.evidence import Notation
from freight.notation.forms import DecimalMark
from freight.notation.numbers import Reading
from freight.readers import find_files
from freight.scaffold.infer import propose_contract
from freight.scaffold.layout import laid_out, literal
from freight.scaffold.render import contract_module, migration, source_test
from freight.scaffold.sample import Sample
from freight.settings import PROJECT_ROOT
from freight.types import LoadCounts
from freight.validation import Locale, split
from freight.warehouse.schema import UNUSABLE_NAMES
from tests.lib.examples import examples

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILE = find_files(Path(__file__).as_posix(), Path.cwd())[0]  # a sample is of some file; nobody opens it here
STYLED = "tests/sources/test_things.py"  # where docstrings are as free as in migrations
CONTROL = re.compile(UNSEEN_CHARACTERS)  # which no contract takes, as no warehouse does

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
    return Sample(FILE, "csv", {}, ("the key of all", *header), numbered, 0, Notation(Reading(decimal)))


@given(st.data(), headers, st.sampled_from([".", ","]))
@examples(150)
def test_a_proposed_contract_takes_every_row_of_its_sample(
    data: st.DataObject, header: list[str], decimal: DecimalMark
) -> None:
    columns = [data.draw(alike) for _ in header]
    made = sample(header, columns, decimal)
    contract = propose_contract(made, "things", ["the key of all"], 50, LOCAL_ZONE, NOW).contract
    assert match_header(made.header, contract).columns == contract.column_names
    halves = split(made.conformed(contract), contract, Locale(Notation(Reading(decimal)), LOCAL_ZONE), NOW)
    assert halves.quarantined.to_dicts() == []
    assert halves.valid.height == 4


@given(headers)
@examples(200)
def test_names_are_plain_and_tell_columns_apart(header: list[str]) -> None:
    made = sample(header, [["", "", "", ""] for _ in header], ".")
    names = propose_contract(made, "things", ["the key of all"], 50, LOCAL_ZONE, NOW).contract.column_names
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) and name not in UNUSABLE_NAMES for name in names)


odd = st.one_of(st.text(max_size=150), st.text("a\"'\\é重\n\t ", max_size=150))
values = st.recursive(
    st.one_of(odd, st.integers(), st.booleans(), st.none()),
    lambda part: st.one_of(st.lists(part), st.lists(part).map(tuple), st.dictionaries(odd, part)),
    max_leaves=8,
)


@given(values, st.integers(0, 100))
@examples(150)
def test_a_value_is_written_as_code_that_means_it(value: object, before: int) -> None:
    code = laid_out(literal(value), f"{'x' * before} = ", "  # the end")
    assert ast.literal_eval(code.partition(" = ")[2]) == value


@given(st.data(), st.lists(words.filter(normalise), min_size=1, max_size=5, unique_by=normalise), odd)
@examples(6)
def test_what_is_written_is_in_the_style_of_the_project(data: st.DataObject, header: list[str], cell: str) -> None:
    columns = [data.draw(alike) for _ in header]
    proposal = propose_contract(sample(header, columns, "."), "things", ["the key of all"], 50, LOCAL_ZONE, NOW)
    entry = {"name": "things", "dataset": "things", "reader": "excel", "options": {"sheet": cell, "header_row": 2}}
    counts = LoadCounts(read=4, inserted=4)
    for module in (
        contract_module(proposal.contract, proposal.to_decide),
        migration(proposal.contract, "0002", "0001"),
        source_test(entry, f"{'a' * data.draw(st.integers(1, 200))}.csv", counts, {"cell": cell, "at": NOW}, NOW),
    ):
        assert ruff("format", module) == module
        assert ruff("check", module, "--fix") == module


def ruff(command: str, module: str, *options: str) -> str:
    """Return a module as a command of ruff leaves it."""
    argv = [sys.executable, "-m", "ruff", command, *options, "--quiet", "--no-cache", "--stdin-filename", STYLED, "-"]
    done = subprocess.run(argv, cwd=PROJECT_ROOT, input=module.encode(), capture_output=True, check=False)
    assert done.returncode == 0, f"{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()
