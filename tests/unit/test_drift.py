"""Headers beside a contract: what is told of columns that are gone, new or renamed; and the remedy."""

from datetime import UTC, datetime

import polars as pl
import pytest

from freight.contracts import contract_for
from freight.contracts.headers import match_header
from freight.drift import FirstRows, describe_drift
from freight.errors import SourceError
from freight.validation import Locale

TRANSACTIONS = contract_for("transactions")
HEADER = ["transaction_id", "machine_id", "date", "volume", "statut"]
GOOD = [f"TRX-{i},MCH-001,2026-02-01 10:00:00,{10 + i},OK" for i in range(8)]


def told(header: list[str], lines: list[str], passed_over: tuple[str, ...] = (), last: tuple[str, ...] = ()) -> str:
    """Return what is told of a header that has drifted, above some lines."""
    cells = [line.split(",") for line in lines]
    rows = pl.DataFrame({str(i): [row[i] for row in cells] for i in range(len(header))})
    sample = FirstRows(rows, Locale(), datetime(2026, 3, 1, tzinfo=UTC))
    return str(describe_drift(match_header(header, TRANSACTIONS), passed_over, sample, last, "dpa retry"))


def with_header(**new: str) -> list[str]:
    return [new.get(cell, cell) for cell in HEADER]


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (with_header(date="dattes"), "'dattes' seems to be the new header of 'transaction_at', by its name"),
        (with_header(volume="VOLUMES"), "'VOLUMES' seems to be the new header of 'volume_transferred_t', by its name"),
        (with_header(statut="zustand"), "'zustand' seems to be the new header of 'status_code', by its values"),
        (
            with_header(date="le", statut="zustand"),
            "'le' seems to be the new header of 'transaction_at', by its values; "
            "'zustand' seems to be the new header of 'status_code', by its values",
        ),
    ],
)
def test_a_renamed_column_is_told_by_name_or_by_values(header: list[str], says: str) -> None:
    assert says in told(header, GOOD)
    assert "[renamed_column]" in told(header, GOOD)


def test_a_name_that_its_values_contradict_is_no_new_header() -> None:
    text = told(with_header(volume="volumes"), [line.replace(",1", ",x") for line in GOOD])
    assert "the header lacks 'volume_transferred_t'" in text
    assert "seems" not in text


def test_two_columns_whose_values_fit_alike_are_not_told_apart() -> None:
    text = told([*with_header(volume="a"), "b"], [f"{line},7" for line in GOOD])
    assert "seems" not in text


def test_few_values_tell_nothing() -> None:
    assert "seems" not in told(with_header(volume="a"), GOOD[:4])


def test_a_file_whose_header_is_gone_has_no_renamed_columns() -> None:
    assert "[missing_column]" in told(GOOD[0].split(","), GOOD)


def test_a_name_that_the_reader_passed_over_is_told_without_its_values() -> None:
    header = [cell for cell in HEADER if cell != "volume"]
    lines = [",".join([*line.split(",")[:3], line.split(",")[4]]) for line in GOOD]
    assert "'volumes' seems to be the new header of 'volume_transferred_t'" in told(header, lines, ("volumes",))
    assert "and the source also has 'tons'" in told(header, lines, ("tons",))


def test_the_header_that_was_is_shown_beside_the_one_that_is() -> None:
    text = told(with_header(statut="zustand"), GOOD, last=("id", "machine", "date", "volume", "Statut"))
    assert "it reads 'transaction_id', 'machine_id', 'date', 'volume', 'zustand'" in text
    assert "the last one loaded read 'id', 'machine', 'date', 'volume', 'Statut'" in text


def test_a_header_with_a_thousand_cells_is_told_in_short() -> None:
    text = told([*HEADER, *(f"spare{i}" for i in range(1_000))], [])
    assert "and 985 more" in text
    assert len(text) < 2_000


def test_two_cells_that_mean_one_column_are_refused() -> None:
    with pytest.raises(SourceError, match="the headers 'volume', 'Tonnage' mean the same column"):
        match_header([*HEADER, "Tonnage"], TRANSACTIONS)


def test_the_remedy_names_file_column_and_alias_of_each_renamed_column() -> None:
    assert told(with_header(date="le", statut="Zustand"), GOOD).endswith(
        "if it is the same column in the same unit, add 'le' to the aliases of 'transaction_at', 'zustand' to the "
        "aliases of 'status_code' in freight/contracts/transactions.py, then `dpa retry`"
    )


@pytest.mark.parametrize("header", ['a"b', "a\\", "poids_(t)", "重量", "a\u202eb", "a\u2028b", "'''", "a\x00b"])
def test_a_hostile_header_stays_on_one_printable_line(header: str) -> None:
    assert told(with_header(statut=header), GOOD).isprintable()


def test_a_cell_without_a_name_is_told_by_its_place() -> None:
    assert "the header has 'column 6 (F)', which the contract" in told([*HEADER, " "], [f"{line},x" for line in GOOD])
