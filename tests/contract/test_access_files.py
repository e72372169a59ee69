"""MS Access files as they are in the world: all formats and types read right, everything else refused by its name."""

import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from freight.contracts import contract_for
from freight.errors import SourceError
from freight.frames import NATIVE, BadRow, each_bad_row
from freight.readers import access as access_reader
from freight.readers import find_files, isolated, reader_for
from freight.settings import Settings
from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest
from tests.lib.access import FORMATS, AccessLink, AccessTable, AccessWriter
from tests.lib.corridor import Corridor

pytestmark = [
    pytest.mark.apart,
    pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows reads by Microsoft's driver"),
]

MACHINES = AccessTable(
    "Machines du parc",
    ["Code machine|TEXT", "Gare|TEXT", "Année installation|LONG"],
    [["MCH-001", "Ngaoundéré", "2015"], ["MCH-002", None, None], ["MCH-003", "Gare 日本 😀", "2020"]],
)
NOTES = AccessTable("Notes", ["what|TEXT"], [["only words"]])
TYPES: dict[str, tuple[str, str, str]] = {  # type, as given, as read
    "text": ("TEXT", "Édéa – “x” 😀 \\", "Édéa – “x” 😀 \\"),
    "memo": ("MEMO", "line\r\n" * 2_000 + "end", "line\r\n" * 2_000 + "end"),
    "byte": ("BYTE", "200", "200"),
    "short": ("INT", "-32768", "-32768"),
    "long": ("LONG", "2147483647", "2147483647"),
    "money": ("MONEY", "-922337203685477.5807", "-922337203685477.5807"),
    "numeric": ("NUMERIC", "-1234567890123456789012.345678", "-1234567890123456789012.345678"),
    "half": ("NUMERIC", "12.500000", "12.5"),
    "single": ("FLOAT", "0.1", "0.1"),
    "double": ("DOUBLE", "1.0E20", "100000000000000000000"),
    "whole": ("DOUBLE", "-42.0", "-42"),
    "no number": ("DOUBLE", "NaN", "NaN"),
    "yes": ("BOOLEAN", "true", "true"),
    "no": ("BOOLEAN", "false", "false"),
    "date": ("SHORT_DATE_TIME", "2026-02-01T10:00", "2026-02-01 10:00:00"),
    "before 1900": ("SHORT_DATE_TIME", "1899-12-29T06:00:01", "1899-12-29 06:00:01"),
    "before the calendar": ("SHORT_DATE_TIME", "0100-06-14T12:45:30", "0100-06-14 12:45:30"),
    "guid": ("GUID", "{12345678-9ABC-DEF0-1234-1234567890AB}", "{12345678-9ABC-DEF0-1234-1234567890AB}"),
}
NEWER_TYPES: dict[str, tuple[str, str, str]] = {
    **TYPES,
    "extended": ("EXT_DATE_TIME", "1765-06-14T12:45:12.3456789", "1765-06-14 12:45:12.3456789"),
    "big": ("BIG_INT", "9223372036854775807", "9223372036854775807"),
}


def typed_table(types: dict[str, tuple[str, str, str]]) -> AccessTable:
    columns = [f"{name}|{kind}" for name, (kind, _, _) in types.items()]
    given = [value for _, value, _ in types.values()]
    nothing: list[str | None] = [None] * len(given)
    return AccessTable("Types", columns, [given, nothing])


class Read(NamedTuple):
    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    faults: list[BadRow]


def read(path: Path, **options: object) -> Read:
    table = reader_for("access")(find_files(str(path), path.parent)[0], contract_for("machines"), options)
    batches = [*table.batches]
    faults = [row for batch in batches for row in each_bad_row(batch.faults)]
    return Read(
        table.header, [row for batch in batches for row in batch.rows.drop(NATIVE, strict=False).rows()], faults
    )


def refused(path: Path, **options: object) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(path, **options)
    assert caught.value.location == path.name
    assert caught.value.remedy
    return caught.value


@pytest.fixture(scope="module")
def files(access_writer: AccessWriter, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each format."""
    folder = tmp_path_factory.mktemp("access")
    paths = {name: folder / f"{name}.{'mdb' if name < 'V2007' else 'accdb'}" for name in FORMATS}
    types = {name: NEWER_TYPES if name == "V2019" else TYPES for name in FORMATS}
    link = AccessLink("Elsewhere", str(folder / "secret.accdb"), "Machines")
    tables: dict[str, list[AccessTable | AccessLink]] = {
        n: [NOTES, MACHINES, typed_table(types[n]), link] for n in FORMATS
    }
    access_writer.write(*((name, paths[name], tables[name]) for name in FORMATS))
    return paths


@pytest.mark.parametrize("name", FORMATS)
def test_the_table_that_fits_is_read_from_every_format(files: dict[str, Path], name: str) -> None:
    found = read(files[name])
    assert found.header == ("Code machine", "Gare", "Année installation")
    assert found.rows == [
        ("MCH-001", "Ngaoundéré", "2015", 1),
        ("MCH-002", "", "", 2),
        ("MCH-003", "Gare 日本 😀", "2020", 3),
    ]
    assert found.faults == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_type_reads_as_what_it_says(files: dict[str, Path], name: str) -> None:
    types = NEWER_TYPES if name == "V2019" else TYPES
    found = read(files[name], table="Types")
    assert dict(zip(found.header, found.rows[0], strict=False)) == {name: text for name, (_, _, text) in types.items()}
    nothing = {kind: "false" if types[kind][0] == "BOOLEAN" else "" for kind in types}  # a yes/no field is never empty
    assert dict(zip(found.header, found.rows[1], strict=False)) == nothing


def test_an_access_file_loads_like_any_other(
    files: dict[str, Path], tmp_path: Path, warehouse: WarehouseUnderTest
) -> None:
    corridor = Corridor(tmp_path, warehouse.engine)
    corridor.add_source("parc", "machines", "access", "parc.accdb")
    corridor.write("parc.accdb", files["V2010"].read_bytes())
    assert corridor.load().counts() == LoadCounts(read=3, inserted=3)
    assert corridor.rows("dim_machines", "machine_id", "site_location", "installation_year") == [
        ("MCH-001", "Ngaoundéré", 2015),
        ("MCH-002", "UNKNOWN", None),
        ("MCH-003", "Gare 日本 😀", 2020),
    ]
    assert corridor.load().counts() == LoadCounts()


def test_a_calculated_field_reads_as_its_result(access_writer: AccessWriter, tmp_path: Path) -> None:
    path = tmp_path / "a.accdb"
    columns = ["id|TEXT", "half|DOUBLE", "site|TEXT|[id] & ' at work'", "year|DOUBLE|[half]*2"]
    access_writer.write(("V2010", path, [AccessTable("T", columns, [["MCH-001", "1007.5", None, None]])]))
    assert read(path).rows == [("MCH-001", "1007.5", "MCH-001 at work", "2015", 1)]


def test_a_value_that_is_no_text_makes_its_row_a_fault(access_writer: AccessWriter, tmp_path: Path) -> None:
    path = tmp_path / "a.accdb"
    rows: list[list[str | None]] = [["MCH-001", "a picture"], ["MCH-002", None]]
    access_writer.write(("V2010", path, [AccessTable("T", ["id|TEXT", "site|OLE"], rows)]))
    found = read(path)
    assert found.rows == [("MCH-002", "", 2)]
    (fault,) = found.faults
    assert (fault.row_number, fault.column_name, fault.reason) == (1, "site", "no_text")
    assert "OLE" in fault.detail
    assert b"MCH-001" in fault.raw
    ignored = read(path, ignore=["Site"])
    assert ([row[0] for row in ignored.rows], ignored.faults) == (["MCH-001", "MCH-002"], [])


def test_a_link_is_named_and_never_followed(files: dict[str, Path]) -> None:
    error = refused(files["V2010"], table="Elsewhere")
    assert (error.fault, "link to another file" in error.message) == ("unsupported", True)


def test_a_file_of_links_only_is_refused(access_writer: AccessWriter, tmp_path: Path) -> None:
    path = tmp_path / "a.mdb"
    access_writer.write(("V2003", path, [AccessLink("Machines", "/etc/passwd", "Machines")]))
    assert refused(path).fault == "unsupported"


def test_a_table_that_is_not_there_is_answered_with_those_that_are(files: dict[str, Path]) -> None:
    error = refused(files["V2016"], table="Machine")
    assert (error.fault, error.remedy.partition(": ")[2].split(", ")) == (
        "missing_column",
        ["'Elsewhere'", "'Machines du parc'", "'Notes'", "'Types'"],
    )


def test_a_path_may_have_accents_wherever_it_is_read(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    path = tmp_path / "Bélabo 😀" / "données.mdb"
    path.parent.mkdir()
    path.write_bytes(files["V2003"].read_bytes())
    assert len(read(path).rows) == 3


def test_a_database_without_a_table_is_empty(access_writer: AccessWriter, tmp_path: Path) -> None:
    access_writer.write(("V2010", tmp_path / "a.accdb", []))
    assert refused(tmp_path / "a.accdb").fault == "empty"


PASSWORD_AT, KEY_AT = 0x42, 0x3E  # in the first page of an .mdb, both masked


@pytest.mark.parametrize("place", [PASSWORD_AT, KEY_AT], ids=["password", "encrypted pages"])
def test_a_database_behind_a_password_is_refused_as_such(files: dict[str, Path], tmp_path: Path, place: int) -> None:
    content = bytearray(files["V2003"].read_bytes())
    content[place] ^= 0x41
    path = tmp_path / "a.mdb"
    path.write_bytes(content)
    error = refused(path)
    assert (error.fault, "remove the password" in error.remedy) == ("encrypted", True)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_cut_off_database_is_corrupt(files: dict[str, Path], tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.accdb"
    content = files["V2010"].read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refused(path, table="Types").fault == "corrupt"


@pytest.mark.parametrize("patience_s", [0.2, 0.5])
def test_a_parser_that_takes_too_long_is_stopped_with_its_java(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    """A database of a few rows takes longer than that, mostly in the start of Java."""
    monkeypatch.setattr(isolated, "PATIENCE_S", patience_s)
    before = set(psutil.Process().children(recursive=True))
    with suppress(SourceError):
        read(files["V2010"])
    assert set(psutil.Process().children(recursive=True)) == before
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(files["V2010"]) in (p.info["cmdline"] or [])]


def test_a_java_without_memory_is_told(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "MEMORY_LIMIT_BYTES", 64 << 20)
    assert refused(files["V2010"]).fault in ("too_large", "corrupt")


def test_another_kind_of_file_by_the_name_of_a_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.accdb"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    assert refused(path).fault == "unsupported"


def test_what_is_missing_on_the_machine_is_told_and_the_file_loads_once_it_is_there(
    files: dict[str, Path], tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    corridor = Corridor(tmp_path, sqlite_warehouse.engine)
    corridor.add_source("parc", "machines", "access", "parc.accdb")
    corridor.write("parc.accdb", files["V2010"].read_bytes())
    with monkeypatch.context() as patched:
        patched.setattr(access_reader, "load_settings", lambda: Settings(tmp_path, "", tmp_path))
        (failure,) = corridor.load().failures
    assert "parc.accdb: MS Access cannot be read on this machine: Jackcess is missing" in failure.message
    assert "dpa fetch-access" in failure.message
    assert corridor.load().counts() == LoadCounts(read=3, inserted=3)
