"""Where files are: a path, glob or URL, local or on any filesystem that fsspec knows."""

import hashlib
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NoReturn

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from freight.errors import ConfigurationError, SourceError
from freight.outward import UNSEEN
from freight.readers.landing import Landing
from freight.readers.packed import (
    FAIR_RATIO,
    READ_BLOCK_BYTES,
    UNPACKED_LIMIT_BYTES,
    is_packed,
    unpacked_limit,
    unpacking,
)

GLOB_SIGN = re.compile(r"[*?[]")
OVER_HTTP = re.compile(r"(?:^|::)https?://", re.IGNORECASE)  # also within another filesystem

# What a name must not bring into logs and reports, and what the key of a table takes.
CONTROL = re.compile(rf"[\t\n{UNSEEN}]")
NAME_LIMIT_BYTES, KEPT_CHARS = 1_000, 100


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: how the ledger names it: relative to the catalog's folder where it lies inside, else whole.
        size_bytes, modified_us: as the filesystem tells; microseconds since 1970 UTC.
        etag: of this version, empty where the filesystem has none.
    """

    path: str
    filesystem: AbstractFileSystem = field(repr=False, compare=False)
    address: str = field(repr=False)
    size_bytes: int
    modified_us: int
    etag: str = field(repr=False)

    @property
    def name(self) -> str:
        """The name, in which a date may tell what day the file speaks for."""
        return PurePosixPath(self.path).name

    @property
    def is_packed(self) -> bool:
        """Whether its content is unpacked while it is read."""
        return is_packed(self.address)

    @property
    def most_bytes(self) -> int:
        """How long its content may be."""
        return unpacked_limit(self.size_bytes) if self.is_packed else self.size_bytes

    @property
    def stored_bytes(self) -> int:
        """How long it is where it is, packed or not."""
        return self.size_bytes

    @property
    def fair_bytes(self) -> int:
        """How much content is in it, as far as that may cost time: more than text packs to does not count."""
        return min(self.most_bytes, self.stored_bytes * FAIR_RATIO)

    @property
    def packed_with(self) -> int:
        """How many files are in the packed one that it is in; 1 if it is in none."""
        return 1

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the content, unpacked when the name says that it is packed.

        Raises:
            SourceError: the file cannot be opened; or, while it is read, it holds more than a file of its size may.
        """
        with named_faults(self.path), self.filesystem.open(self.address, "rb") as stored:
            yield unpacking(stored, self.address, self.size_bytes) if self.is_packed else stored

    def local_path(self) -> Path | None:
        """Return the path of the content on this machine; None if it is elsewhere, or packed."""
        is_here = isinstance(self.filesystem, LocalFileSystem) and not self.is_packed
        return Path(self.address) if is_here else None

    def sha256(self) -> str:
        """Return the hash of the stored bytes, as hex."""
        digest = hashlib.sha256()
        with named_faults(self.path), self.filesystem.open(self.address, "rb") as stream:
            while block := stream.read(READ_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def refuse_if_changed(self) -> None:
        """Check that size and time of change are still those that were seen when the file was found.

        Raises:
            SourceError: somebody wrote to the file in between.
        """
        with named_faults(self.path):
            now = self.filesystem.info(self.address)
        if _version(now) != (self.size_bytes, self.modified_us):
            raise SourceError(
                "changed_while_reading",
                "the file was written to while it was being read",
                location=self.path,
                remedy="none: the next run loads it when it is complete; deliver by writing elsewhere and renaming",
            )

    def move_to(self, folder: str, name: str, base: Path) -> None:
        """Move the stored file; one that was moved before, or is already there in this version, does no harm.

        Args:
            folder: The folder to which it goes, in the same filesystem.
            name: The new name, which may have sub-folders.
            base: The folder of the catalog.

        Raises:
            SourceError: it cannot be moved, or somebody wrote to it since it was found; then it stays.
        """
        whole = _address(self.filesystem, folder, base)
        target = f"{whole}/{name}"
        self.refuse_if_changed()
        with named_faults(self.path):
            if isinstance(self.filesystem, Landing):
                self.filesystem.refuse_link(target, whole)
            self.filesystem.makedirs(self.filesystem._parent(target), exist_ok=True)
            self.filesystem.mv(self.address, target, etag=self.etag)
            self._put_back_if_changed(target)

    def lies_in(self, folder: str, name: str, base: Path) -> bool:
        """Return whether something lies where `move_to` would put the file.

        Raises:
            SourceError: The folder cannot be looked at.
        """
        with named_faults(self.path):
            return bool(self.filesystem.exists(f"{_address(self.filesystem, folder, base)}/{name}"))

    @property
    def is_link(self) -> bool:
        """Whether the file is a link to another one."""
        return isinstance(self.filesystem, LocalFileSystem) and os.path.islink(self.address)  # noqa: PTH114

    def real_address(self) -> str:
        """Return the address of the bytes; that of a link is the one of the file to which it leads."""
        return os.path.realpath(self.address) if isinstance(self.filesystem, LocalFileSystem) else self.address

    def _put_back_if_changed(self, target: str) -> None:
        """Undo the move of a file that somebody has replaced at the last moment; a store with ETags has refused it."""
        if self.etag or _version(self.filesystem.info(target)) == (self.size_bytes, self.modified_us):
            return
        if self.filesystem.exists(self.address):
            raise SourceError(
                "unreadable",
                f"it was delivered twice while it was moved: {target} is in no warehouse",
                remedy="none if the newer one has all that it had, else deliver it by another name",
            )
        self.filesystem.mv(target, self.address)
        raise SourceError(
            "unreadable",
            "it was replaced while it was moved, or lost its time of change by that",
            remedy="none if it was replaced: the next run loads it; else name an archive on the same disk",
        )


@dataclass(frozen=True)
class RefusedFile(SourceFile):
    """A file that must not be read.

    Attributes:
        fault: The reason.
        is_known: whether its stored bytes may be looked at, to tell them from others.
    """

    fault: SourceError = field(repr=False, compare=False)
    is_known: bool = True

    @classmethod
    def of(cls, file: SourceFile, path: str, fault: SourceError, *, is_known: bool = True) -> "RefusedFile":
        """Return a stored file, or something in it that is named so, as refused."""
        stored = (file.filesystem, file.address, file.size_bytes, file.modified_us, file.etag)
        return cls(path, *stored, fault.at(path), is_known)

    def open(self) -> NoReturn:
        """Refuse.

        Raises:
            SourceError: in any case.
        """
        raise self.fault

    def local_path(self) -> None:
        """There is none that may be read."""

    def sha256(self) -> str:
        """Return the hash of the stored bytes; of what may not be looked at, of why that is so and of which it is."""
        if self.is_known:
            return super().sha256()
        return hashlib.sha256(f"{self.fault}\n{self.size_bytes}\n{self.modified_us}".encode()).hexdigest()


def find_files(
    location: str, base: Path, filesystem: AbstractFileSystem | None = None, *, may_be_none: bool = False
) -> list[SourceFile]:
    """Return the files that a location names, ordered by path; what must not be read says so when it is.

    Args:
        location: path, glob or URL; a relative path counts from `base`.
        base: folder of the catalog.
        filesystem: Where the location is; by default the one that its URL tells.
        may_be_none: Whether it is no fault that there is none.

    Raises:
        SourceError: no file matches, or the filesystem cannot be looked at.
        ConfigurationError: no filesystem is installed for the URL.
    """
    with named_faults(location):
        filesystem = filesystem or _filesystem(location, base)
        address = _address(filesystem, location, base)
        found = filesystem.glob(address, detail=True) if _is_glob(address) else _one(filesystem, address)
        files = [
            _source_file(filesystem, info, base)
            for info in _followed(filesystem, found)
            if info["type"] == "file" or "fault" in info
        ]
    if not files and not may_be_none:
        raise SourceError(
            "missing",
            "no file is there",
            location=location,
            remedy="deliver the file, or correct the location in the catalog",
        )
    return sorted(files, key=lambda file: file.path)


def put_file(path: Path, location: str, base: Path, filesystem: AbstractFileSystem | None = None) -> None:
    """Put a file of this machine where a location says; what is there by that name is left alone.

    Args:
        path: of the file.
        location: path or URL; a relative path counts from `base`.
        base: folder of the installation.
        filesystem: Where the location is; by default the one that its URL tells.

    Raises:
        SourceError: it cannot be put there, or something is there.
        ConfigurationError: no filesystem is installed for the URL.
    """
    with named_faults(location):
        filesystem = filesystem or _filesystem(location, base)
        address = _address(filesystem, location, base)
        if filesystem.exists(address):
            raise _taken()
        filesystem.makedirs(filesystem._parent(address), exist_ok=True)
        try:
            filesystem.put_file(str(path), address)
        except FileExistsError:  # say a link that leads nowhere
            raise _taken() from None


def _taken() -> SourceError:
    return SourceError("unreadable", "something is there by this name", remedy="name another file")


def _followed(filesystem: AbstractFileSystem, found: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give what was found, and of a link what it leads to: a search tells of the link itself."""
    for info in found.values():
        try:
            yield filesystem.info(info["name"]) if info.get("islink") or info["type"] == "other" else info
        except FileNotFoundError:
            continue  # the link leads nowhere


def text_stream(stream: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """Wrap a byte stream as text, keeping every line end as written."""
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def scheme_of(location: str) -> str:
    """Return what stands before the `://` of a URL; nothing for a path."""
    return location.partition("://")[0] if "://" in location else ""


def fixed_part(location: str) -> str:
    """Return the folder of a location, as far as it has no glob sign."""
    fixed = GLOB_SIGN.split(location)[0]
    return fixed.rpartition("/")[0]


def below(location: str, file: SourceFile, base: Path) -> str:
    """Return the path of a stored file as seen from the fixed part of the location that found it."""
    root = _address(file.filesystem, fixed_part(location), base).rstrip("/") + "/"
    return file.address.removeprefix(root) if file.address.startswith(root) else PurePosixPath(file.address).name


def _filesystem(location: str, base: Path) -> AbstractFileSystem:
    if OVER_HTTP.search(location):  # what fsspec does there has no bound, and goes wherever it is led
        raise ConfigurationError(
            "files are not read over http(s)://: the reader http_api asks an API, else have them delivered"
        )
    try:
        filesystem = fsspec.core.url_to_fs(location)[0]
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"location {location!r}: {error}") from None
    if not isinstance(filesystem, LocalFileSystem):
        return filesystem
    return Landing(os.path.dirname(GLOB_SIGN.split(_address(filesystem, location, base))[0]))  # noqa: PTH120


def _address(filesystem: AbstractFileSystem, location: str, base: Path) -> str:
    whole = location if "://" in location else os.path.join(base, location)  # noqa: PTH118 - keeps glob signs
    return str(filesystem._strip_protocol(whole))


def _is_glob(address: str) -> bool:
    return bool(GLOB_SIGN.search(address))


def _one(filesystem: AbstractFileSystem, address: str) -> dict[str, dict[str, Any]]:
    try:
        return {address: filesystem.info(address)}
    except FileNotFoundError:
        return {}


def _source_file(filesystem: AbstractFileSystem, info: dict[str, Any], base: Path) -> SourceFile:
    address = str(info["name"])
    file = SourceFile(
        path=_ledger_path(filesystem, address, base),
        filesystem=filesystem,
        address=address,
        size_bytes=int(info["size"]),
        modified_us=_modified_us(info),
        etag=str(info.get("etag", "")),
    )
    fault = info.get("fault") or _fault_of_size(file)
    return RefusedFile.of(file, file.path, fault, is_known=False) if fault else file


def _fault_of_size(file: SourceFile) -> SourceError | None:
    """Refuse what nobody could even read through in a night: a file of holes takes no room on a disk."""
    if file.size_bytes <= UNPACKED_LIMIT_BYTES:
        return None
    told = f"the file is larger than {UNPACKED_LIMIT_BYTES >> 30} GiB"
    return SourceError("too_large", told, remedy="deliver it in parts")


def _ledger_path(filesystem: AbstractFileSystem, address: str, base: Path) -> str:
    if not isinstance(filesystem, LocalFileSystem):
        return writable(str(filesystem.unstrip_protocol(address)))
    path = Path(address)
    return writable(path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix())


def writable(name: str) -> str:
    """Return a name that every log and database takes, another one for each file."""
    # Linux lets a name hold bytes that are no UTF-8; a database does not.
    named = name.encode("utf-8", "backslashreplace").decode()
    named = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), named)
    if len(whole := named.encode()) <= NAME_LIMIT_BYTES:
        return named
    return f"{named[:KEPT_CHARS]}…{hashlib.sha256(whole).hexdigest()[:16]}…{named[-KEPT_CHARS:]}"


def _version(info: dict[str, Any]) -> tuple[int, int]:
    return int(info["size"]), _modified_us(info)


def _modified_us(info: dict[str, Any]) -> int:
    """Return when a file was changed.

    A store that tells only the second gives each version an ETag: it stands in for the microseconds, so that a change
    within the second is seen.
    """
    modified = info.get("mtime") or info.get("last_modified") or info.get("created") or 0
    seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified)
    modified_us = round(seconds * 1_000_000)
    is_coarse = "etag" in info and modified_us % 1_000_000 == 0
    return modified_us + zlib.crc32(str(info["etag"]).encode()) % 1_000_000 if is_coarse else modified_us


@contextmanager
def named_faults(path: str) -> Iterator[None]:
    """Say what an error of the filesystem means for a file."""
    try:
        yield
    except SourceError as error:  # a filesystem that knows better what its faults mean
        error.at(path)
        raise
    except FileNotFoundError:
        raise SourceError("missing", "the file has gone", location=path, remedy="deliver the file again") from None
    except PermissionError:
        raise SourceError(
            "unreadable", "permission denied", location=path, remedy="grant access to the user of the run"
        ) from None
    except NotImplementedError as error:
        raise SourceError(
            "unsupported", f"cannot be unpacked: {error}", location=path, remedy="pack it with deflate"
        ) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise SourceError(
            "corrupt", f"unpacking failed: {error}", location=path, remedy="deliver the whole file again"
        ) from error
    except (EOFError, OSError) as error:
        if getattr(error, "errno", None):  # the system's fault; an unpacker complains of the content without a number
            raise SourceError(
                "unreadable",
                f"reading failed: {error.args[-1]}",
                location=path,
                remedy="look after the disk or the network; the next run tries again",
            ) from error
        raise SourceError(
            "corrupt", f"reading failed: {error}", location=path, remedy="deliver the whole file again"
        ) from error
