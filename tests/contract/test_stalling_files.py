"""Files that would keep a nightly load busy, or fill the memory: each is given up in time, and the others load."""

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from freight.catalog import read_catalog
from freight.contracts import contract_for
from freight.drift import columns
from freight.errors import QuarantineLimitExceeded, SourceError
from freight.pipeline import bounds
from freight.pipeline.extract import extract_unit
from freight.pipeline.plan import first_unit
from freight.pipeline.units import PlannedUnit, RawSpool
from freight.readers import FILES_ONLY, RawTable, allowance, delimited, find_files, isolated, reader_for, strict_csv
from freight.readers.packed import FAIR_RATIO
from freight.spool import read_spool
from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import HEADER, NOW, Corridor
from tests.lib.examples import examples

AT = "2026-02-01 10:00:00"
RAGGED, CUT = b"x,y\n", b"x,y,z,v,w\n"
STRICT, STRAY = b'TRX-1,"MCH-001"x,z,v,w\n', b"TRX-1,\xc3\xa9\xff,z,v,w\n"  # after these each row is looked at alone


def content(*lines: bytes) -> bytes:
    return b"".join([HEADER.encode(), b"\n", *lines])


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    """A suspect source beside a sound one."""
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    corridor.add_source("suspect", "transactions", "csv", "hostile/*")
    corridor.add_source("sound", "transactions", "csv", "sound*.csv")
    corridor.write_transactions("sound_20260202.csv", [f"TRX-500,MCH-001,{AT},30,OK"])
    return corridor


def failure_beside_a_good_one(corridor: Corridor) -> str:
    report = corridor.load()
    assert report.counts("sound") == LoadCounts(read=1, inserted=1)
    (failure,) = report.failures
    return failure.message


@pytest.mark.parametrize(
    ("first", "line"),
    [(b"", RAGGED), (STRICT, RAGGED), (STRICT, CUT), (STRICT, b"\n"), (STRAY, RAGGED), (STRAY, CUT)],
)
def test_a_small_packed_file_with_very_many_bad_rows_is_not_read_to_its_end(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch, first: bytes, line: bytes
) -> None:
    """The attack: 40 kB with ten million of them took 98 s and 8 GiB; here it is a tenth of a tenth of that."""
    monkeypatch.setattr(allowance, "RECORDS", 10_000)
    corridor.write("hostile/a.csv.gz", gzip.compress(content(first, line * 100_000)))
    told = failure_beside_a_good_one(corridor)
    assert told.startswith("hostile/a.csv.gz: more than ")
    assert "of its records must be examined one by one" in told
    assert "[too_large]. Remedy: check its content; deliver the table alone, in parts, or unpacked" in told


def test_the_files_of_a_packed_one_share_what_it_may_cost(corridor: Corridor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "RECORDS", 100_000)
    with zipfile.ZipFile(corridor.write("hostile/a.zip", b""), "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(20):
            packed.writestr(f"{number}.csv", content(RAGGED * 9_000))
    failures = corridor.load().failures
    assert len(failures) == 20
    for failure in failures:
        assert "of its records must be examined one by one" in failure.message


def test_as_many_records_may_be_looked_at_one_by_one_as_a_file_has_that_is_not_packed(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "RECORDS", 0)
    corridor.sources[0]["quarantine_limit"] = 1.0
    corridor.write("hostile/a.csv", content(STRICT, b"x\n" * 100, b"\n" * 10_000))
    assert corridor.load().counts("suspect") == LoadCounts(read=101, quarantined=101)


def test_reading_stops_once_the_quarantine_limit_cannot_be_kept_any_more(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LOOKED_AT_ROWS", 1_000)
    monkeypatch.setattr(delimited, "PARSE_BLOCK_BYTES", 1 << 12)
    corridor.write("hostile/a.csv", content(RAGGED * 50_000))
    told = failure_beside_a_good_one(corridor)
    assert told.startswith("hostile/a.csv: at least ")
    assert "the file exceeds the limit of 30% whatever follows, so the rest was not read: ragged_row" in told
    ((read, bad),) = corridor.rows("load_attempts", "read_rows", "quarantined")
    assert 10_000 < read < 30_000
    assert bad == read
    assert len(corridor.rows("load_attempt_rows")) == 100


def planned(folder: Path, lines: bytes, limit: float) -> PlannedUnit:
    (folder / "a.csv").write_bytes(lines)
    source = {"name": "s", "dataset": "transactions", "reader": "csv", "location": "a.csv", "quarantine_limit": limit}
    (folder / "catalog.yaml").write_text(yaml.safe_dump({"sources": [source]}))
    catalog = read_catalog(folder / "catalog.yaml")
    return first_unit(catalog.sources[0], NOW, FILES_ONLY, folder)


GOOD = [b"a,,,,\n", b"TRX-1,MCH-001,2026-02-01 10:00:00,30,OK\n"]  # the shortest that is none of the blank ones
BLANK = [b"\n", b",,,,\n"]
BAD = [b"x\n", b"x,y\n", b",,,,,,\n", b"\n\n\nx\n"]


@examples(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(
        st.tuples(st.sampled_from([*GOOD, *BLANK, *BAD]), st.integers(1, 60)).map(lambda many: many[0] * many[1]),
        max_size=12,
    ),
    limit=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]),
    block=st.sampled_from([256, 1_000, 1 << 20]),
)
def test_a_file_is_refused_early_only_if_it_would_be_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes], limit: float, block: int
) -> None:
    unit = planned(tmp_path, content(GOOD[1], *lines), limit)
    with monkeypatch.context() as patched:
        patched.setattr(delimited, "PARSE_BLOCK_BYTES", block)
        whole = extract_unit(unit, tmp_path / "whole")
        patched.setattr(bounds, "LOOKED_AT_ROWS", 0)
        early = extract_or_refusal(unit, tmp_path / "early")
    if isinstance(early, QuarantineLimitExceeded):
        assert whole.faults > limit * (whole.rows + whole.faults)
        assert early.read_rows <= whole.rows + whole.faults
        assert sum(early.reason_counts.values()) <= whole.faults
        return
    assert (early.rows, early.faults, early.row_range) == (whole.rows, whole.faults, whole.row_range)
    assert kept(whole.rows_path) == kept(early.rows_path)
    assert kept(whole.faults_path) == kept(early.faults_path)


def extract_or_refusal(unit: PlannedUnit, folder: Path) -> RawSpool | QuarantineLimitExceeded:
    try:
        return extract_unit(unit, folder)
    except QuarantineLimitExceeded as refused:
        return refused


def kept(path: Path) -> list[tuple[object, ...]]:
    return [row for frame in read_spool(path) for row in frame.iter_rows()]


def read(folder: Path, lines: bytes) -> RawTable:
    (folder / "a.csv").write_bytes(content(lines))
    return reader_for("csv")(find_files("a.csv", folder)[0], contract_for("transactions"), {})


def test_records_that_cannot_be_cut_are_handed_out_while_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the memory holds all of them: they took 8 GiB."""
    monkeypatch.setattr(delimited, "PARSE_BLOCK_BYTES", 1 << 10)
    batches = list(read(tmp_path, RAGGED * 5_000).batches)
    assert max(batch.faults.height for batch in batches) < 1_000
    assert [n for batch in batches for n in batch.faults["row_number"]] == list(range(2, 5_002))


@pytest.mark.parametrize("lines", [STRICT + b"x" * 5_000, STRICT + b'"' + b"x,\n" * 2_000, b'"a"b' + b'""' * 5_000])
def test_a_record_that_memory_should_not_hold_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: bytes
) -> None:
    monkeypatch.setattr(strict_csv, "RECORD_LIMIT_CHARS", 1 << 10)
    monkeypatch.setattr(strict_csv, "CELL_LIMIT_CHARS", 1 << 9)
    with pytest.raises(SourceError, match=r"row [23]: the record has more than .* characters \[corrupt\]"):
        list(read(tmp_path, lines).batches)


def test_a_header_of_very_many_columns_is_not_compared_with_each_of_the_contract(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Mock(return_value=0.0)
    monkeypatch.setattr(columns, "likeness", looks)
    header = ",".join(["transaction_id", *(f"c{number}" for number in range(5_000))])
    corridor.write("hostile/a.csv", f"{header}\n{',' * 5_000}\n")
    assert "the header lacks 'machine_id'" in failure_beside_a_good_one(corridor)
    assert looks.call_count == 0


def ticking(step_s: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield (now := now + step_s)


def test_a_file_that_takes_longer_than_any_of_its_size_is_given_up(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor.write("hostile/a.csv", content(b"TRX-1,MCH-001,2026-02-01 10:00:00,30,OK\n"))
    with monkeypatch.context() as patched:
        patched.setattr(bounds, "time", SimpleNamespace(process_time=ticking(bounds.CPU_S + 10).__next__))
        told = [outcome.message for outcome in corridor.load().failures]
    for message in told:
        assert "it takes more than 120 s of processor time, the limit for a file of its size [timed_out]" in message
        assert "Remedy: check its content" in message
    assert told[0].startswith("hostile/a.csv: ")


def test_a_large_file_has_twenty_times_as_long_as_it_needs(tmp_path: Path) -> None:
    """Half a gigabyte takes some 15 s on a usual machine; so ten times as slow a one is not nearly given up."""
    (tmp_path / "a.csv").write_bytes(b"")
    with (tmp_path / "a.csv").open("r+b") as file:
        file.truncate(500_000_000)
    (item,) = find_files("a.csv", tmp_path)
    limit_s = bounds.Time(SimpleNamespace(content=SimpleNamespace(item=item)))._limit_s  # type: ignore[arg-type]
    assert limit_s is not None
    assert limit_s > 20 * 150


def test_the_time_of_a_parser_follows_from_a_packed_file_and_not_from_what_comes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else 40 kB of blanks buy half an hour of the processor."""
    stored = gzip.compress(b"[" + b" " * 2_000_000 + b'{"machine_id": "MCH-001"}]')
    (tmp_path / "a.json.gz").write_bytes(stored)
    limit_s = Mock(wraps=isolated.cpu_limit_s)
    monkeypatch.setattr(isolated, "cpu_limit_s", limit_s)
    (file,) = find_files("a.json.gz", tmp_path)
    list(reader_for("json")(file, contract_for("machines"), {}).batches)
    limit_s.assert_called_once_with(len(stored) * FAIR_RATIO)
