"""CSV is parsed in this process: whatever the bytes, they are a table or a fault with a remedy."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.readers import RawBatch, delimited, find_files, reader_for
from freight.readers.dialect import DelimitedOptions, detect_dialect
from tests.lib.examples import examples

CONTRACT = contract_for("transactions")
SIGNS = [b",", b";", b"\t", b"|", b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", b" ", b"'", b"\\", b"\xff\xfe"]
WORDS = [
    b"date",
    b"1,5",
    b"2026-02-01",
    "é".encode(),
    "é".encode("cp1252"),
    "😀".encode(),
    b"\xc3",
    b"\x81",
    b"x" * 5_000,
]
PIECES = [*SIGNS, *WORDS]
CONTENT = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join),
    st.lists(st.sampled_from(PIECES), max_size=60).map(
        lambda pieces: b"transaction_id,machine_id,date,volume_transferred,status_code\n" + b"".join(pieces)
    ),
    st.text(max_size=200).map(lambda text: text.encode("utf-16", "surrogatepass")),
)


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENT)
def test_any_bytes_are_a_table_or_a_fault(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    try:
        table = reader_for("csv")(find_files(str(path), tmp_path)[0], CONTRACT, {})
        for batch in table.batches:
            assert batch.rows.width == len(table.header) + 1
            assert batch.rows.null_count().sum_horizontal().sum() == 0
    except SourceError as error:
        assert error.remedy  # noqa: PT017 - either outcome is right


CELL = st.text(st.sampled_from('a",;\n\r é😀'), max_size=6).map(
    lambda text: text.lstrip(" ")
)  # which only one way keeps
TABLE = st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=12)


def written(table: list[list[str]], quoting: Any) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=quoting)
    writer.writerows([["transaction_id", "machine_id", "date"], *table])
    return stream.getvalue().encode()


def found_by(batches: Iterator[RawBatch]) -> tuple[list[Any], list[Any]]:
    """Return the rows, and the faults without their text: the ways differ in how they show a record."""
    all_batches = list(batches)
    rows = [row for batch in all_batches for row in batch.rows.rows()]
    return sorted(rows, key=lambda row: row[-1]), sorted(row[:4] for b in all_batches for row in b.faults.rows())


@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=TABLE, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_the_fast_way_and_the_strict_way_read_the_same(tmp_path: Path, table: list[list[str]], quoting: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(written(table, quoting))
    file = find_files(str(path), tmp_path)[0]
    dialect = detect_dialect(file, CONTRACT, DelimitedOptions(delimiter=","))
    assume(dialect.is_plain and not dialect.header_record)
    fast = found_by(delimited._batches(file, dialect))
    assert fast == found_by(delimited._strict_batches(file, replace(dialect, is_plain=False)))
    whole = [row[:3] for row in table if len(row) == dialect.width and any(row)]
    assert [list(row[:-1]) for row in fast[0]] == whole
