"""The readers that there are keep what every reader keeps."""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from freight.readers import READERS, RawTable
from tests.contract.reader_conformance import COLUMNS, TEXTS, ReaderConformance, Record
from tests.lib.access import AccessTable, AccessWriter
from tests.lib.workbooks import WRITERS


class TestCsv(ReaderConformance):
    reader, suffix = "csv", ".csv"
    tells_truncation = False  # a file may end after any row

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(records)


class TestFixedWidth(ReaderConformance):
    reader, suffix = "fixed_width", ".txt"
    tells_truncation = False
    texts: ClassVar[Sequence[str]] = [text for text in TEXTS if not {"\n", "\t"} & set(text)]

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        texts = {name: [record.get(name, "") for record in records] for name in columns}
        self.widths = {name: max(map(len, of_column), default=1) + 1 for name, of_column in texts.items()}
        padded = ([record.get(name, "").ljust(width) for name, width in self.widths.items()] for record in records)
        path.write_text("".join(f"{''.join(cells)}\n" for cells in padded), encoding="utf-8")

    def options(self) -> dict[str, object]:
        widths = getattr(self, "widths", dict.fromkeys(COLUMNS, 200))
        return {"columns": [{"name": name, "width": width} for name, width in widths.items()]}

    def open(self, path: Path, **options: object) -> RawTable:
        return super().open(path, **self.options(), **options)


class TestXlsx(ReaderConformance):
    reader, suffix = "excel", ".xlsx"
    longest_text = 32_767

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        rows = [list(columns), *([record.get(column) for column in columns] for record in records)]
        WRITERS[self.suffix](path, {"Stations": rows})


class OtherWorkbooks(TestXlsx):
    """Told from other files by the same code, which is tested once."""

    test_another_kind_of_file_is_refused_by_name = None  # type: ignore[assignment]


class TestXls(OtherWorkbooks):
    suffix = ".xls"
    most_rows = 65_000


class TestXlsb(OtherWorkbooks):
    suffix = ".xlsb"


class TestOds(OtherWorkbooks):
    suffix = ".ods"


class TestJson(ReaderConformance):
    reader, suffix = "json", ".json"

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        listed = [{name: record[name] for name in columns if name in record} for record in records]
        path.write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")


class TestJsonLines(ReaderConformance):
    reader, suffix = "jsonl", ".jsonl"
    tells_truncation = False

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        lines = (json.dumps({name: record[name] for name in columns if name in record}) for record in records)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows reads by Microsoft's driver")
class TestAccess(ReaderConformance):
    reader, suffix = "access", ".accdb"
    aliases = ("CODE", "Nom", "RÉGION", "lat", "lon", "km")

    @pytest.fixture(autouse=True)
    def _writer(self, access_writer: AccessWriter) -> None:
        self.writer = access_writer

    def write(self, path: Path, columns: Sequence[str], records: Sequence[Record]) -> None:
        rows = [[record.get(column) for column in columns] for record in records]
        table = AccessTable("Stations", [f"{column}|MEMO" for column in columns], rows)
        self.writer.write(("V2010", path, [table]))


def test_every_reader_of_files_is_held_to_it() -> None:
    of_files = {name for name, reader in READERS.items() if "connection" not in reader.needs}
    assert {held.reader for held in ReaderConformance.__subclasses__()} == of_files
