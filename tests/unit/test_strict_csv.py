"""Quotes that a fast parser would guess at are read record by record, and what cannot be read is told."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from freight.contracts import contract_for
from freight.errors import ConfigurationError, SourceError
from freight.frames import each_bad_row
from freight.readers import find_files, reader_for
from freight.readers.strict_csv import LOOK_CHARS, quotes_are_plain

HEADER = "transaction_id,machine_id,date,volume_transferred,status_code"
GOOD = "TRX-1,MCH-001,2026-02-01,1,OK"


def read(
    folder: Path, *lines: str, encoding: str = "utf-8", options: Mapping[str, object] = MappingProxyType({})
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    path = folder / "a.csv"
    path.write_bytes("\n".join([*lines, ""]).encode(encoding))
    table = reader_for("csv")(find_files(str(path), folder)[0], contract_for("transactions"), options)
    batches = list(table.batches)
    faults = [(row.row_number, row.detail, row.raw) for batch in batches for row in each_bad_row(batch.faults)]
    return [row for batch in batches for row in batch.rows.rows()], faults


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a,b\n1,2\n", True),
        ('a,"b"\n"1","x ""y"" z"\n', True),
        ('"a\nb","c,d"\r\n"",""', True),
        ('a,"b', False),
        ('a, "b"\n', False),
        ('a,5" pipe\n', False),
        ('a,"b"c\n', False),
        ('a,"b,"c",d\n', False),
        ("x" * LOOK_CHARS + ',"y"\n', True),
        ('"' + "x" * (LOOK_CHARS - 2) + '",y\n', True),
        ('a,"b\n' + "x\n" * LOOK_CHARS, False),
    ],
)
def test_quotes_are_plain_where_they_open_and_close_whole_cells(text: str, plain: bool) -> None:
    assert quotes_are_plain(io.StringIO(text, newline=""), ",") is plain


def test_space_before_a_quote_is_no_part_of_the_cell(tmp_path: Path) -> None:
    header = ", ".join(f'"{name}"' for name in HEADER.split(","))
    rows, faults = read(tmp_path, header, '"TRX-1", "MCH-001", "2026-02-01", 1, "O, K"')
    assert (rows, faults) == ([("TRX-1", "MCH-001", "2026-02-01", "1", "O, K", 2)], [])


def test_a_sign_for_inches_is_a_part_of_its_cell(tmp_path: Path) -> None:
    rows, faults = read(tmp_path, HEADER, 'TRX-1,5" pipe,2026-02-01,1,OK')
    assert (rows[0][1], faults) == ('5" pipe', [])


def test_a_stray_quote_moves_no_cell_into_its_neighbour(tmp_path: Path) -> None:
    """Read as it stands, the third row has five cells: those of the fourth and fifth column have moved left."""
    odd = 'TRX-2,"MCH-001,"2026-02-01,1,"OK",OK'
    rows, faults = read(tmp_path, HEADER, GOOD, odd, GOOD)
    assert [row[-1] for row in rows] == [2, 4]
    assert faults == [(3, "text after a closing quote", odd.encode())]


def test_a_ragged_row_beside_odd_quotes_keeps_its_number_and_text(tmp_path: Path) -> None:
    rows, faults = read(tmp_path, HEADER, 'TRX-1,5" pipe,2026-02-01,1,OK', "", 'TRX-2,"a\nb"', GOOD)
    assert [row[-1] for row in rows] == [2, 5]
    assert faults == [(4, "2 cells where the header has 5", b'TRX-2,"a\nb"')]


def test_stray_bytes_beside_odd_quotes_are_told_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f'{HEADER}\nTRX-1,5" é,d,1,OK\n'.encode() + b"TRX-2,\xe9,d,1,OK\n")
    table = reader_for("csv")(find_files(str(path), tmp_path)[0], contract_for("transactions"), {})
    (batch,) = table.batches
    assert batch.rows.rows() == [("TRX-1", '5" é', "d", "1", "OK", 2)]
    assert batch.faults["reason"].to_list() == ["bad_encoding"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_odd_quotes_are_read_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    rows, _ = read(tmp_path, HEADER, 'TRX-1, "Edéa",d,1,OK', encoding=encoding)
    assert rows == [("TRX-1", "Edéa", "d", "1", "OK", 2)]


def test_a_quote_that_is_never_closed_is_named_by_its_row(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, HEADER, 'TRX-1,5" pipe,d,1,OK', 'TRX-2,"MCH,d,1,OK', GOOD)
    assert (caught.value.fault, caught.value.row) == ("corrupt", 3)


def test_a_quote_that_is_opened_in_the_last_row_costs_that_row_only(tmp_path: Path) -> None:
    rows, faults = read(tmp_path, HEADER, GOOD, 'TRX-2,"MCH,d,1,OK')
    assert rows == [("TRX-1", "MCH-001", "2026-02-01", "1", "OK", 2)]
    assert faults == [(3, "a quote is opened and never closed", b'TRX-2,"MCH,d,1,OK')]
    (tmp_path / "a.csv").write_text(f'{HEADER}\n{GOOD}\nTRX-2,"MCH,d,1,OK', encoding="utf-8")  # the transfer broke off
    table = reader_for("csv")(find_files("a.csv", tmp_path)[0], contract_for("transactions"), {})
    with pytest.raises(SourceError, match="never closed"):
        list(table.batches)


NAMED = {"columns": ["id", "machine", "date", "volume", "statut"]}


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_a_file_without_a_header_is_read_by_the_columns_that_are_named(tmp_path: Path, delimiter: str) -> None:
    lines = [line.replace(",", delimiter) for line in (GOOD, GOOD, "TRX-2,MCH-001,2026")]
    rows, faults = read(tmp_path, *lines, options=NAMED)
    assert rows == [("TRX-1", "MCH-001", "2026-02-01", "1", "OK", number) for number in (1, 2)]
    assert [fault[:2] for fault in faults] == [(3, "3 cells where the header has 5")]


def test_a_wrong_header_is_skipped_by_lines_whatever_quotes_are_in_it(tmp_path: Path) -> None:
    lines = ['Export of "March', '"id,machine,"date,volume', GOOD, 'TRX-2,"M",d,1,OK']
    rows, faults = read(tmp_path, *lines, options={**NAMED, "skip_lines": 2})
    assert rows == [("TRX-1", "MCH-001", "2026-02-01", "1", "OK", 3), ("TRX-2", "M", "d", "1", "OK", 4)]
    assert faults == []


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("'TRX-1','M,''1''',d,1,OK", {"quote": "'"}),
        (r'"TRX-1","M,\'1\'",d,1,OK', {"escape": "\\"}),
        ("TRX-1 \"M,'1'\" d 1 OK", {"delimiter": " "}),
    ],
)
def test_signs_are_as_the_catalog_says(tmp_path: Path, line: str, options: dict[str, object]) -> None:
    header = HEADER.replace(",", " ") if "delimiter" in options else HEADER
    assert read(tmp_path, header, line, options=options) == ([("TRX-1", "M,'1'", "d", "1", "OK", 2)], [])
    if quote := options.get("quote"):
        quoted = ",".join(f"{quote}{cell}{quote}" for cell in header.split(","))
        assert read(tmp_path, quoted, line, options=options)[0] == [("TRX-1", "M,'1'", "d", "1", "OK", 2)]


def test_lines_are_skipped_only_where_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="lines are skipped only where columns are named"):
        read(tmp_path, HEADER, GOOD, options={"skip_lines": 1})
