"""Links and special files that somebody puts into a landing folder."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freight.errors import SourceError
from freight.readers import SourceFile, find_files, put_file
from freight.readers.landing import Landing
from freight.readers.zip_members import unpacked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a link needs a privilege on Windows")

SECRET = "root:x:0:0:root:/root:/bin/bash"
OUT = "it is a link to a file outside the folder that is searched [unsupported]. Remedy: copy the file"
SYSTEM = "it is in a system folder [unsupported]. Remedy: name a folder of data files in the catalog"
SPECIAL = "it is not a regular file [unsupported]. Remedy: deliver a regular file"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """A landing folder with one good file; beside it lies what is none of ours."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "passwd").write_text(SECRET)
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "good.csv").write_text("good")
    return tmp_path / "drop"


def found(location: str, base: Path) -> list[SourceFile]:
    return [one for file in find_files(location, base) for one in unpacked(file)]


def refusal(file: SourceFile) -> str:
    """Return what a file says that must not be read."""
    with pytest.raises(SourceError) as refused, file.open() as stream:
        raise AssertionError(stream.read())
    assert file.sha256() == file.sha256()
    assert file.local_path() is None
    file.refuse_if_changed()
    assert SECRET not in str(refused.value)
    assert "passwd" not in str(refused.value)
    return str(refused.value)


PUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "link out": (lambda path: path.symlink_to(path.parent.parent / "elsewhere" / "passwd"), OUT),
    "link by a way up": (lambda path: path.symlink_to("../elsewhere/passwd"), OUT),
    "link to a link": (lambda path: linked_twice(path), OUT),
    "link to what is not there": (lambda path: path.symlink_to("/nowhere/at/all"), OUT),
    "link to itself": (lambda path: path.symlink_to(path), "the target of the link cannot be examined"),
    "link to secrets of this process": (lambda path: path.symlink_to("/proc/self/environ"), SYSTEM),
    "link to endless zeros": (lambda path: path.symlink_to("/dev/zero"), SYSTEM),
    "link to /sys": (lambda path: path.symlink_to("/sys/kernel/notes"), SYSTEM),
    "pipe": (os.mkfifo, SPECIAL),
    "link to a pipe": (lambda path: linked_pipe(path), SPECIAL),
    "socket": (lambda path: bound(path), SPECIAL),
}


def linked_twice(path: Path) -> None:
    between = path.with_name("between")
    between.symlink_to("../elsewhere")
    path.symlink_to("between/passwd")


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_suffix(".pipe"))
    path.symlink_to(path.with_suffix(".pipe"))


def bound(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(path.parent)  # the name of a socket is at most 108 bytes long
        listener.bind(path.name)
        os.chdir(here)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["bad.csv", "bad.csv.gz", "bad.zip"])
@pytest.mark.parametrize(("put", "says"), PUT.values(), ids=PUT)
def test_what_must_not_be_read_is_told_and_the_others_are_read(
    landing: Path, put: Callable[[Path], object], says: str, name: str
) -> None:
    put(landing / name)
    for location in ("drop/*.csv*", "drop/*.zip", f"drop/{name}", "drop/**/b*.*"):
        for file in (one for one in find_and_unpack(location, landing.parent) if one.path == f"drop/{name}"):
            assert says in refusal(file)
            assert str(refusal(file)).startswith(f"drop/{name}: ")
    assert f"drop/{name}" in [file.path for file in found("drop/*", landing.parent)]
    (good,) = found("drop/good.csv", landing.parent)
    with good.open() as stream:
        assert stream.read() == b"good"


def find_and_unpack(location: str, base: Path) -> list[SourceFile]:
    return [one for file in find_files(location, base, may_be_none=True) for one in unpacked(file)]


def test_a_linked_folder_is_not_looked_into(landing: Path) -> None:
    (landing / "more").symlink_to("../elsewhere")
    (landing / "proc").symlink_to("/proc/self")
    assert [file.path for file in found("drop/**", landing.parent)] == ["drop/good.csv"]
    assert find_files("drop/*/*", landing.parent, may_be_none=True) == []


def test_a_landing_folder_may_itself_be_a_link_to_another_disk(landing: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(landing)
    (landing / "sub").mkdir()
    (landing / "sub" / "latest.csv").symlink_to("../good.csv")
    (linked, good) = found("linked/**/*.csv", tmp_path)[::-1]
    assert [file.path for file in (good, linked)] == ["linked/good.csv", "linked/sub/latest.csv"]
    with linked.open() as stream:
        assert stream.read() == b"good"


@pytest.mark.parametrize("location", ["/proc/self/environ", "/dev/zero", "/dev/std*", "linked/environ", "linked/*"])
def test_a_location_in_a_folder_of_the_system_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "linked").symlink_to("/proc/self")
    with pytest.raises(SourceError, match=r"it is in a system folder \[unsupported\]"):
        find_files(location, tmp_path)


@pytest.mark.parametrize("of", ["file", "folder", "pipe"])
@pytest.mark.timeout(60)
def test_a_link_that_takes_the_place_of_a_file_after_it_was_found_is_not_followed(landing: Path, of: str) -> None:
    (landing / "sub").mkdir()
    (landing / "sub" / "passwd").write_text("good")
    (file,) = found("drop/**/passwd", landing.parent)
    (landing / "sub").rename(landing / "was")
    if of == "folder":
        (landing / "sub").symlink_to("../elsewhere")
    else:
        (landing / "sub").mkdir()
        path = landing / "sub" / "passwd"
        os.mkfifo(path) if of == "pipe" else path.symlink_to("../../elsewhere/passwd")
    with pytest.raises(SourceError), file.open() as stream:
        raise AssertionError(stream.read())


def test_a_link_that_comes_between_the_look_and_the_opening_is_not_followed(
    landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (landing / "sub").mkdir()
    (landing / "sub" / "passwd").write_text("good")
    (file,) = found("drop/**/passwd", landing.parent)
    look = Landing._fault

    def meddled_with(self: Landing, path: str) -> SourceError | None:
        seen = look(self, path)
        monkeypatch.undo()
        real = os.path.realpath(path)
        (landing / "sub").rename(landing / "was")
        (landing / "sub").symlink_to("../elsewhere")
        monkeypatch.setattr(os.path, "realpath", lambda _: real)
        return seen

    monkeypatch.setattr(Landing, "_fault", meddled_with)
    with pytest.raises(SourceError, match="unreadable"), file.open() as stream:
        raise AssertionError(stream.read())


@pytest.mark.parametrize("planted", ["drop/done", "drop/done/sub", "drop/done/good.csv", "drop/done/sub/good.csv"])
def test_nothing_is_archived_through_a_link_that_somebody_has_put_into_the_folder(
    landing: Path, tmp_path: Path, planted: str
) -> None:
    (file,) = found("drop/good.csv", tmp_path)
    (tmp_path / planted).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / planted).symlink_to(tmp_path / "elsewhere")
    name = "sub/good.csv" if "sub" in planted else "good.csv"
    with pytest.raises(SourceError, match=r"drop/good.csv: the archive has a link or a folder in its place"):
        file.move_to("drop/done", name, tmp_path)
    assert (landing / "good.csv").exists()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["passwd"]


def test_an_archive_elsewhere_may_be_a_link_to_another_disk(landing: Path, tmp_path: Path) -> None:
    (file,) = found("drop/good.csv", tmp_path)
    (tmp_path / "done").symlink_to("elsewhere")
    file.move_to("done", "sub/good.csv", tmp_path)
    assert (tmp_path / "elsewhere" / "sub" / "good.csv").read_text() == "good"
    assert not (landing / "good.csv").exists()


def test_nothing_is_written_through_a_link_that_leads_nowhere(landing: Path, tmp_path: Path) -> None:
    (landing / "book.xlsx").symlink_to(tmp_path / "elsewhere" / "made.xlsx")
    with pytest.raises(SourceError, match="this name is already taken"):
        put_file(landing / "good.csv", "drop/book.xlsx", tmp_path)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["passwd"]
    put_file(landing / "good.csv", "drop/new/book.xlsx", tmp_path)
    assert (landing / "new" / "book.xlsx").read_text() == "good"


def test_a_file_of_holes_that_nobody_could_read_through_is_refused_unread(landing: Path) -> None:
    os.truncate(landing / "good.csv", 21 << 30)
    (file,) = found("drop/*.csv", landing.parent)
    assert "the file is larger than 20 GiB [too_large]. Remedy: deliver it in parts" in refusal(file)
