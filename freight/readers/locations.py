"""Locations of files: a path, glob or URL, local or on any filesystem that fsspec supports."""

import hashlib
import io
import json
import logging
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
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
from freight.readers.no_data import is_trace
from freight.readers.packed import (
    FAIR_RATIO,
    READ_BLOCK_BYTES,
    UNPACKED_LIMIT_BYTES,
    is_packed,
    unpacked_limit,
    unpacking,
)

log = logging.getLogger("freight")

GLOB_SIGN = re.compile(r"[*?[]")
CHOICE = re.compile(r"\[(?!0-9\]|[*?[]\])")  # begins a choice of signs; not the digits of a day, nor an escaped sign
SHOWN_FILES = 10
OVER_HTTP = re.compile(r"(?:^|::)https?://", re.IGNORECASE)  # also nested in another filesystem

# Characters that a name must not bring into logs and reports, and the length that the key of a table accepts.
CONTROL = re.compile(rf"[\t\n{UNSEEN}]")
NAME_LIMIT_BYTES, KEPT_CHARS = 1_000, 100


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: The name in the ledger: relative to the catalog's folder if the file lies in it, otherwise absolute.
        size_bytes, modified_us: The size and time of change (microseconds since 1970 UTC) that the filesystem reports.
        etag: The ETag of this version; empty if the filesystem has none.
    """

    path: str
    filesystem: AbstractFileSystem = field(repr=False, compare=False)
    address: str = field(repr=False)
    size_bytes: int
    modified_us: int
    etag: str = field(repr=False)

    @property
    def name(self) -> str:
        """The file name; a date in it may give the day that the file stands for."""
        return PurePosixPath(self.path).name

    @property
    def is_packed(self) -> bool:
        """Whether the content is unpacked while it is read."""
        return is_packed(self.address)

    @property
    def most_bytes(self) -> int:
        """Maximum size of the content."""
        return unpacked_limit(self.size_bytes) if self.is_packed else self.size_bytes

    @property
    def stored_bytes(self) -> int:
        """Size as stored, packed or not."""
        return self.size_bytes

    @property
    def fair_bytes(self) -> int:
        """Content size that counts towards time limits; a compression ratio beyond that of text does not count."""
        return min(self.most_bytes, self.stored_bytes * FAIR_RATIO)

    @property
    def packed_with(self) -> int:
        """Number of files in the archive that contains this one; 1 outside an archive."""
        return 1

    @property
    def remark(self) -> str:
        """Note for people about this file."""
        return ""

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the content, unpacked if the name has the suffix of a packed file.

        Raises:
            SourceError: The file cannot be opened; or, during reading, it holds more than a file of its size may.
        """
        with named_faults(self.path), self.filesystem.open(self.address, "rb") as stored:
            yield unpacking(stored, self.address, self.size_bytes) if self.is_packed else stored

    def local_path(self) -> Path | None:
        """Return the path of the content on this machine; None if it is remote or packed."""
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
        """Check that size and time of change are the same as when the file was found.

        Raises:
            SourceError: Somebody has written to the file since.
        """
        with named_faults(self.path):
            now = self.filesystem.info(self.address)
        if _version(now) != (self.size_bytes, self.modified_us):
            raise SourceError(
                "changed_while_reading",
                "the file was written to while it was being read",
                location=self.path,
                remedy="none: the next run loads it once it is complete; better write it elsewhere and rename it",
            )

    def move_to(self, folder: str, name: str, base: Path) -> None:
        """Move the stored file; it does no harm if the file was moved before or the target holds this version already.

        Args:
            folder: The target folder, in the same filesystem.
            name: The new name, which may have sub-folders.
            base: The folder of the catalog.

        Raises:
            SourceError: The file cannot be moved, or somebody has written to it since it was found; then it stays.
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
        """Return whether the target path of `move_to` exists.

        Raises:
            SourceError: The folder cannot be accessed.
        """
        with named_faults(self.path):
            return bool(self.filesystem.exists(f"{_address(self.filesystem, folder, base)}/{name}"))

    @property
    def is_link(self) -> bool:
        """Whether the file is a link to another one."""
        return isinstance(self.filesystem, LocalFileSystem) and os.path.islink(self.address)  # noqa: PTH114

    def real_address(self) -> str:
        """Return the address of the bytes: for a link, the address of its target."""
        return os.path.realpath(self.address) if isinstance(self.filesystem, LocalFileSystem) else self.address

    def _put_back_if_changed(self, target: str) -> None:
        """Undo the move of a file that was replaced at the last moment; a store with ETags has refused such a move."""
        if self.etag or _version(self.filesystem.info(target)) == (self.size_bytes, self.modified_us):
            return
        if self.filesystem.exists(self.address):
            raise SourceError(
                "unreadable",
                f"another file arrived while it was moved: {target} is not in the warehouse",
                remedy="none if the newer file has all its rows, else deliver it under another name",
            )
        self.filesystem.mv(target, self.address)
        raise SourceError(
            "unreadable",
            "it was replaced while it was moved, or the move changed its modification time",
            remedy="none if it was replaced: the next run loads it; else name an archive on the same disk",
        )


@dataclass(frozen=True)
class RefusedFile(SourceFile):
    """A file that must not be read.

    Attributes:
        fault: The reason.
        is_known: Whether its stored bytes may be read for the hash.
    """

    fault: SourceError = field(repr=False, compare=False)
    is_known: bool = True

    @classmethod
    def of(cls, file: SourceFile, path: str, fault: SourceError, *, is_known: bool = True) -> "RefusedFile":
        """Return a refused file: the stored file, or an entry in it with the given path."""
        stored = (file.filesystem, file.address, file.size_bytes, file.modified_us, file.etag)
        return cls(path, *stored, fault.at(path), is_known)

    def open(self) -> NoReturn:
        """Refuse.

        Raises:
            SourceError: Always.
        """
        raise self.fault

    def local_path(self) -> None:
        """Return None: no path may be read."""

    def sha256(self) -> str:
        """Return the hash of the stored bytes; if they may not be read, of the reason, size and time of change."""
        if self.is_known:
            return super().sha256()
        return hashlib.sha256(f"{self.fault}\n{self.size_bytes}\n{self.modified_us}".encode()).hexdigest()


def find_files(
    location: str, base: Path, filesystem: AbstractFileSystem | None = None, *, may_be_none: bool = False
) -> list[SourceFile]:
    """Return the files that a location names, ordered by path; a forbidden file raises its fault when it is read.

    Args:
        location: A path, glob or URL; a relative path starts at `base`.
        base: The folder of the catalog.
        filesystem: The filesystem of the location; by default the one that its URL names.
        may_be_none: Whether an empty result is allowed.

    Raises:
        SourceError: No file matches, or the filesystem cannot be accessed.
        ConfigurationError: No filesystem is installed for the URL.
    """
    with named_faults(location):
        filesystem = filesystem or _filesystem(location, base)
        address = _address(filesystem, location, base)
        found = filesystem.glob(address, detail=True) if _is_glob(address) else _one(filesystem, address)
        _refuse_other_reading(filesystem, location, address, found)
        files = [
            _source_file(filesystem, info, base)
            for info in _followed(filesystem, found)
            if info["type"] == "file" or "fault" in info
        ]
    traces = [file for file in files if is_trace(file.name, location)]
    if traces:
        log.info("%s: %s", location, _left_out(traces))
    if len(files) == len(traces) and not may_be_none:
        raise SourceError(
            "missing",
            "; ".join(["no file is there", *([_left_out(traces)] if traces else [])]),
            location=location,
            remedy="deliver the file, or correct the location in the catalog",
        )
    return sorted((file for file in files if not is_trace(file.name, location)), key=lambda file: file.path)


def _left_out(traces: Sequence[SourceFile]) -> str:
    return f"left out, since no program means it as data: {', '.join(file.name for file in traces[:SHOWN_FILES])}"


def _refuse_other_reading(
    filesystem: AbstractFileSystem, location: str, address: str, found: Mapping[str, Any]
) -> None:
    """Refuse a location with brackets that can also be the name of a folder or file that exists.

    Raises:
        SourceError: There is such a name.
    """
    if not CHOICE.search(address):
        return
    named = filesystem.glob(CHOICE.sub("[[]", address))
    if {*named} - {*found}:
        as_named = CHOICE.sub("[[]", location)
        raise SourceError(
            "missing",
            f"{location!r} asks for one of the signs between brackets, but a name there has the brackets themselves",
            remedy=f"if you mean that name, say it in the catalog: `location: {json.dumps(as_named)}`; else rename it",
        )


def put_file(path: Path, location: str, base: Path, filesystem: AbstractFileSystem | None = None) -> None:
    """Copy a local file to a location; never overwrite an existing file.

    Args:
        path: The path of the file.
        location: A path or URL; a relative path starts at `base`.
        base: The folder of the installation.
        filesystem: The filesystem of the location; by default the one that its URL names.

    Raises:
        SourceError: The file cannot be written, or the location exists.
        ConfigurationError: No filesystem is installed for the URL.
    """
    with named_faults(location):
        filesystem = filesystem or _filesystem(location, base)
        address = _address(filesystem, location, base)
        if filesystem.exists(address):
            raise _taken()
        filesystem.makedirs(filesystem._parent(address), exist_ok=True)
        try:
            filesystem.put_file(str(path), address)
        except FileExistsError:  # for example a broken link
            raise _taken() from None


def _taken() -> SourceError:
    return SourceError("unreadable", "this name is already taken", remedy="name another file")


def _followed(filesystem: AbstractFileSystem, found: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the entries found, with links replaced by their targets: a search returns the link itself."""
    for info in found.values():
        try:
            yield filesystem.info(info["name"]) if info.get("islink") or info["type"] == "other" else info
        except FileNotFoundError:
            continue  # the link is broken


def text_stream(stream: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """Wrap a byte stream as text and keep every line end as written."""
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def scheme_of(location: str) -> str:
    """Return the part before the `://` of a URL; an empty text for a path."""
    return location.partition("://")[0] if "://" in location else ""


def fixed_part(location: str) -> str:
    """Return the part of a location's folder that has no glob sign."""
    fixed = GLOB_SIGN.split(location)[0]
    return fixed.rpartition("/")[0]


def below(location: str, file: SourceFile, base: Path) -> str:
    """Return the path of a stored file relative to the fixed part of the location that found it."""
    root = _address(file.filesystem, fixed_part(location), base).rstrip("/") + "/"
    return file.address.removeprefix(root) if file.address.startswith(root) else PurePosixPath(file.address).name


def _filesystem(location: str, base: Path) -> AbstractFileSystem:
    if OVER_HTTP.search(location):  # fsspec sets no limits there, and follows any redirect
        raise ConfigurationError(
            "files are not read over http(s)://: use the reader http_api for an API, else have the files delivered"
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
    """Refuse a file too large to read in one night: a sparse file can claim any size."""
    if file.size_bytes <= UNPACKED_LIMIT_BYTES:
        return None
    message = f"the file is larger than {UNPACKED_LIMIT_BYTES >> 30} GiB"
    return SourceError("too_large", message, remedy="deliver it in parts")


def _ledger_path(filesystem: AbstractFileSystem, address: str, base: Path) -> str:
    if not isinstance(filesystem, LocalFileSystem):
        return writable(str(filesystem.unstrip_protocol(address)))
    path = Path(address)
    return writable(path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix())


def writable(name: str) -> str:
    """Return a name that every log and database accepts, and that stays unique for each file."""
    # Linux allows bytes in a name that are not UTF-8; a database does not.
    named = name.encode("utf-8", "backslashreplace").decode()
    named = CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), named)
    if len(whole := named.encode()) <= NAME_LIMIT_BYTES:
        return named
    return f"{named[:KEPT_CHARS]}…{hashlib.sha256(whole).hexdigest()[:16]}…{named[-KEPT_CHARS:]}"


def _version(info: dict[str, Any]) -> tuple[int, int]:
    return int(info["size"]), _modified_us(info)


def _modified_us(info: dict[str, Any]) -> int:
    """Return the time of change of a file.

    A store that reports whole seconds gives each version an ETag: it replaces the microseconds, so that a change within
    the same second is detected.
    """
    modified = info.get("mtime") or info.get("last_modified") or info.get("created") or 0
    seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified)
    modified_us = round(seconds * 1_000_000)
    is_coarse = "etag" in info and modified_us % 1_000_000 == 0
    return modified_us + zlib.crc32(str(info["etag"]).encode()) % 1_000_000 if is_coarse else modified_us


@contextmanager
def named_faults(path: str) -> Iterator[None]:
    """Convert errors of the filesystem into faults of a file."""
    try:
        yield
    except SourceError as error:  # the filesystem raised a fault of its own
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
        if getattr(error, "errno", None):  # an error of the system; an unpacker reports bad content without a number
            raise SourceError(
                "unreadable",
                f"reading failed: {error.args[-1]}",
                location=path,
                remedy="check the disk or the network; the next run tries again",
            ) from error
        raise SourceError(
            "corrupt", f"reading failed: {error}", location=path, remedy="deliver the whole file again"
        ) from error
