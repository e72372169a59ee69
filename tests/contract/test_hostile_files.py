"""Files that nobody should deliver and somebody will: each ends with a name, a place and a remedy, or row by row."""

import gzip
import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from fsspec.implementations.local import LocalFileSystem

from freight.contracts import Contract
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER
from freight.pipeline import UnitOutcome, reshape
from freight.readers import RawTable, SourceFile, json_records, reader_for
from freight.readers.raw import RawBatch
from freight.types import LoadCounts
from freight.warehouse.connect import reading
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import HEADER, Corridor
from tests.lib.tables import content_of

MEGABYTE = 1 << 20
DEEPER_THAN_PYTHON = 1_200
AT = "2026-02-01 10:00:00"
GOOD_LINES = [f"TRX-{number},MCH-001,{AT},30,OK" for number in range(1, 9)]
GOOD_MACHINES = [
    {"machine_id": f"MCH-{number:03}", "site_location": "Douala", "installation_year": 2010} for number in range(1, 9)
]


def csv_of(*lines: str, header: str = HEADER) -> bytes:
    return ("\n".join([header, *lines]) + "\n").encode()


def json_of(*last: str) -> bytes:
    """Return a JSON list of good machines that ends with some objects written by hand."""
    return ("[" + ",".join([*map(json.dumps, GOOD_MACHINES), *last]) + "]").encode()


def jsonl_of(*last: bytes) -> bytes:
    return b"\n".join([*(json.dumps(machine).encode() for machine in GOOD_MACHINES), *last]) + b"\n"


GZIPPED = gzip.compress(csv_of(*(f"TRX-{n},MCH-001,{AT},{n % 97},OK" for n in range(500))))


def broken_in_the_middle(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 8 + content[middle + 8 :]


@dataclass(frozen=True)
class Refused:
    """A file of which nothing may load: what is wrong, and what the message has to say."""

    breaks: str
    name: str
    content: bytes
    fault: str
    says: str = ""

    @property
    def reader(self) -> str:
        return {"json": "json", "jsonl": "jsonl"}.get(self.name.rpartition(".")[2], "csv")


REFUSED = [
    Refused("no byte was written", "a.csv", b"", "empty"),
    Refused("only white space was written", "a.csv", b" \n\r\n\t", "empty"),
    Refused("only a byte order mark was written", "a.csv", b"\xef\xbb\xbf", "empty"),
    Refused("the disk of the sender gave zeros", "a.csv", bytes(4096), "empty"),
    Refused("the export found no rows", "a.csv", csv_of(), "header_only"),
    Refused(
        "a column was dropped", "a.csv", b"transaction_id,machine_id,date\nTRX-1,MCH-001,x\n", "missing_column", "vol"
    ),
    Refused("the header was dropped", "a.csv", "\n".join(GOOD_LINES).encode(), "missing_column", "'transaction_id'"),
    Refused(
        "two headers mean one column",
        "a.csv",
        csv_of(f"TRX-1,MCH-001,{AT},1,OK,ERR", header=f"{HEADER},Statut"),
        "doubled_column",
        "column 'Statut'",
    ),
    Refused(
        "a column was added",
        "a.csv",
        csv_of(f"TRX-1,MCH-001,{AT},1,OK,x", header=f"{HEADER},colour"),
        "unknown_column",
        "column 'colour'",
    ),
    Refused(
        "a header of 10 MB",
        "a.csv",
        csv_of(*GOOD_LINES, header=f"{HEADER},{'x' * 10 * MEGABYTE}"),
        "unknown_column",
        "a cell of 65,474 characters",
    ),
    Refused(
        "a header that is SQL",
        "a.csv",
        csv_of(*GOOD_LINES, header=f'{HEADER},"x""); DROP TABLE fact_transactions; --"'),
        "unknown_column",
        "a cell of 37 characters",
    ),
    Refused(
        "a quote is opened and never closed in the last column",
        "a.csv",
        csv_of(*GOOD_LINES[:3], f'TRX-90,MCH-001,{AT},1,"OK', *GOOD_LINES[3:]),
        "corrupt",
        "row 5",
    ),
    Refused(
        "a quote is opened and never closed in the middle of a row",
        "a.csv",
        csv_of(*GOOD_LINES[:3], f'TRX-90,"MCH-001,{AT},1,OK', *GOOD_LINES[3:]),
        "corrupt",
        "row 5",
    ),
    Refused(
        "the last row ends within a quote: the transfer broke off",
        "a.csv",
        csv_of(*GOOD_LINES)[:-1] + f'\nTRX-90,MCH-001,{AT},1,"O'.encode(),
        "corrupt",
        "row 10",
    ),
    Refused(
        "a quote is never closed in UTF-16",
        "a.csv",
        (csv_of(*GOOD_LINES).decode() + 'TRX-90,"MCH').encode("utf-16"),
        "corrupt",
        "row 10",
    ),
    Refused("a cell of 10 MB", "a.csv", csv_of(*GOOD_LINES, f"TRX-90,MCH-001,{AT},1,{'x' * 10 * MEGABYTE}"), "corrupt"),
    Refused("UTF-16 that lost a byte", "a.csv", csv_of(*GOOD_LINES).decode().encode("utf-16-le")[:-1], "corrupt"),
    Refused(
        "bytes of no encoding", "a.csv", csv_of(*GOOD_LINES) + b"TRX-9,\xff\x81\x8d,,,\n", "unknown_encoding", "options"
    ),
    Refused("a file of passwords", "a.csv", b"root:x:0:0:root:/root:/bin/bash\n" * 2, "missing_column", "a cell of 31"),
    Refused("a login page instead of data", "a.csv", b"<html><body>Please sign in</body></html>", "missing_column"),
    Refused("a .csv.gz that broke off", "a.csv.gz", GZIPPED[: len(GZIPPED) // 2], "corrupt"),
    Refused("a .csv.gz without its check sum", "a.csv.gz", GZIPPED[:-6], "corrupt"),
    Refused("a .csv.gz with flipped bytes", "a.csv.gz", broken_in_the_middle(GZIPPED), "corrupt"),
    Refused("a .csv.gz that is no gzip", "a.csv.gz", csv_of(*GOOD_LINES), "corrupt"),
    Refused(
        "most rows break the contract",
        "a.csv",
        csv_of(*GOOD_LINES[:2], "x,y,z,1,OK", "x,y,z,2,OK"),
        "quarantine_limit",
        "2 of 4",
    ),
    Refused("no byte was written", "a.json", b"", "empty"),
    Refused("an empty list", "a.json", b"[]", "header_only"),
    Refused("white space without end", "a.json", b"[" + b" " * 24 * MEGABYTE + b"]", "too_large", "16 MiB"),
    Refused(
        "an object of 24 MB", "a.json", json_of('{"machine_id":"' + "x" * 24 * MEGABYTE + '"}'), "too_large", "row 9"
    ),
    Refused(
        "NaN is not JSON", "a.json", json_of('{"machine_id":"MCH-090","installation_year":NaN}'), "corrupt", "line 1"
    ),
    Refused(
        "Infinity is not JSON", "a.json", json_of('{"machine_id":"MCH-090","installation_year":Infinity}'), "corrupt"
    ),
    Refused("lists nested 100,000 deep", "a.json", b"[" * 100_000 + b"]" * 100_000, "corrupt", "depth"),
    Refused(
        "a value nested 100,000 deep",
        "a.json",
        json_of('{"machine_id":' + "[" * 100_000 + "]" * 100_000 + "}"),
        "corrupt",
    ),
    Refused("JSON that broke off", "a.json", json_of()[:-30], "corrupt", "end of data"),
    Refused("two documents in one file", "a.json", json_of() + json_of(), "corrupt", "character"),
    Refused(
        "an object without a list",
        "a.json",
        b'{"error": "no access"}',
        "unsupported",
        "'data', 'items'".replace("'", ""),
    ),
    Refused("a bare number", "a.json", b"3", "unsupported"),
    Refused(
        "half of a surrogate pair", "a.json", json_of(r'{"machine_id":"MCH-090","site_location":"\ud800"}'), "corrupt"
    ),
    Refused("JSON in cp1252", "a.json", json_of().replace(b"Douala", b"Ed\xe9a", 1), "corrupt", "UTF-8"),
    Refused("a list of numbers", "a.json", b"[1, 2, 3]", "unsupported", "none of the first 3"),
    Refused("an added key", "a.json", json_of('{"machine_id":"MCH-090","colour":1}'), "unknown_column", "'colour'"),
    Refused(
        "a key with a NUL",
        "a.json",
        json_of('{"machine_id":"MCH-090","a\\u0000b":1}'),
        "unknown_column",
        "a cell of 3 characters",
    ),
    Refused("no byte was written", "a.jsonl", b"", "empty"),
    Refused("an added key", "a.jsonl", jsonl_of(b'{"machine_id":"MCH-090","colour":1}'), "unknown_column", "'colour'"),
    Refused("a list in a file of lines", "a.jsonl", b"[\n1,\n2\n]\n", "unsupported", "reader: json"),
]


def hostile_and_good(folder: Path, warehouse: WarehouseUnderTest, reader: str) -> Corridor:
    """Return a corridor whose second source has one good file beside whatever is written as `hostile/…`."""
    dataset = "transactions" if reader == "csv" else "machines"
    corridor = Corridor(folder, warehouse.engine)
    corridor.add_source("suspect", dataset, reader, "hostile/*")
    corridor.add_source("sound", "transactions", "csv", "sound*.csv")
    corridor.write_transactions("sound_20260202.csv", [f"TRX-500,MCH-001,{AT},30,OK"])
    return corridor


@pytest.fixture
def lone_failure_of(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Any:
    """Load a hostile file beside a good one; return how the hostile one failed."""

    def load(case: Refused) -> tuple[Corridor, UnitOutcome]:
        corridor = hostile_and_good(tmp_path, sqlite_warehouse, case.reader)
        corridor.write(f"hostile/{case.name}", case.content)
        report = corridor.load()
        assert [outcome.source for outcome in report.failures] == ["suspect"]
        assert report.counts("sound") == LoadCounts(read=1, inserted=1)
        return corridor, report.failures[0]

    return load


@pytest.mark.apart
@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.name}: {case.breaks}")
def test_a_refused_file_names_place_and_remedy_and_leaves_nothing_behind(lone_failure_of: Any, case: Refused) -> None:
    corridor, failure = lone_failure_of(case)
    assert failure.message.startswith(f"hostile/{case.name}")
    assert f"[{case.fault}]" in failure.message
    assert case.says in failure.message
    assert failure.message.partition("Remedy: ")[2]
    assert len(failure.message) < 2_000
    assert corridor.rows("load_attempts", "location", "fault", "message") == [
        (f"hostile/{case.name}", case.fault, failure.message)
    ]
    assert corridor.rows("fact_transactions", "transaction_id", "1") == [("TRX-500", 1)]
    for table in ("dim_machines", "machine_observations", "quarantine"):
        assert corridor.rows(table, order_by="1") == []
    assert corridor.rows("batches", "source", "1") == [("sound", 1)]
    assert corridor.rows("file_positions", "source", "1") == [("sound", 1)]
    assert [outcome.state for outcome in corridor.load().outcomes if outcome.source == "suspect"] == ["parked"]


@pytest.mark.parametrize("location", ["nowhere.csv", "nowhere/*.csv"])
def test_a_missing_file_is_named_and_the_others_load(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, location: str
) -> None:
    corridor = hostile_and_good(tmp_path, sqlite_warehouse, "csv")
    corridor.sources[0]["location"] = location
    report = corridor.load()
    assert [outcome.state for outcome in report.outcomes] == ["failed", "loaded"]
    assert report.failures[0].message.startswith(location)
    assert "[missing]. Remedy: deliver the file" in report.failures[0].message


@dataclass(frozen=True)
class BadRow:
    """A row that breaks the contract among eight good ones: the reason and the column that must be named."""

    breaks: str
    line: str
    reason: str
    column: str | None


BAD_ROWS = [
    BadRow("a word for a number", f"TRX-90,MCH-001,{AT},heavy,OK", "wrong_type", "volume_transferred_t"),
    BadRow("NaN", f"TRX-90,MCH-001,{AT},NaN,OK", "not_finite", "volume_transferred_t"),
    BadRow("infinity", f"TRX-90,MCH-001,{AT},inf,OK", "not_finite", "volume_transferred_t"),
    BadRow("more than a double holds", f"TRX-90,MCH-001,{AT},1e400,OK", "not_finite", "volume_transferred_t"),
    BadRow("below the range", f"TRX-90,MCH-001,{AT},-0.001,OK", "out_of_range", "volume_transferred_t"),
    BadRow("above the range", f"TRX-90,MCH-001,{AT},5000.001,OK", "out_of_range", "volume_transferred_t"),
    BadRow("a hexadecimal number", f"TRX-90,MCH-001,{AT},0x1F,OK", "wrong_type", "volume_transferred_t"),
    BadRow("a number with two commas", f'TRX-90,MCH-001,{AT},"1,5,5",OK', "wrong_type", "volume_transferred_t"),
    BadRow("29 February of no leap year", "TRX-90,MCH-001,2026-02-29 10:00:00,1,OK", "wrong_type", "transaction_at"),
    BadRow("two days ahead", "TRX-90,MCH-001,2026-03-03 13:30:00,1,OK", "future", "transaction_at"),
    BadRow("the year 1900", "TRX-90,MCH-001,1900-01-01 00:00:00,1,OK", "out_of_range", "transaction_at"),
    BadRow("month 13", "TRX-90,MCH-001,2026-13-01 00:00:00,1,OK", "wrong_type", "transaction_at"),
    BadRow("no key", f",MCH-001,{AT},1,OK", "required", "transaction_id"),
    BadRow("an unknown code", f"TRX-90,MCH-001,{AT},1,FINE", "not_allowed", "status_code"),
    BadRow("a NUL in a key", f"TRX-9\x000,MCH-001,{AT},1,OK", "pattern", "transaction_id"),
    BadRow("a NUL in a number", f"TRX-90,MCH-001,{AT},1\x000,OK", "wrong_type", "volume_transferred_t"),
    BadRow("SQL in a key", f"TRX-1'; DROP TABLE runs;--,MCH-001,{AT},1,OK", "pattern", "transaction_id"),
    BadRow("a quoted line end in a key", f'"TRX-90\nx",MCH-001,{AT},1,OK', "pattern", "transaction_id"),
    BadRow("a cell of 1 MB", f"TRX-90,MCH-001,{AT},1,{'x' * MEGABYTE}", "not_allowed", "status_code"),
    BadRow("too few cells", "TRX-90,MCH-001", "ragged_row", None),
    BadRow("too many cells", f"TRX-90,MCH-001,{AT},1,OK,,", "ragged_row", None),
]


@pytest.mark.parametrize("case", BAD_ROWS, ids=lambda case: case.breaks)
def test_a_bad_row_is_quarantined_by_place_and_reason_beside_its_good_neighbours(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, case: BadRow
) -> None:
    assert_only_the_bad_row_is_quarantined(tmp_path, sqlite_warehouse, case)


@pytest.mark.parametrize(
    "case", [case for case in BAD_ROWS if "NUL" in case.breaks or "cell" in case.breaks], ids=lambda case: case.breaks
)
def test_what_postgresql_text_cannot_hold_is_quarantined_as_bytes(
    tmp_path: Path, postgres_warehouse: WarehouseUnderTest, case: BadRow
) -> None:
    assert_only_the_bad_row_is_quarantined(tmp_path, postgres_warehouse, case)


def assert_only_the_bad_row_is_quarantined(folder: Path, warehouse: WarehouseUnderTest, case: BadRow) -> None:
    corridor = hostile_and_good(folder, warehouse, "csv")
    corridor.write("hostile/a.csv", csv_of(*GOOD_LINES[:4], case.line, *GOOD_LINES[4:]))
    report = corridor.load()
    assert report.failures == []
    assert report.counts("suspect") == LoadCounts(read=9, inserted=8, quarantined=1)
    names = ("location", "row_number", "column_name", "reason")
    assert corridor.rows("quarantine", *names) == [("hostile/a.csv", 6, case.column, case.reason)]
    assert len(corridor.rows("fact_transactions")) == 9


def test_bytes_that_are_no_text_are_quarantined_as_they_were(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = hostile_and_good(tmp_path, warehouse, "csv")
    corridor.write("hostile/a.csv", csv_of(*GOOD_LINES) + b"TRX-90,MCH-\xe9\xc3\xa9,x,1,OK\n")
    assert corridor.load().counts("suspect") == LoadCounts(read=9, inserted=8, quarantined=1)
    ((reason, number, raw),) = corridor.rows("quarantine", "reason", "row_number", "raw")
    assert (reason, number) == ("bad_encoding", 10)
    assert b"MCH-\xe9\xc3\xa9" in bytes(raw)


def test_29_february_of_a_leap_year_is_a_day(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> None:
    corridor = hostile_and_good(tmp_path, sqlite_warehouse, "csv")
    corridor.write("hostile/a.csv", csv_of("TRX-90,MCH-001,2024-02-29 23:59:59,1,OK"))
    assert corridor.load().counts("suspect").inserted == 1
    days = corridor.rows("fact_transactions", "CAST(transaction_date AS TEXT)", "transaction_id")
    assert ("2024-02-29", "TRX-90") in days


def test_a_quoted_line_end_stays_in_a_text(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("stations", "stations", "csv", "stations.csv")
    corridor.write("stations.csv", 'code,nom,region,lat,lon,km\nDLA,"Douala\nPort","Lit""toral",4.05,9.7,0\n')
    assert corridor.load().failures == []
    assert corridor.rows("dim_stations", "station_name", "region") == [("Douala\nPort", 'Lit"toral')]


def test_duplicates_within_and_across_files_leave_the_newest(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = hostile_and_good(tmp_path, warehouse, "csv")
    corridor.write("hostile/b_20260202.csv", csv_of(*(f"TRX-1,MCH-001,{AT},{v},OK" for v in (1, 2))))
    corridor.write("hostile/a_20260203.csv", csv_of(*(f"TRX-1,MCH-001,{AT},{v},OK" for v in (3, 4))))
    assert corridor.load().counts("suspect") == LoadCounts(read=4, inserted=1, superseded=3)
    assert ("TRX-1", 4.0) in corridor.rows("fact_transactions", "transaction_id", "volume_transferred_t")


class FilesystemThatFails(LocalFileSystem):  # type: ignore[misc]
    """A disk on which one file cannot be used."""

    cachable = False

    def __init__(self, error: OSError, at: str) -> None:
        super().__init__()
        self._error, self._at = error, at

    def open(self, path: str, *arguments: Any, **options: Any) -> Any:
        if self._at == "open" and "hostile" in path:
            raise self._error
        return super().open(path, *arguments, **options)

    def glob(self, path: str, **options: Any) -> Any:
        if self._at == "glob" and "hostile" in path:
            raise self._error
        return super().glob(path, **options)


@pytest.mark.parametrize("at", ["open", "glob"])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied"), "permission denied [unreadable]. Remedy: grant access"),
        (OSError(5, "Input/output error"), "reading failed: Input/output error [unreadable]. Remedy: check the disk"),
    ],
    ids=["permission denied", "disk error"],
)
def test_an_unreadable_file_fails_alone_and_loads_once_it_can_be_read(
    tmp_path: Path,
    sqlite_warehouse: WarehouseUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    says: str,
    at: str,
) -> None:
    corridor = hostile_and_good(tmp_path, sqlite_warehouse, "csv")
    corridor.write("hostile/a.csv", csv_of(*GOOD_LINES))
    broken = FilesystemThatFails(error, at)
    with monkeypatch.context() as patched:
        patched.setattr("freight.readers.locations._filesystem", lambda *_: broken)
        report = corridor.load()
    assert [outcome.source for outcome in report.failures] == ["suspect"]
    assert report.failures[0].message.startswith("hostile/")
    assert says in report.failures[0].message
    assert corridor.load().counts("suspect").inserted == 8


@contextmanager
def while_being_read(monkeypatch: pytest.MonkeyPatch, meddle: Any) -> Iterator[None]:
    """Let somebody meddle with the files of the suspect source right after its reader has opened one."""

    def meddling_reader_for(name: str) -> Any:
        def read(file: SourceFile, contract: Contract, options: Mapping[str, Any]) -> RawTable:
            table = reader_for(name)(file, contract, options)
            if "hostile" in file.path:
                meddle()
            return table

        return read

    with monkeypatch.context() as patched:
        patched.setattr(reshape, "reader_for", meddling_reader_for)
        yield


def test_a_file_that_grows_while_it_is_read_loads_nothing_until_it_is_complete(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = hostile_and_good(tmp_path, sqlite_warehouse, "csv")
    path = corridor.write("hostile/a.csv", csv_of(*GOOD_LINES))
    with while_being_read(monkeypatch, lambda: path.write_bytes(csv_of(*GOOD_LINES, f"TRX-9,MCH-001,{AT},1,OK"))):
        report = corridor.load()
    assert report.failures == []
    assert ["[changed_while_reading]. Remedy:" in o.message for o in report.outcomes if o.state == "waiting"] == [True]
    assert len(corridor.rows("fact_transactions")) == 1
    assert corridor.load().counts("suspect") == LoadCounts(read=9, inserted=9)


def test_a_file_that_is_only_touched_while_it_is_read_is_not_parked(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = hostile_and_good(tmp_path, sqlite_warehouse, "csv")
    path = corridor.write("hostile/a.csv", csv_of(*GOOD_LINES))
    with while_being_read(monkeypatch, lambda: os.utime(path, (1, 1))):
        assert [o.state for o in corridor.load().outcomes if o.source == "suspect"] == ["waiting"]
    assert corridor.load().counts("suspect") == LoadCounts(read=8, inserted=8)


def test_a_file_that_goes_while_it_is_read_loads_nothing(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = hostile_and_good(tmp_path, sqlite_warehouse, "csv")
    path = corridor.write("hostile/a.csv", csv_of(*GOOD_LINES))
    with while_being_read(monkeypatch, path.unlink):
        assert "hostile/a.csv: the file has gone [missing]" in corridor.load().failures[0].message
    assert len(corridor.rows("fact_transactions")) == 1


STATION_TEXT = "code,nom,region,lat,lon,km\nEDE,Edéa,Littoral,3.8,10.13,82\nBEL,Bélabo,Est,4.93,13.3,560\n"
ENCODED = {
    "UTF-8 with a byte order mark": STATION_TEXT.encode("utf-8-sig"),
    "UTF-8 with a byte order mark and CRLF": STATION_TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
    "UTF-8 with a byte order mark and CR": STATION_TEXT.replace("\n", "\r").encode("utf-8-sig"),
    "cp1252": STATION_TEXT.encode("cp1252"),
    "cp1252 and CR": STATION_TEXT.replace("\n", "\r").encode("cp1252"),
    "UTF-16 LE with a byte order mark": b"\xff\xfe" + STATION_TEXT.encode("utf-16-le"),
    "UTF-16 LE without": STATION_TEXT.encode("utf-16-le"),
    "UTF-16 BE with a byte order mark": b"\xfe\xff" + STATION_TEXT.encode("utf-16-be"),
    "UTF-16 BE without, CRLF": STATION_TEXT.replace("\n", "\r\n").encode("utf-16-be"),
    "mixed line ends": STATION_TEXT.replace("\n", "\r\n", 1).encode(),
    "no line end at the end": STATION_TEXT.rstrip("\n").encode(),
    "semicolons and decimal commas": STATION_TEXT.replace(",", ";").replace(".", ",").encode(),
    "tabs in UTF-16": STATION_TEXT.replace(",", "\t").encode("utf-16"),
    "accented headers in capitals": STATION_TEXT.replace("region", " RÉGION ", 1).encode(),
}


@pytest.mark.parametrize("content", ENCODED.values(), ids=ENCODED)
def test_every_way_to_write_a_table_gives_the_same_table(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, content: bytes
) -> None:
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    corridor.add_source("stations", "stations", "csv", "stations_20260101.csv")
    corridor.write("stations_20260101.csv", content)
    assert corridor.load().counts() == LoadCounts(read=2, inserted=2)
    names = ("station_code", "station_name", "region", "latitude_deg", "longitude_deg", "corridor_km", "origin_seq")
    assert corridor.rows("dim_stations", *names) == [
        ("BEL", "Bélabo", "Est", 4.93, 13.3, 560.0, 3),
        ("EDE", "Edéa", "Littoral", 3.8, 10.13, 82.0, 2),
    ]


def test_leading_zeros_survive_in_texts(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("stations", "stations", "csv", "stations.csv")
    corridor.add_source("erp", "transactions", "csv", "erp.csv")
    corridor.write("stations.csv", "code,nom,region,lat,lon,km\nDLA,007,0042,4.05,9.7,0\n")
    corridor.write_transactions("erp.csv", [f"TRX-007,MCH-001,{AT},1,OK"])
    corridor.load()
    assert corridor.rows("dim_stations", "station_name", "region") == [("007", "0042")]
    assert corridor.rows("fact_transactions", "transaction_id", "1") == [("TRX-007", 1)]


BAD_RECORDS = {
    "a nested value": ("a.json", json_of('{"machine_id":"MCH-090","site_location":{"a":1}}'), "nested_value", 9),
    "a number in the list": ("a.json", json_of("7"), "ragged_row", 9),
    "a NUL in a text": (
        "a.json",
        json_of('{"machine_id":"MCH-090","site_location":"a\\u0000b"}'),
        "control_character",
        9,
    ),
    "a year with a fraction": (
        "a.json",
        json_of('{"machine_id":"MCH-090","installation_year":2010.5}'),
        "wrong_type",
        9,
    ),
    "a year beyond 64 bits": (
        "a.json",
        json_of('{"machine_id":"MCH-090","installation_year":1' + "0" * 30 + "}"),
        "wrong_type",
        9,
    ),
    "a doubled key": (
        "a.json",
        json_of('{"machine_id":"MCH-090","site_location":"A","site_location":"B"}'),
        "doubled_field",
        9,
    ),
    "a doubled key in a line": (
        "a.jsonl",
        jsonl_of(b'{"machine_id":"MCH-090","machine_id":"MCH-091"}'),
        "doubled_field",
        9,
    ),
    "a number of 400 digits": (
        "a.json",
        json_of('{"machine_id":"MCH-090","installation_year":' + "9" * 400 + "}"),
        "wrong_type",
        9,
    ),
    "a broken line": ("a.jsonl", jsonl_of(b'{"machine_id":'), "ragged_row", 9),
    "a line in cp1252": ("a.jsonl", jsonl_of(b'{"machine_id":"\xe9"}'), "ragged_row", 9),
    "a line nested 100,000 deep": ("a.jsonl", jsonl_of(b"[" * 100_000 + b"]" * 100_000), "ragged_row", 9),
    "a line of 10 MB": (
        "a.jsonl",
        jsonl_of(b'{"machine_id":"MCH-090","site_location":"' + b"x" * 10 * MEGABYTE + b'"}'),
        "too_long",
        9,
    ),
}


@pytest.mark.parametrize(("name", "content", "reason", "number"), BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_bad_json_record_is_quarantined_and_the_others_load(
    tmp_path: Path, warehouse: WarehouseUnderTest, name: str, content: bytes, reason: str, number: int
) -> None:
    corridor = hostile_and_good(tmp_path, warehouse, "jsonl" if name.endswith("l") else "json")
    corridor.write(f"hostile/{name}", content)
    report = corridor.load()
    assert report.failures == []
    assert report.counts("suspect") == LoadCounts(read=9, inserted=8, quarantined=1)
    assert corridor.rows("quarantine", "row_number", "reason") == [(number, reason)]


HOSTILE_NAMES = [
    "a'; DROP TABLE fact_transactions;--.csv",
    'a"`$(reboot)`|&.csv',
    "a\nb.csv",
    "a\u202evsc.csv",
    "a%s%(name)s{0}:x.csv",
    "a_20260230_99999999.csv",
    "é" * 100 + ".csv",
    os.fsdecode(b"Bulletin_d\xe9pot.csv"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_file_name_is_only_a_name(tmp_path: Path, warehouse: WarehouseUnderTest, name: str) -> None:
    corridor = hostile_and_good(tmp_path, warehouse, "csv")
    corridor.write(f"hostile/{name}", csv_of(*GOOD_LINES))
    schema = schema_of(warehouse)
    assert corridor.load().counts("suspect") == LoadCounts(read=8, inserted=8)
    stored = [location for location, _ in corridor.rows("batches", "location", "1") if location.startswith("hostile")]
    written = f"hostile/{name}".encode("utf-8", "backslashreplace").decode()
    assert stored == [written.replace("\n", "\\n").replace("\u202e", "\\u202e")]
    assert schema_of(warehouse) == schema
    assert [outcome.state for outcome in corridor.load().outcomes] == ["unchanged", "unchanged"]


def schema_of(warehouse: WarehouseUnderTest) -> dict[str, list[str]]:
    with reading(warehouse.engine) as connection:
        found = sa.inspect(connection)
        return {table: [column["name"] for column in found.get_columns(table)] for table in found.get_table_names()}


# What breaks programs that take a text for something else; each must come back byte-equal or be quarantined.
NAUGHTY = [
    "undefined",
    "null",
    "NULL",
    "None",
    "nil",
    "NaN",
    "-1",
    "1e309",
    "0x10",
    "1/0",
    "true",
    "1;DROP TABLE dim_stations",
    "'; DROP TABLE dim_stations; --",
    "' OR 1=1 --",
    '" OR ""="',
    "'); DELETE FROM fact_transactions WHERE ('1'='1",
    "Robert'); DROP TABLE Students;--",
    "%s%s%s%n",
    "%(batch_id)s",
    ":batch_id",
    "?",
    "{0}",
    "${HOME}",
    "$(touch pwned)",
    "`id`",
    "| cat",
    "&& true",
    "../../etc/passwd",
    "C:\\Windows\\System32",
    "\\",
    "\\.",
    "\\N",
    "\\x00",
    "\\u0000",
    '"',
    '""',
    "a,b;c\td|e",
    "line\nbreak",
    "carriage\rreturn",
    "=1+1",
    "=HYPERLINK(1)",
    "+1",
    "@SUM(1)",
    "<script>alert(1)</script>",
    "&amp;",
    "Ngaoundéré",
    "Ngaounde\u0301re\u0301",
    "ß ẞ ı İ ſ",
    "مرحبا",
    "\u202eright to left",
    "שלום",
    "中文測試",
    "한국어",
    "😀👩‍👩‍👧🇨🇲",
    "zero\u200bwidth\u200d\ufeff",
    "nonbreaking\u00a0space",
    "Z̸̢a̵̧l̷g̴o̶",
    "\u0085next line",
    "\ue000private",
    "\U0010ffff",
    "\ufffd",
    "\ufdd0",
    "x" * 80,
    "x" * 81,
    "x" * 100_000,
    "nul\x00inside",
    "bell\x07",
    "escape\x1b[31m",
    "unit\x1fseparator",
    "delete\x7f",
]
FORBIDDEN = {"Cc", "Cf", "Zl", "Zp"}  # categories of characters that cannot be seen


@pytest.fixture
def named_stations() -> list[dict[str, Any]]:
    """Stations whose names are the naughty strings; the code is counted in letters."""
    codes = [f"N{chr(65 + number // 26)}{chr(65 + number % 26)}" for number in range(len(NAUGHTY))]
    return [
        {"code": code, "nom": name, "region": "Est", "lat": 4, "lon": 10, "km": 1}
        for code, name in zip(codes, NAUGHTY, strict=True)
    ]


@pytest.mark.parametrize("reader", ["csv", "json"])
def test_naughty_strings_come_back_byte_equal_or_are_quarantined(
    tmp_path: Path, warehouse: WarehouseUnderTest, named_stations: list[dict[str, Any]], reader: str
) -> None:
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("stations", "stations", reader, "stations.*")
    corridor.write(f"stations.{reader}", json.dumps(named_stations) if reader == "json" else quoted_csv(named_stations))
    schema = schema_of(warehouse)
    assert corridor.load().failures == []
    stored = dict(corridor.rows("dim_stations", "station_code", "station_name"))
    good = {row["code"]: in_one_way(row["nom"]) for row in named_stations if is_storable(row["nom"])}
    assert {code: name.encode() for code, name in stored.items()} == {
        code: name.encode() for code, name in good.items()
    }
    reasons = {"too_long" if len(name) > 80 else "control_character" for name in NAUGHTY if not is_storable(name)}
    quarantined = corridor.rows("quarantine", "row_number", "reason", "raw")
    assert len(quarantined) == len(NAUGHTY) - len(good)
    assert {reason for _, reason, _ in quarantined} == reasons
    for number, _, raw in quarantined:
        row = named_stations[number - (1 if reader == "json" else 2)]
        assert json.loads(bytes(raw))["station_name"] == row["nom"]
    assert schema_of(warehouse) == schema


def is_storable(name: str) -> bool:
    inside = name.strip("\x85")  # a space, at the edge of a text
    unseen = (char for char in inside if char not in "\t\n\r" and unicodedata.category(char) in FORBIDDEN)
    return len(name) <= 80 and not any(unseen) and "\ufe0f" not in name and "\ufffd" not in name


def in_one_way(name: str) -> str:
    """Return a name with plain spaces and whole accents."""
    plain = "".join(" " if unicodedata.category(char) == "Zs" else char for char in name.strip())
    return unicodedata.normalize("NFC", plain)


def quoted_csv(records: list[dict[str, Any]]) -> str:
    def line(cells: Any) -> str:
        return ",".join('"' + str(cell).replace('"', '""') + '"' for cell in cells)

    return "\n".join([line(records[0]), *(line(record.values()) for record in records)]) + "\n"


@pytest.mark.parametrize("code", ["DLA'; DROP TABLE dim_stations;--", "DL", "dla", "DÉÉ", "DLA\n"], ids=ascii)
def test_a_hostile_station_code_is_quarantined_or_read_as_the_code(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, code: str
) -> None:
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    corridor.add_source("stations", "stations", "json", "stations.json", quarantine_limit=1.0)
    corridor.write(
        "stations.json", json.dumps([{"code": code, "nom": "x", "region": "y", "lat": 4, "lon": 10, "km": 1}])
    )
    before = schema_of(sqlite_warehouse)
    assert corridor.load().failures == []
    assert corridor.rows("dim_stations", "station_code", "1") == ([("DLA", 1)] if code.strip() == "DLA" else [])
    assert schema_of(sqlite_warehouse) == before


def test_both_engines_hold_the_same_of_a_hostile_folder(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, postgres_warehouse: WarehouseUnderTest
) -> None:
    lines = [case.line for case in BAD_ROWS if len(case.line) < MEGABYTE and '"' not in case.line]
    contents = []
    for warehouse in (sqlite_warehouse, postgres_warehouse):
        corridor = Corridor(tmp_path, warehouse.engine)
        corridor.add_source("erp", "transactions", "csv", "a_20260202.csv", quarantine_limit=1.0)
        os.utime(corridor.write("a_20260202.csv", csv_of(*GOOD_LINES, *lines)), (1, 1))
        assert corridor.load().counts("erp").quarantined == len(lines)
        contents.append(content_of(warehouse.engine))
    assert contents[0] == contents[1]


def test_rows_of_one_number_cost_their_file_only(
    tmp_path: Path, warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parser that was taken over numbers as it likes; the warehouse keeps each bad row by its number."""
    rows = pl.DataFrame({"0": ["odd", "odder"], "1": ["a", "b"], "2": ["2010", "2011"], ROW_NUMBER: [1, 1]})
    lie = RawTable(
        ("machine_id", "site_location", "installation_year"),
        iter([RawBatch(rows, pl.DataFrame(schema=BAD_ROWS_SCHEMA))]),
    )
    monkeypatch.setattr(json_records, "read_isolated", lambda *_: lie)
    corridor = Corridor(tmp_path, warehouse.engine).add_source("machines", "machines", "json", "machines.json")
    corridor.write_machines("machines.json")
    (outcome,) = corridor.load().outcomes
    assert outcome.state == "failed"
    assert corridor.rows("load_attempt_rows", "row_number", order_by="1") == [(1,)]


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows takes no path as long")
def test_a_thousand_folders_within_each_other_cost_their_source_only(
    tmp_path: Path, warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = Corridor(tmp_path, warehouse.engine).add_source("dropped", "machines", "json", "drop/**/*.json")
    corridor.add_source("machines", "machines", "json", "machines.json").write_machines("machines.json")
    (tmp_path / "drop").mkdir()
    monkeypatch.chdir(tmp_path / "drop")
    for _ in range(DEEPER_THAN_PYTHON):
        Path("d").mkdir()
        os.chdir("d")
    try:
        outcomes = {outcome.source: outcome for outcome in corridor.load().outcomes}
    finally:  # pytest cannot remove them either
        for _ in range(DEEPER_THAN_PYTHON):
            os.chdir("..")
            Path("d").rmdir()
    assert outcomes["machines"].counts == LoadCounts(read=2, inserted=2)
    assert (outcomes["dropped"].state, "RecursionError" in outcomes["dropped"].message) == ("failed", True)
