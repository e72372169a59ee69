"""Columns of a CSV file that its header leaves without a name: left out where they are empty, else told."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from freight.contracts import Contract, contract_for
from freight.contracts.headers import place_of
from freight.errors import SourceError
from freight.frames import each_bad_row
from freight.readers import find_files, reader_for

NAMES = ("id", "machine", "date", "volume", "statut")
HEADER = ";".join(NAMES)
FIRST, SECOND = ("1;M1;2026-02-01;5;OK", "2;M2;2026-02-01;6;")
KNOWN = contract_for("transactions")
UNKNOWN = Contract("sample", 1, "sample", (), (), freshness_s=0, load_order=0)


def read(
    folder: Path,
    *lines: str,
    contract: Contract = KNOWN,
    options: Mapping[str, object] = MappingProxyType({}),
) -> tuple[tuple[str, ...], list[tuple[Any, ...]], list[tuple[int, str]]]:
    """Return the header, the rows with their numbers, and the faults."""
    path = folder / "a.csv"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    table = reader_for("csv")(find_files(str(path), folder)[0], contract, options)
    batches = list(table.batches)
    faults = [(row.row_number, row.detail) for batch in batches for row in each_bad_row(batch.faults)]
    return table.header, [row for batch in batches for row in batch.rows.rows()], faults


BOTH = [(*FIRST.split(";"), 2), (*SECOND.split(";"), 3)]


@pytest.mark.parametrize("quoted", [False, True], ids=["plain", "odd-quotes"])
@pytest.mark.parametrize(
    ("of_header", "of_rows"), [("", ";"), (";", ";"), (";", ""), (";;;", ";;;"), ("", "; ;"), (";", ";;")]
)
def test_an_empty_column_at_the_end_is_left_out(tmp_path: Path, of_header: str, of_rows: str, quoted: bool) -> None:
    first = FIRST.replace("M1", 'M "1') if quoted else FIRST
    header, rows, faults = read(tmp_path, HEADER + of_header, first + of_rows, SECOND + of_rows)
    assert (header, faults) == (NAMES, [])
    assert [tuple(cell.replace('M "', "M") if type(cell) is str else cell for cell in row) for row in rows] == BOTH


def test_rows_that_do_not_agree_on_a_delimiter_at_their_end_may_have_moved(tmp_path: Path) -> None:
    """The second row has a volume of 5,5 and no status."""
    lines = [line.replace(";", ",") for line in (HEADER, FIRST, "2;M2;2026-02-01;5;5;")]
    header, rows, faults = read(tmp_path, *lines)
    assert (header, rows) == (NAMES, BOTH[:1])
    assert faults == [(3, "6 cells where the header has 5")]


def test_a_value_behind_the_header_proves_that_the_delimiters_before_it_are_none_at_the_end(tmp_path: Path) -> None:
    lines = [line.replace(";", ",") for line in (HEADER, "1;M1;2026-02-01;5;5;OK", "2;M2;2026-02-01;5;5;")]
    _, rows, faults = read(tmp_path, *lines)
    assert rows == []
    assert faults == [(row, "6 cells where the header has 5") for row in (2, 3)]


def test_such_a_value_further_down_refuses_the_whole_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"row 6002: column 6 \(F\) has no header but holds 'x' \[unknown_column\]"):
        read(tmp_path, HEADER, *[f"{SECOND};"] * 6_000, f"{FIRST};x")


def test_a_value_under_the_end_of_a_header_is_quarantined_with_its_column(tmp_path: Path) -> None:
    header, rows, faults = read(tmp_path, f"{HEADER};", f"{FIRST};x", f"{SECOND};")
    assert (header, rows) == (NAMES, BOTH[1:])
    assert faults == [(2, "column 6 (F) has no header but holds 'x'")]


def test_a_column_within_the_table_without_a_header_has_to_be_empty(tmp_path: Path) -> None:
    lines = [HEADER.replace("machine", ""), "1;;2026-02-01;5;OK"]
    assert read(tmp_path, *lines)[0] == ("id", "date", "volume", "statut")
    with pytest.raises(SourceError, match=r"row 3: column 2 \(B\) has no header but holds 'M1'"):
        read(tmp_path, *lines, FIRST)


def test_a_row_of_another_width_is_told_against_the_other_rows(tmp_path: Path) -> None:
    many = [f"{FIRST};"] * 6_000
    _, rows, faults = read(tmp_path, HEADER, *many, FIRST)
    assert len(rows) == len(many)
    assert faults == [(6_002, "5 cells where the other rows have 6")]


@pytest.mark.parametrize("above", [[], ["Rapport"], ["Rapport;"]])
@pytest.mark.parametrize("end", ["", ";"])
def test_an_unknown_header_above_rows_with_such_an_end_is_found(tmp_path: Path, above: list[str], end: str) -> None:
    header, rows, _ = read(tmp_path, *above, f"Nom;Lieu{end}", "a;b;", "c;;", "d;e;", contract=UNKNOWN)
    assert header == ("Nom", "Lieu")
    assert [row[:2] for row in rows] == [("a", "b"), ("c", ""), ("d", "e")]


def test_named_columns_fit_rows_with_such_an_end(tmp_path: Path) -> None:
    header, rows, faults = read(tmp_path, f"{FIRST};", f"{SECOND};", options={"columns": [*NAMES]})
    assert (header, [row[:-1] for row in rows], faults) == (NAMES, [row[:-1] for row in BOTH], [])


@pytest.mark.parametrize(("position", "place"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")])
def test_a_column_is_named_as_in_a_spreadsheet(position: int, place: str) -> None:
    assert place_of(position) == f"column {position + 1} ({place})"


def test_a_file_is_opened_once_to_find_its_format_and_once_for_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def count(self: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        opened.append(path)
        return whole(self, path, *args, **options)

    whole = LocalFileSystem.open
    monkeypatch.setattr(LocalFileSystem, "open", count)
    read(tmp_path, HEADER, FIRST)
    assert len(opened) == 3  # and once to look at its quotes, all of which have to be seen
