"""CSV is parsed in this process: whatever the bytes, they are a table or a fault with a remedy."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.readers import find_files, reader_for

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


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
