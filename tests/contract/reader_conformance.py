"""What every reader keeps, whatever it reads.

The tests of a new reader inherit `ReaderConformance` and say how a file of its kind is written, as
`test_reader_conformance.py` does for the readers that there are.
"""

import os
import random
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import psutil
import pytest

from freight.contracts import contract_for
from freight.contracts.headers import match_header
from freight.drift import FirstRows, describe_drift
from freight.errors import SourceError
from freight.frames import BAD_ROWS_SCHEMA, NATIVE, ROW_NUMBER
from freight.readers import RawTable, find_files, reader_for
from freight.readers.raw import RawBatch
from freight.validation import Locale
from tests.lib.reshaping import read_through
from tests.lib.waiting import wait_until

CONTRACT = contract_for("stations")
COLUMNS = ("station_code", "station_name", "region", "latitude_deg", "longitude_deg", "corridor_km")
NO_SAMPLE = FirstRows(pl.DataFrame(), Locale(), datetime(2026, 3, 1, tzinfo=UTC))
Record = Mapping[str, str]


def station(name: str = "Edéa", code: str = "EDE", **changes: str) -> dict[str, str]:
    values = dict(zip(COLUMNS, (code, name, "Littoral", "3.8", "10.13", "82"), strict=True))
    return {**values, **changes}


def numbered(count: int) -> list[dict[str, str]]:
    """Return stations that can be told apart, at most 17,576."""
    letters = [chr(65 + place) for place in range(26)]
    codes = [a + b + c for a in letters for b in letters for c in letters]
    return [station(f"Gare {number}", codes[number]) for number in range(count)]


# A function that returns each row twice, and refuses what is neither text nor missing.
EACH_TWICE = """
    import pandas as pd

    def reshape(frame):
        odd = frame.map(lambda cell: not isinstance(cell, str) and not pd.isna(cell))
        assert not odd.to_numpy().any(), frame[odd.any(axis=1)]
        assert frame["region"].isna().sum() == len(frame) - 1
        return frame.loc[frame.index.repeat(2)]
"""

# A text that breaks programs which take it for something else.
TEXTS = [
    "Ngaoundéré",
    "Ngaounde\u0301re\u0301",
    "😀👩‍👩‍👧🇨🇲",
    "\u202eمرحبا",
    "中文測試",
    "0042",
    "1,5",
    "1e5",
    "NULL",
    "true",
    "=1+1",
    "'; DROP TABLE dim_stations; --",
    'a "quoted" word',
    "back\\slash",
    "line\nbreak",
    "tab\tulator",
    "; and , and |",
    "<b>&amp;</b>",
    "_x0041_",
    "\U0010fffd",
]

OTHER_KINDS = {
    "nothing": b"",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 16,
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\n" * 20,
    "a program": b"\x7fELF\x02\x01\x01" + bytes(4_096),
    "an empty ZIP": b"PK\x05\x06" + bytes(18),
    "half of a ZIP": b"PK\x03\x04" + os.urandom(2_048),
    "an OLE file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4_096),
    "a gzip": b"\x1f\x8b\x08\x00" + os.urandom(512),
    "a login page": b"<!doctype html><html><body>Please sign in</body></html>",
    "zeros": bytes(10_000),
    "noise": random.Random(1).randbytes(50_000),
    "another table": b"a;b;c\n1;2;3\n",
    "an Access start and no more": b"\x00\x01\x00\x00Standard ACE DB\x00" + bytes(5_000),
}


@pytest.mark.apart
class ReaderConformance:
    """Tests of one reader.

    Attributes:
        reader: its name in catalogs.
        suffix: of its files' names.
        tells_truncation: whether a file that lost its end can always be told from a whole one.
        longest_text: length of the longest cell that such a file can hold.
        most_rows: for the test of memory; fewer only if such a file cannot hold them.
        aliases: a header of other words for the columns, as such a file can hold it.
        texts: texts that break programs, as such a file can hold them.
    """

    reader: ClassVar[str]
    suffix: ClassVar[str]
    tells_truncation: ClassVar[bool] = True
    longest_text: ClassVar[int] = 1 << 20
    most_rows: ClassVar[int] = 100_000
    texts: ClassVar[Sequence[str]] = TEXTS
    aliases: ClassVar[Sequence[str]] = ("CODE", "Nom", " RÉGION ", "lat", "lon", "km")

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        """Write a file with a table of texts; a column that a record lacks has no value there."""
        raise NotImplementedError

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / f"stations{self.suffix}"

    @pytest.fixture(autouse=True)
    def scratch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder for temporary files, of this test only."""
        folder = tmp_path / "scratch"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    def open(self, path: Path, **options: object) -> RawTable:
        return reader_for(self.reader)(find_files(str(path), path.parent)[0], CONTRACT, options)

    def options(self) -> dict[str, object]:
        """Return the options without which the catalog refuses the reader."""
        return {}

    def read(self, path: Path, **options: object) -> tuple[list[str], list[RawBatch]]:
        """Return the columns and all batches, as an extract takes them; check what holds of every table."""
        table = self.open(path, **options)
        match = match_header(table.header, CONTRACT)
        if match.has_drifted:
            raise describe_drift(match, table.passed_over, NO_SAMPLE, (), "dpa retry")
        columns = list(match.columns)
        batches = list(table.batches)
        for batch in batches:
            assert batch.rows.drop(NATIVE, strict=False).columns == [*map(str, range(len(columns))), ROW_NUMBER]
            assert batch.rows.null_count().sum_horizontal().item() == 0
            assert batch.faults.schema == BAD_ROWS_SCHEMA
        return columns, batches

    def records(self, path: Path) -> list[dict[str, str]]:
        columns, batches = self.read(path)
        assert all(batch.faults.is_empty() for batch in batches)
        texts = [batch.rows.drop(NATIVE, strict=False) for batch in batches]
        return [dict(zip(columns, row, strict=False)) for some in texts for row in some.rows()]

    def outcome(self, path: Path) -> list[RawBatch] | SourceError:
        """Read a file of which nobody knows what it is: a table, or an error of ours that says what to do."""
        try:
            return self.read(path)[1]
        except SourceError as error:
            caught = error
        assert caught.remedy
        assert len(str(caught)) < 3_000
        return caught

    def test_texts_come_back_as_they_were(self, path: Path) -> None:
        self.write(path, COLUMNS, [station(text, **{"region": text}) for text in self.texts])
        found = self.records(path)
        assert [record["station_name"] for record in found] == self.texts
        assert [record["region"] for record in found] == self.texts

    def test_no_value_and_an_empty_text_are_the_same(self, path: Path) -> None:
        without = {name: value for name, value in station().items() if name != "region"}
        self.write(path, COLUMNS, [station(region=""), without, station()])
        assert [record["region"] for record in self.records(path)] == ["", "", "Littoral"]

    def test_a_function_gets_all_as_text_and_its_rows_keep_their_numbers(self, path: Path) -> None:
        records = [station(text, region="") for text in self.texts]
        self.write(path, COLUMNS, [*records, station("Edéa", "EDE")])
        plain = pl.concat([batch.rows for batch in self.read(path)[1]])
        found = read_through(EACH_TWICE, path, self.reader, options=self.options())
        assert found.header == COLUMNS
        assert found.rows["1"].to_list() == [text for text in plain["1"] for _ in range(2)]
        assert found.rows[ROW_NUMBER].to_list() == [10 * row + nth for row in plain[ROW_NUMBER] for nth in (1, 2)]
        assert found.reshaped is not None
        count = len(self.texts) + 1
        assert (found.reshaped.rows_in, found.reshaped.rows_out, found.reshaped.added) == (count, 2 * count, count)

    def test_a_header_may_be_any_alias_in_any_case(self, path: Path) -> None:
        self.write(path, self.aliases, [dict(zip(self.aliases, station().values(), strict=True))])
        assert self.records(path) == [station()]

    def test_no_row_is_lost_doubled_or_moved(self, path: Path) -> None:
        records = numbered(2_500)
        self.write(path, COLUMNS, records)
        columns, batches = self.read(path)
        rows = [row for batch in batches for row in batch.rows.drop(NATIVE, strict=False).rows()]
        assert [dict(zip(columns, row, strict=False)) for row in rows] == records
        numbers = [row[-1] for row in rows]
        assert numbers == list(range(numbers[0], numbers[0] + 2_500))

    def test_rows_that_are_no_data_are_left_out_and_counted(self, path: Path) -> None:
        self.write(path, COLUMNS, [station(), station("TOTAL", ""), station("Total Energies"), station("TOTAL 2", "")])
        _, batches = self.read(path, skip_rows_where={"station_name": "(?i)^total", "station_code": "^$"})
        assert sum(batch.skipped for batch in batches) == 2
        assert [row[1] for batch in batches for row in batch.rows.rows()] == ["Edéa", "Total Energies"]

    def test_a_huge_cell_arrives_whole(self, path: Path) -> None:
        text = "é" + "x" * (self.longest_text - 1)
        self.write(path, COLUMNS, [station(), station(text), station()])
        assert [len(record["station_name"]) for record in self.records(path)] == [4, self.longest_text, 4]

    def test_a_table_without_rows_has_none(self, path: Path) -> None:
        self.write(path, COLUMNS, [])
        outcome = self.outcome(path)
        if isinstance(outcome, SourceError):
            assert outcome.fault in ("empty", "header_only")
        else:
            assert sum(batch.rows.height + batch.faults.height for batch in outcome) == 0

    @pytest.mark.parametrize("content", OTHER_KINDS.values(), ids=OTHER_KINDS)
    def test_another_kind_of_file_is_refused_by_name(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            self.read(path)
        assert caught.value.remedy
        assert len(str(caught.value)) < 3_000

    @pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
    def test_a_file_that_lost_its_end_gives_nothing_that_it_had_not(self, path: Path, share: float) -> None:
        records = numbered(400)
        self.write(path, COLUMNS, records)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        outcome = self.outcome(path)
        if isinstance(outcome, SourceError):
            return
        assert not self.tells_truncation
        rows = [row[:-1] for batch in outcome for row in batch.rows.drop(NATIVE, strict=False).rows()]
        assert rows[:-1] == [tuple(record.values()) for record in records][: len(rows) - 1]

    @pytest.mark.parametrize("seed", range(3))
    def test_a_damaged_file_gives_a_table_or_a_fault(self, path: Path, seed: int) -> None:
        self.write(path, COLUMNS, numbered(60))
        self.damage(path, seed)
        self.outcome(path)

    @pytest.mark.chaos
    @pytest.mark.timeout(1_800)
    def test_many_damaged_files_give_a_table_or_a_fault(self, path: Path) -> None:
        self.write(path, COLUMNS, numbered(60))
        content = path.read_bytes()
        for seed in range(300):
            path.write_bytes(content)
            self.damage(path, seed)
            self.outcome(path)

    def damage(self, path: Path, seed: int) -> None:
        """Change some bytes, as a bad disk or a bad person does."""
        chance, content = random.Random(seed), bytearray(path.read_bytes())
        for _ in range(chance.randint(1, 20)):
            place = chance.randrange(len(content))
            match chance.randrange(3):
                case 0:
                    content[place] = chance.randrange(256)
                case 1:
                    content[place : place + chance.randrange(64)] = chance.randbytes(chance.randrange(64))
                case _:
                    content[place] ^= 1 << chance.randrange(8)
        path.write_bytes(content)

    def test_whoever_stops_reading_leaves_no_process_and_no_file(self, path: Path, scratch: Path) -> None:
        self.write(path, COLUMNS, numbered(2_500))
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        batches = self.open(path).batches
        next(batches)
        del batches
        left = {child.pid for child in psutil.Process().children(recursive=True)} - before
        assert (left, [*scratch.iterdir()]) == (set(), [])

    @pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
    @pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows tells no signal to a part of a process")
    def test_an_interrupted_read_leaves_no_process_and_no_file(self, path: Path, scratch: Path) -> None:
        """Ctrl-C while a file is being opened, at some moment."""
        self.write(path, COLUMNS, numbered(2_500))
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        chance = random.Random(len(path.name))
        try:
            while True:  # a destructor may have swallowed the last interrupt
                signal.signal(signal.SIGALRM, _interrupt_once)
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.01, 0.1))
                self.read(path)
        except KeyboardInterrupt:
            pass
        except Exception:  # a compiled library may turn an interrupt into an error of its own
            if signal.getsignal(signal.SIGALRM) is not signal.SIG_IGN:
                raise
        # An interrupt while the process was being started leaves nobody who could end it: it sees that and ends.
        wait_until(lambda: (_running(before), [*scratch.iterdir()]) == (set(), []))

    @pytest.mark.chaos
    @pytest.mark.timeout(1_800)
    @pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux tells the memory of a process alone")
    def test_memory_does_not_grow_with_the_rows(self, path: Path) -> None:
        records: list[dict[str, Any]] = [station(f"Gare {number}" + "x" * 200) for number in range(self.most_rows)]
        self.write(path, COLUMNS, records)
        own = psutil.Process()
        at_first, peak = own.memory_info().rss, 0
        for _ in self.open(path).batches:
            peak = max(peak, sum(process.memory_info().rss for process in (own, *own.children(recursive=True))))
        assert (peak - at_first) >> 20 < 512


def _interrupt_once(*_: object) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _running(before: set[int]) -> set[int]:
    """Return the processes that were started since and have not ended."""
    children = {child.pid: child for child in psutil.Process().children(recursive=True)}
    return {pid for pid in children.keys() - before if _has_not_ended(children[pid])}


def _has_not_ended(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
