"""Folders into which others drop files: some are still being written, some are packed, and some are done with."""

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pytest
import yaml
from fsspec.implementations.local import LocalFileSystem
from pydantic import SecretStr

from blocks.blob_drop import BlobDrop
from freight.care.reconcile import reconcile
from freight.errors import ConfigurationError, SourceError
from freight.pipeline import RunReport, UnitOutcome, archive_loaded, preview_source, steps
from freight.readers import SourceFile, zip_members
from freight.readers import packed as packed_files
from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest
from tests.lib.azurite import KEY, Azurite
from tests.lib.connections import KnownConnections
from tests.lib.corridor import HEADER, NOW, Corridor

LIMIT_BYTES = 1 << 20  # of what a packed file may unpack to at any ratio, in these tests
ARCHIVED = r"\d{8}T\d{6}\.\d{6}_"


class Place(Protocol):
    """Where files are dropped: a folder, or a container of Azure Blob."""

    def where(self, path: str) -> str:
        """Return the path as a catalog has it."""

    def put(self, path: str, content: bytes) -> None: ...

    def files(self, folder: str) -> list[str]: ...


class LocalFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def where(self, path: str) -> str:
        return path

    def put(self, path: str, content: bytes) -> None:
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).write_bytes(content)

    def files(self, folder: str) -> list[str]:
        return files_in(self._folder / folder)


class Container:
    def __init__(self, azurite: Azurite) -> None:
        self._client = azurite.new_container()

    def where(self, path: str) -> str:
        return f"abfs://{self._client.container_name}/{path}"

    def put(self, path: str, content: bytes) -> None:
        self._client.upload_blob(path, content, overwrite=True)

    def files(self, folder: str) -> list[str]:
        return [name.removeprefix(f"{folder}/") for name in self._client.list_blob_names(name_starts_with=f"{folder}/")]


@pytest.fixture(params=["folder", "blob"])
def place(request: pytest.FixtureRequest, corridor: Corridor) -> Place:
    """The same test in a folder and in a container; the corridor knows the account as `azure`."""
    if request.param == "folder":
        return LocalFolder(corridor.folder)
    azurite = request.getfixturevalue("azurite")
    account = BlobDrop(account_url=azurite.url, key=SecretStr(KEY))
    corridor.connections = KnownConnections(drops={"azure": account.filesystem()})
    return Container(azurite)


@pytest.fixture
def corridor(tmp_path: Path, sqlite_warehouse: WarehouseUnderTest) -> Corridor:
    return Corridor(tmp_path, sqlite_warehouse.engine)


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_files, "HARMLESS_BYTES", LIMIT_BYTES)


def drop(corridor: Corridor, location: str = "drop/*", **more: object) -> Corridor:
    return corridor.add_source("drop", "transactions", "csv", location, **more)


def rows(*numbers: int, volume: int = 30) -> str:
    return "\n".join([HEADER, *(f"TRX-{n},MCH-001,2026-02-01 10:00:00,{volume},OK" for n in numbers)]) + "\n"


def dropped(corridor: Corridor, place: Place, location: str = "drop/*", **more: str | float) -> Corridor:
    """Add the source `drop` at a place."""
    at = {name: place.where(value) if name == "archive" else value for name, value in more.items()}  # type: ignore[arg-type]
    return drop(corridor, place.where(location), drop="azure" if isinstance(place, Container) else None, **at)


def packed(files: Mapping[str, str | bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, content in files.items():
            whole.writestr(name, content)
    return stream.getvalue()


def names(files: Iterable[str]) -> list[str]:
    """Return the names of archived files without the times of their versions, of which each has one."""
    found = list(files)
    assert all(re.search(ARCHIVED, name) for name in found)
    return sorted(re.sub(ARCHIVED, "", name) for name in found)


def pack(path: Path, files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def states(report: RunReport, source: str = "drop") -> dict[str, str]:
    return {outcome.location: outcome.state for outcome in report.outcomes if outcome.source == source}


def loaded(corridor: Corridor) -> list[str]:
    return [key for key, _ in corridor.rows("fact_transactions", "transaction_id", "1")]


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def changed_ago(path: Path, seconds: float) -> None:
    at = (NOW - timedelta(seconds=seconds)).timestamp()
    os.utime(path, (at, at))


# --- Files that are still being written ---------------------------------------------------------------------------


def test_a_file_that_changed_a_moment_ago_waits_until_it_has_settled(corridor: Corridor) -> None:
    drop(corridor, settle_s=60)
    changed_ago(corridor.write("drop/old.csv", rows(1)), 61)
    young = corridor.write("drop/young.csv", rows(2))
    changed_ago(young, 59)
    report = corridor.load()
    assert states(report) == {"drop/old.csv": "loaded", "drop/young.csv": "waiting"}
    assert report.failures == []
    assert corridor.rows("load_attempts") == []
    changed_ago(young, 60)
    assert states(corridor.load()) == {"drop/old.csv": "unchanged", "drop/young.csv": "loaded"}


def test_a_file_in_a_container_waits_until_it_has_settled(corridor: Corridor, azurite: Azurite) -> None:
    place = Container(azurite)
    account = BlobDrop(account_url=azurite.url, key=SecretStr(KEY))
    corridor.connections = KnownConnections(drops={"azure": account.filesystem()})
    dropped(corridor, place, settle_s=60)
    place.put("drop/a.csv", rows(1).encode())
    corridor.now = datetime.now(UTC)
    assert set(states(corridor.load()).values()) == {"waiting"}
    corridor.now += timedelta(seconds=120)
    assert set(states(corridor.load()).values()) == {"loaded"}


def test_a_packed_file_waits_as_a_whole_even_if_only_half_of_it_is_there(corridor: Corridor) -> None:
    drop(corridor, settle_s=60)
    path = pack(corridor.folder / "drop" / "a.zip", {"a.csv": rows(1)})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    changed_ago(path, 1)
    assert states(corridor.load()) == {"drop/a.zip": "waiting"}
    path.write_bytes(whole)
    changed_ago(path, 90)
    assert states(corridor.load()) == {"drop/a.zip/a.csv": "loaded"}


def test_a_file_of_a_clock_that_is_ahead_loads_all_the_same(corridor: Corridor) -> None:
    drop(corridor, settle_s=60)
    changed_ago(corridor.write("drop/a.csv", rows(1)), -3600)
    assert states(corridor.load()) == {"drop/a.csv": "loaded"}


def test_what_is_wrong_with_a_file_that_grows_meanwhile_is_not_held_against_it(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(corridor)
    path = corridor.write("drop/a.csv", f'{rows(1)}TRX-2,MCH-001,"2026')
    sha256 = SourceFile.sha256

    def as_it_grows(file: SourceFile) -> str:
        digest = sha256(file)
        if file.path == "drop/a.csv":
            path.write_text(rows(1, 2), encoding="utf-8")
        return digest

    with monkeypatch.context() as patched:
        patched.setattr(SourceFile, "sha256", as_it_grows)
        assert states(corridor.load()) == {"drop/a.csv": "waiting"}
    assert states(corridor.load()) == {"drop/a.csv": "loaded"}


# --- Files that are no data ---------------------------------------------------------------------------------------

TRACES = ["~$a.xlsx", ".~lock.a.ods#", ".DS_Store", "._a.csv", "Thumbs.db", "Desktop.ini"]


def test_traces_of_programs_are_left_out_and_told(corridor: Corridor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "freight")
    drop(corridor)
    for name in TRACES:
        corridor.write(f"drop/{name}", b"\0\1")
    (outcome,) = corridor.load().outcomes
    assert outcome.message.startswith("drop/*: no file is there; left out, since no program means it as data: ")
    assert all(name in outcome.message for name in TRACES)
    corridor.write("drop/a.csv", rows(1))
    caplog.clear()
    assert states(corridor.load()) == {"drop/a.csv": "loaded"}
    assert [record.message for record in caplog.records if "left out" in record.message] == [
        f"drop/*: left out, since no program means it as data: {', '.join(sorted(TRACES))}"
    ]


def test_a_file_whose_name_says_that_it_is_not_complete_waits(corridor: Corridor, place: Place) -> None:
    dropped(corridor, place, archive="done")
    names = [f"drop/a.csv{suffix}" for suffix in (".part", ".crdownload", ".FILEPART", ".tmp")]
    for name in names:
        place.put(name, rows(9).encode()[:-20])
    place.put("drop/b.csv", rows(1).encode())
    at = [place.where(name) for name in names]
    for _ in range(2):
        report = corridor.load()
        found = states(report)
        assert {found[name] for name in at} == {"waiting"}
        assert report.failures == []
    assert loaded(corridor) == ["TRX-1"]
    assert len(place.files("drop")) == len(names)
    place.put("drop/a.csv", rows(9).encode())
    assert states(corridor.load())[place.where("drop/a.csv")] == "loaded"


def test_a_preview_passes_over_a_file_that_is_not_complete(corridor: Corridor) -> None:
    drop(corridor)
    corridor.write("drop/a.csv.part", rows(9))
    (source,) = corridor.catalog.sources
    with pytest.raises(SourceError, match=r"drop/a.csv.part: its name says that it is not complete yet"):
        preview_source(source, NOW, 1)
    corridor.write("drop/b.csv", rows(1))
    assert preview_source(source, NOW, 1)[0] == "drop/b.csv"


@pytest.mark.parametrize(("location", "name"), [("drop/*.part", "a.part"), ("drop/._a.csv", "._a.csv")])
def test_a_location_that_asks_for_such_a_name_gets_it(corridor: Corridor, location: str, name: str) -> None:
    drop(corridor, location)
    corridor.write(f"drop/{name}", rows(1))
    assert states(corridor.load()) == {f"drop/{name}": "loaded"}


@pytest.mark.parametrize("also", [None, "exports 1"], ids=["alone", "beside-a-match"])
def test_brackets_in_a_name_are_no_choice_of_signs(corridor: Corridor, also: str | None) -> None:
    drop(corridor, "exports [1]/erp_{day:%Y%m%d}.csv")
    for number, folder in enumerate(filter(None, ["exports [1]", also]), start=1):
        corridor.write(f"{folder}/erp_20260201.csv", rows(number))
    (outcome,) = corridor.load().outcomes
    assert outcome.state == "failed"
    assert "asks for one of the signs between brackets, but a name there has the brackets themselves" in outcome.message
    told = 'location: "exports [[]1]/erp_[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].csv"'
    assert told in outcome.message
    for location in (yaml.safe_load(told)["location"], "exports [[]1]/erp_{day:%Y%m%d}.csv"):
        corridor.sources[-1]["location"] = location
        assert [*states(corridor.load())] == ["exports [1]/erp_20260201.csv"]
    assert loaded(corridor) == ["TRX-1"]


# --- Packed files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_each_file_within_a_packed_one_is_a_unit_of_its_own(
    tmp_path: Path, warehouse: WarehouseUnderTest, method: int
) -> None:
    corridor = drop(Corridor(tmp_path, warehouse.engine))
    path = corridor.folder / "drop" / "A.ZIP"
    files: dict[str, str | bytes] = {
        "b.csv": rows(1, 2),
        "sub/é.csv": rows(3),
        "sub/": b"",
        "__MACOSX/._b.csv": b"\0\5\x16\7",
    }
    pack(path, files, method)
    assert states(corridor.load()) == {"drop/A.ZIP/b.csv": "loaded", "drop/A.ZIP/sub/é.csv": "loaded"}
    assert set(states(corridor.load()).values()) == {"unchanged"}
    pack(path, {**files, "sub/é.csv": rows(3, 4)}, method)
    report = corridor.load()
    assert states(report) == {"drop/A.ZIP/b.csv": "unchanged", "drop/A.ZIP/sub/é.csv": "loaded"}
    assert report.counts("drop") == LoadCounts(read=2, inserted=1, unchanged=1)
    assert loaded(corridor) == ["TRX-1", "TRX-2", "TRX-3", "TRX-4"]
    assert reconcile(corridor.engine) == []


COMPANIONS: dict[str, str | bytes] = {
    "README.txt": "Export of the night\nAsk the ERP team\n",
    "manifest.json": '{"rows": 1}',
    ".DS_Store": b"\0",
}


def test_files_beside_the_data_in_a_packed_file_are_left_out_by_members(corridor: Corridor, place: Place) -> None:
    dropped(corridor, place, archive="done")
    content = packed({**COMPANIONS, "data/A.CSV": rows(1)})
    place.put("drop/a.zip", content)
    report = corridor.load()
    at = place.where("drop/a.zip")
    expected = {f"{at}/README.txt": "failed", f"{at}/manifest.json": "failed", f"{at}/data/A.CSV": "loaded"}
    assert states(report) == expected
    for failure in report.failures:
        assert failure.message.endswith('; or, if it is no data, leave it out: `options: {members: "*.csv"}`')
    assert place.files("drop") == ["a.zip"]
    corridor.sources[-1]["options"] = {"members": "*.csv"}
    assert states(corridor.load()) == {f"{at}/data/A.CSV": "unchanged"}
    assert place.files("drop") == []
    place.put("drop/b.zip", packed({**COMPANIONS, "data/A.CSV": rows(2)}))
    (outcome,) = corridor.load().outcomes
    assert (outcome.state, outcome.message) == ("loaded", "`members` leaves out README.txt, manifest.json")
    assert loaded(corridor) == ["TRX-1", "TRX-2"]


def test_a_file_of_the_readers_own_kind_is_not_taken_for_a_companion(corridor: Corridor) -> None:
    drop(corridor)
    pack(corridor.folder / "drop" / "a.zip", {"a.csv": rows(1), "b.csv": "x;y\n1;2\n"})
    (failure,) = corridor.load().failures
    assert "members" not in failure.message


@pytest.mark.parametrize(
    ("members", "states_of"), [("data/*", ["data/a.csv"]), ("?.csv", ["b.csv", "data/a.csv"]), ("b.csv", ["b.csv"])]
)
def test_members_are_chosen_by_their_name_or_by_their_path(
    corridor: Corridor, members: str, states_of: list[str]
) -> None:
    drop(corridor, options={"members": members})
    pack(corridor.folder / "drop" / "a.zip", {"b.csv": rows(1), "data/a.csv": rows(2), "note.csv": "x"})
    assert states(corridor.load()) == {f"drop/a.zip/{name}": "loaded" for name in states_of}


def test_members_that_match_nothing_are_told(corridor: Corridor) -> None:
    drop(corridor, options={"members": "*.tsv"})
    pack(corridor.folder / "drop" / "a.zip", {"b.csv": rows(1), "README.txt": "x"})
    (failure,) = corridor.load().failures
    assert "none of its files has a name like '*.tsv', which `members` in the catalog asks for: b.csv, README.txt" in (
        failure.message
    )


def test_the_date_of_a_file_within_counts_before_that_of_the_packed_one(corridor: Corridor) -> None:
    drop(corridor)
    pack(corridor.folder / "drop" / "erp_20260205.zip", {"a.csv": rows(1), "b_20260203.csv": rows(2)})
    corridor.load()
    assert [
        (name, instant[:16].replace(" ", "T")) for name, instant in corridor.rows("batches", "location", "as_of")
    ] == [
        ("drop/erp_20260205.zip/a.csv", "2026-02-04T23:00"),  # local midnight
        ("drop/erp_20260205.zip/b_20260203.csv", "2026-02-02T23:00"),
    ]


def test_names_that_lead_out_are_refused_and_the_others_load(corridor: Corridor) -> None:
    drop(corridor)
    names = ["../up.csv", "/etc/passwd.csv", "a/../../up.csv", "..\\up.csv", "C:up.csv"]
    pack(corridor.folder / "drop" / "a.zip", {**{name: rows(1) for name in names}, "good.csv": rows(2)})
    report = corridor.load()
    assert states(report) == {**{f"drop/a.zip/{name}": "failed" for name in names}, "drop/a.zip/good.csv": "loaded"}
    for outcome in report.failures:
        assert "its name leads out of the file [unsupported]. Remedy: pack it with plain names" in outcome.message
    assert set(states(corridor.load()).values()) == {"parked", "unchanged"}  # it is told once
    assert loaded(corridor) == ["TRX-2"]


def bomb(path: Path) -> None:
    pack(path, {"a.csv": b"0" * (LIMIT_BYTES + 1)})


def claims_less_than_it_has(path: Path) -> None:
    pack(path, {"a.csv": rows(*range(200))})
    content = path.read_bytes()
    size = struct.pack("<I", len(rows(*range(200))))
    path.write_bytes(content.replace(size, struct.pack("<I", 100)))


def many_files(path: Path) -> None:
    pack(path, {f"{number}.csv": b"" for number in range(zip_members.MEMBERS_LIMIT + 1)}, zipfile.ZIP_STORED)


def huge_directory(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(100):
            info = zipfile.ZipInfo(f"{number}.csv")
            info.comment = b"x" * 60_000
            packed.writestr(info, b"")


def twice_the_same(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("a.csv", rows(1))
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("a.csv", rows(2))


def behind_a_password(path: Path) -> None:
    pack(path, {"a.csv": rows(1)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)


def damaged(path: Path) -> None:
    pack(path, {"a.csv": os.urandom(5_000)}, zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[2_000:2_100] = bytes(100)
    path.write_bytes(content)


def content_beyond_the_end(path: Path) -> None:
    pack(path, {"a.csv": rows(1)})
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02")
    path.write_bytes(content[: entry + 42] + struct.pack("<I", len(content) + 9_999) + content[entry + 46 :])


def a_method_that_nobody_knows(path: Path) -> None:
    pack(path, {"a.csv": rows(1)})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.index(signature) + offset] = 9
    path.write_bytes(content)


HARMFUL: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb": (bomb, "it has 1 file with 1,048,577 bytes, too many for its packed size [too_large]"),
    "many": (many_files, "it has 10,001 files"),
    "directory": (huge_directory, "its directory has 6,00"),
    "claims": (claims_less_than_it_has, "[corrupt]"),
    "twice": (twice_the_same, "it has 2 files named 'a.csv' [corrupt]"),
    "password": (behind_a_password, "it is protected by a password [encrypted]"),
    "damaged": (damaged, "[corrupt]"),
    "beyond": (content_beyond_the_end, "[corrupt]"),
    "method": (a_method_that_nobody_knows, "cannot be unpacked"),
    "nested": (lambda path: pack(path, {"a.zip": b"PK"}), "it is packed twice [unsupported]"),
    "gzipped": (lambda path: pack(path, {"a.csv.gz": b"\x1f\x8b"}), "it is packed twice [unsupported]"),
    "hollow": (lambda path: pack(path, {"folder/": b""}), "it contains no file [empty]"),
    "other": (lambda path: path.write_bytes(b"no zip at all"), "[corrupt]"),
    "empty": (lambda path: path.write_bytes(b""), "[corrupt]"),
}


def test_a_packed_file_that_does_harm_costs_itself_only(corridor: Corridor) -> None:
    drop(corridor)
    corridor.write("drop/good.csv", rows(1))
    for name, (make, _) in HARMFUL.items():
        make(corridor.folder / "drop" / f"{name}.zip")
    messages = {outcome.location.split("/")[1]: outcome.message for outcome in corridor.load().failures}
    assert messages.keys() == {f"{name}.zip" for name in HARMFUL}
    for name, (_, says) in HARMFUL.items():
        assert says in messages[f"{name}.zip"]
        assert "Remedy: " in messages[f"{name}.zip"]
    assert loaded(corridor) == ["TRX-1"]
    assert set(states(corridor.load()).values()) == {"parked", "unchanged"}


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda content: pa.compress(content, "zstd", asbytes=True),
    "lz4": lambda content: pa.compress(content, "lz4", asbytes=True),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_a_packed_file_loads_and_a_bomb_beside_it_costs_itself_only(
    corridor: Corridor, place: Place, suffix: str
) -> None:
    dropped(corridor, place)
    place.put(f"drop/good.csv.{suffix}", PACKED[suffix](rows(1, 2).encode()))
    place.put(f"drop/bomb.csv.{suffix}", PACKED[suffix](rows(3).encode() + b"\n" * LIMIT_BYTES))
    report = corridor.load()
    (bomb,) = report.failures
    assert bomb.location == place.where(f"drop/bomb.csv.{suffix}")
    assert "it holds more than 1,048,576 bytes, too many for its packed size [too_large]" in bomb.message
    assert loaded(corridor) == ["TRX-1", "TRX-2"]
    assert set(states(corridor.load()).values()) == {"parked", "unchanged"}


@pytest.mark.parametrize("reader", ["json", "jsonl", "excel", "access"])
def test_a_bomb_is_not_unpacked_for_a_parser_either(
    corridor: Corridor, request: pytest.FixtureRequest, reader: str
) -> None:
    if reader == "access":
        request.getfixturevalue("access_writer")  # what reads it is then there, too
    corridor.add_source("drop", "machines", reader, "drop/*")
    corridor.write("drop/bomb.gz", gzip.compress(b" " * (LIMIT_BYTES + 1)))
    (failure,) = corridor.load().failures
    assert "too many for its packed size [too_large]" in failure.message


def overlapping(path: Path) -> None:
    """Write a .zip of which many members are the same bytes."""
    pack(path, {"0.csv": b"0" * LIMIT_BYTES})
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    entry, end = content[start : content.index(b"PK\x05\x06")], content[content.index(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"0.csv", b"%d.csv" % number) for number in range(9))
    counts = struct.pack("<HHI", 9, 9, len(entries))
    path.write_bytes(content[:start] + entries + end[:8] + counts + end[16:])


def large_window(path: Path) -> None:
    pack(path, {"a.csv": rows(1)}, zipfile.ZIP_LZMA)
    content = bytearray(path.read_bytes())
    at = content.index(b"a.csv") + len("a.csv")
    content[at + 5 : at + 9] = (3 << 29).to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "says"),
    [(overlapping, "it has 9 files with 9,437,184 bytes"), (large_window, "more than 128 MiB of memory [too_large]")],
)
def test_a_packed_file_that_would_take_much_room_is_refused(
    corridor: Corridor, make: Callable[[Path], object], says: str
) -> None:
    drop(corridor)
    (corridor.folder / "drop").mkdir()
    make(corridor.folder / "drop" / "a.zip")
    (failure,) = corridor.load().failures
    assert says in failure.message


# --- Links and special files --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="a link needs a privilege on Windows")
@pytest.mark.timeout(120)
def test_what_a_link_leads_to_is_read_only_within_the_folder(corridor: Corridor) -> None:
    drop(corridor, archive="done")
    secret = corridor.write("passwd", "root:x:0:0:root:/root:/bin/bash\n")
    corridor.write("drop/good.csv", rows(1))
    for name, target in {"a.csv": secret, "b.csv.gz": Path("/dev/zero"), "c.zip": Path("/proc/self/environ")}.items():
        (corridor.folder / "drop" / name).symlink_to(target)
    os.mkfifo(corridor.folder / "drop" / "d.csv")
    report = corridor.load()
    assert [outcome.location for outcome in report.failures] == [
        f"drop/{name}" for name in ("a.csv", "b.csv.gz", "c.zip", "d.csv")
    ]
    for outcome in report.failures:
        assert "[unsupported]. Remedy: " in outcome.message
        assert "root" not in outcome.message
    assert loaded(corridor) == ["TRX-1"]
    assert names(files_in(corridor.folder / "done")) == ["good.csv"]
    assert set(states(corridor.load()).values()) == {"parked"}  # it is told once
    (corridor.folder / "drop" / "a.csv").unlink()
    corridor.write("drop/a.csv", rows(2))
    assert states(corridor.load())["drop/a.csv"] == "loaded"


# --- Files that are done with -------------------------------------------------------------------------------------


def test_files_are_archived_once_they_are_loaded_and_others_stay(corridor: Corridor, place: Place) -> None:
    dropped(corridor, place, "drop/*/*", archive="done")
    place.put("drop/douala/a.csv", rows(1).encode())
    place.put("drop/douala/bad.csv", f"{HEADER}\nTRX-9,MCH-001,never,1,OK\n".encode())
    place.put("drop/edea/c #1.csv", rows(3).encode())
    place.put("drop/edea/good.zip", packed({"d.csv": rows(4), "e.csv": rows(5)}))
    place.put("drop/edea/half.zip", packed({"f.csv": rows(6), "../g.csv": rows(7)}))
    report = corridor.load()
    assert [o.location for o in report.failures] == [
        place.where("drop/douala/bad.csv"),
        place.where("drop/edea/half.zip/../g.csv"),
    ]
    assert place.files("drop") == ["douala/bad.csv", "edea/half.zip"]
    assert names(place.files("done")) == ["douala/a.csv", "edea/c #1.csv", "edea/good.zip"]
    assert not any(outcome.unarchived for outcome in report.outcomes)
    assert set(states(corridor.load()).values()) == {"parked", "unchanged"}
    assert loaded(corridor) == ["TRX-1", "TRX-3", "TRX-4", "TRX-5", "TRX-6"]
    assert reconcile(corridor.engine) == []


@pytest.mark.skipif(os.name == "nt", reason="a link needs a privilege on Windows")
def test_a_link_to_a_file_that_was_archived_before_it_is_no_fault(corridor: Corridor) -> None:
    """`latest.csv`, as many a program that exports leaves it beside its file."""
    drop(corridor, archive="done")
    corridor.write("drop/2026-02-01.csv", rows(1))
    (corridor.folder / "drop" / "latest.csv").symlink_to("2026-02-01.csv")
    (corridor.folder / "drop" / "0-first-by-name.csv").symlink_to("2026-02-01.csv")
    report = corridor.load()
    assert [outcome.unarchived for outcome in report.outcomes if outcome.source == "drop"] == ["", "", ""]
    assert names(files_in(corridor.folder / "done")) == ["2026-02-01.csv"]


def test_a_file_that_is_gone_before_it_is_archived_is_named(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(corridor, archive="done")
    for number in (1, 2):
        corridor.write(f"drop/{number}.csv", rows(number))
    honest = archive_loaded

    def archive_what_is_left(*arguments: Any) -> list[UnitOutcome]:
        (corridor.folder / "drop" / "1.csv").unlink(missing_ok=True)
        honest(*arguments)
        return honest(*arguments)  # as if the first try had broken off at its end

    monkeypatch.setattr(steps, "archive_loaded", archive_what_is_left)
    gone, moved = corridor.load().outcomes
    assert (gone.state, moved.state) == ("loaded", "loaded")
    assert gone.unarchived.startswith("drop/1.csv: somebody has removed the file since it was loaded")
    assert moved.unarchived == ""
    assert names(files_in(corridor.folder / "done")) == ["2.csv"]


def test_a_later_file_of_the_same_name_takes_nobodys_place(corridor: Corridor, place: Place) -> None:
    dropped(corridor, place, archive="done")
    for number in (1, 2, 3):  # as long as each other, and within a second
        place.put("drop/a.csv", rows(number).encode())
        assert corridor.load().counts("drop").inserted == 1
    assert (place.files("drop"), names(place.files("done"))) == ([], ["a.csv"] * 3)
    report = corridor.load()
    assert (report.failures, states(report)) == ([], {})  # a folder from which all is archived is no fault


def test_a_run_that_was_killed_before_it_archived_is_made_good_by_the_next(corridor: Corridor, place: Place) -> None:
    dropped(corridor, place)
    place.put("drop/a.csv", rows(1).encode())
    corridor.load()
    assert place.files("drop") == ["a.csv"]
    corridor.sources[-1]["archive"] = place.where("done")
    assert states(corridor.load()) == {place.where("drop/a.csv"): "unchanged"}
    assert (place.files("drop"), names(place.files("done"))) == ([], ["a.csv"])


def test_a_run_that_was_killed_between_copying_and_deleting_is_made_good_by_the_next(
    corridor: Corridor, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Container(azurite)
    account = BlobDrop(account_url=azurite.url, key=SecretStr(KEY)).filesystem()
    corridor.connections = KnownConnections(drops={"azure": account})
    dropped(corridor, place, archive="done")
    place.put("drop/a.csv", rows(1).encode())
    with monkeypatch.context() as patched:
        patched.setattr(type(account), "delete_copied", killed)
        with pytest.raises(Killed):
            corridor.load()
    assert (place.files("drop"), names(place.files("done"))) == (["a.csv"], ["a.csv"])
    assert states(corridor.load()) == {place.where("drop/a.csv"): "unchanged"}
    assert (place.files("drop"), names(place.files("done"))) == ([], ["a.csv"])


class Killed(Exception):
    """The run ends here."""


async def killed(*_: object) -> None:
    raise Killed


def test_an_account_that_lets_nobody_delete_is_told(corridor: Corridor, azurite: Azurite) -> None:
    place = Container(azurite)
    account = BlobDrop(account_url=azurite.url, key=SecretStr(azurite.sas("rl")))
    corridor.connections = KnownConnections(drops={"azure": account.filesystem()})
    dropped(corridor, place, archive="done")
    place.put("drop/a.csv", rows(1).encode())
    report = corridor.load()
    assert (report.failures, loaded(corridor)) == ([], ["TRX-1"])
    (told,) = [outcome.unarchived for outcome in report.outcomes]
    assert told.startswith(f"{place.where('drop/a.csv')}: {azurite.url} refuses the login: 403")
    assert "to archive Write and Delete" in told
    corridor.connections = KnownConnections(
        drops={"azure": BlobDrop(account_url=azurite.url, key=SecretStr(azurite.sas("rlwd"))).filesystem()}
    )
    corridor.load()
    assert (place.files("drop"), names(place.files("done"))) == ([], ["a.csv"])


def test_a_file_that_is_replaced_before_it_is_archived_is_loaded_first(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even at the last moment, after the last look."""
    drop(corridor, archive="done")
    path = corridor.write("drop/a.csv", rows(1))
    move = LocalFileSystem.mv

    def replaced_at_the_last_moment(self: LocalFileSystem, path1: str, path2: str, **more: Any) -> None:
        if path1.endswith("drop/a.csv"):
            path.write_text(rows(22), encoding="utf-8")
        move(self, path1, path2, **more)

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "mv", replaced_at_the_last_moment)
        (outcome,) = corridor.load().outcomes
    assert (files_in(corridor.folder / "drop"), files_in(corridor.folder / "done")) == (["a.csv"], [])
    assert "it was replaced while it was moved" in outcome.unarchived
    assert corridor.load().counts("drop").inserted == 1
    assert len(files_in(corridor.folder / "done")) == 1


def test_a_file_that_is_delivered_twice_at_that_moment_is_told(
    corridor: Corridor, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(corridor, archive="done")
    path = corridor.write("drop/a.csv", rows(1))
    move = LocalFileSystem.mv

    def delivered_twice(self: LocalFileSystem, path1: str, path2: str, **more: Any) -> None:
        path.write_text(rows(22), encoding="utf-8")
        move(self, path1, path2, **more)
        path.write_text(rows(333), encoding="utf-8")

    with monkeypatch.context() as patched:
        patched.setattr(LocalFileSystem, "mv", delivered_twice)
        (outcome,) = corridor.load().outcomes
    assert "another file arrived while it was moved" in outcome.unarchived
    assert corridor.load().counts("drop").inserted == 1
    assert loaded(corridor) == ["TRX-1", "TRX-333"]


def test_an_archive_that_takes_no_files_is_told_and_tried_again(corridor: Corridor) -> None:
    drop(corridor, archive="done")
    corridor.write("drop/a.csv", rows(1))
    corridor.write("done", "a file where the folder belongs")
    report = corridor.load()
    assert (report.failures, loaded(corridor)) == ([], ["TRX-1"])
    (told,) = [outcome.unarchived for outcome in report.outcomes if outcome.unarchived]
    assert told.startswith("drop/a.csv: ")
    assert "Remedy: " in told
    (corridor.folder / "done").unlink()
    corridor.load()
    assert len(files_in(corridor.folder / "done")) == 1
    assert stat.S_ISREG(next((corridor.folder / "done").iterdir()).stat().st_mode)


@pytest.mark.parametrize(
    ("location", "archive", "remedy"),
    [
        ("drop/*.csv", "drop", "the location would find its files again"),
        ("drop/*.csv", "./x/../drop/", "the location would find its files again"),
        ("drop/**/*.csv", "drop/done", "the location would find its files again"),
        ("drop/*.csv", "done/*", "it must be one folder"),
        ("drop/*.csv", "done/{day:%Y%m%d}", "it must be one folder"),
        ("drop/*.csv", "abfs://done/x", "it must be in the same storage as the location"),
    ],
)
def test_an_archive_that_cannot_work_is_refused(corridor: Corridor, location: str, archive: str, remedy: str) -> None:
    drop(corridor, location, archive=archive)
    with pytest.raises(ConfigurationError, match=f"sources > drop > archive: {remedy}"):
        assert corridor.catalog


def test_an_archive_below_the_folder_is_not_looked_into(corridor: Corridor) -> None:
    drop(corridor, "drop/*.csv", archive="drop/done")
    corridor.write("drop/a.csv", rows(1))
    corridor.load()
    assert [re.sub(ARCHIVED, "", name) for name in files_in(corridor.folder / "drop")] == ["done/a.csv"]
    assert states(corridor.load()) == {}
