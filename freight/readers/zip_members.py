"""Files within `.zip` archives, each a separate file named `a.zip/b.csv`; they are read in place.

The claims of an archive or a member about itself are not trusted: a bad one affects only itself, and raises its fault
when it is read.
"""

import hashlib
import io
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from freight.errors import SourceError
from freight.readers.locations import SHOWN_FILES, RefusedFile, SourceFile, named_faults, writable
from freight.readers.no_data import is_trace
from freight.readers.packed import (
    MEMORY_LIMIT_BYTES,
    READ_BLOCK_BYTES,
    UNPACKERS,
    too_much,
    too_much_memory,
    unpacked_limit,
)
from freight.words import counted

SUFFIX = ".zip"
OF_A_MAC = "__MACOSX/"  # holds an extra file of Mac metadata for each file
PACKED = {SUFFIX, *UNPACKERS}
ENCRYPTED = 0x1

MEMBERS_LIMIT = 10_000
DIRECTORY_LIMIT_BYTES = 4 << 20

LZMA_HEADER = struct.Struct("<5xI")  # precedes LZMA data; its last field: the memory that unpacking takes
LOCAL_HEADER = struct.Struct("<26xHH")  # its last two fields: the lengths of the data between it and the content


def unpacked(file: SourceFile, members: str | None = None) -> list[SourceFile]:
    """Return the files within a `.zip`, else the file itself; a refused file raises its fault when it is read.

    Args:
        file: The file.
        members: The glob for the names of the files to read in a `.zip`; None for all.
    """
    if isinstance(file, RefusedFile) or not file.path.lower().endswith(SUFFIX):
        return [file]
    try:
        found = _directory(file)
        chosen = _chosen(found, members)
        _refuse_too_much(file, chosen)
        archive = Archive(len(chosen), frozenset(_kind(info.filename) for info in chosen))
        told = _left_out(found, members)
        return [_member(file, info, archive, told if info is chosen[0] else "") for info in chosen]
    except SourceError as fault:
        return [RefusedFile.of(file, file.path, fault)]


class Archive(NamedTuple):
    """The files in a `.zip` that are read: their number, and the suffixes of their names."""

    files: int
    kinds: frozenset[str]


def _chosen(found: Sequence[zipfile.ZipInfo], members: str | None) -> list[zipfile.ZipInfo]:
    """Return the files to read.

    Raises:
        SourceError: There is none.
    """
    chosen = [info for info in found if _is_member(info.filename, members)]
    if not chosen:
        raise SourceError(
            "missing",
            f"none of its files has a name like {members!r}, which `members` in the catalog asks for: {_names(found)}",
            remedy="correct `members`, then `dpa retry`, or deliver the file again",
        )
    return chosen


def _left_out(found: Sequence[zipfile.ZipInfo], members: str | None) -> str:
    """Name the files that `members` leaves out; return an empty text if there are none."""
    others = [info for info in found if not _is_member(info.filename, members)]
    return f"`members` leaves out {_names(others)}" if others else ""


def _kind(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_member(name: str, members: str | None) -> bool:
    if members is None:
        return True
    whole = name if "/" in members else PurePosixPath(name).name
    return fnmatchcase(whole.lower(), members.lower())


def stored_at(location: str) -> str:
    """Return the location of the file that is stored: for an entry of a `.zip`, that of the archive."""
    return location[: _cut(location)]


def is_left_out(location: str, members: str | None) -> bool:
    """Whether `members` leaves out the entry of a `.zip` at a location."""
    entry = location[_cut(location) + 1 :]
    return bool(entry) and not _is_member(entry, members)


def _cut(location: str) -> int:
    """Return where the location of an archive ends."""
    found = location.lower().find(f"{SUFFIX}/")
    return found + len(SUFFIX) if found >= 0 else len(location)


def _names(found: Sequence[zipfile.ZipInfo]) -> str:
    more = f" and {len(found) - SHOWN_FILES} more" if len(found) > SHOWN_FILES else ""
    return ", ".join(writable(info.filename) for info in found[:SHOWN_FILES]) + more


def name_members(error: SourceError, file: object, suffixes: Sequence[str]) -> None:
    """Add the option `members` to the remedy for a file that lies in a `.zip` beside those that its reader is for.

    Args:
        error: The fault.
        file: The file, or another kind of input.
        suffixes: The suffixes of the files that the reader is for, most usual first.
    """
    if isinstance(file, ZipMember):
        kind = next((f".{suffix}" for suffix in suffixes if f".{suffix}" in file.archive.kinds), "")
        if kind and not file.info.filename.lower().endswith(kind):
            error.remedy += f'; or, if it is no data, leave it out: `options: {{members: "*{kind}"}}`'


@dataclass(frozen=True)
class ZipMember(SourceFile):
    """A file within a `.zip`; address, size and time of change are those of the archive.

    Attributes:
        info: The entry in the directory of the archive.
        archive: The files in the archive, including this one.
        told: A note for people; empty without one.
    """

    info: zipfile.ZipInfo = field(repr=False, compare=False)
    archive: Archive = field(repr=False, compare=False)
    told: str = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name, preceded by the archive's name: if both contain a date, the member's own counts."""
        return f"{PurePosixPath(self.address).name}/{self.info.filename}"

    @property
    def is_packed(self) -> bool:
        """See `SourceFile`."""
        return True

    @property
    def most_bytes(self) -> int:
        """See `SourceFile`; nothing is read beyond the size that the member claims."""
        return self.info.file_size

    @property
    def stored_bytes(self) -> int:
        """See `SourceFile`; the size that the member claims, at most that of the archive."""
        return min(self.info.compress_size, self.size_bytes)

    @property
    def packed_with(self) -> int:
        """See `SourceFile`."""
        return self.archive.files

    @property
    def remark(self) -> str:
        """See `SourceFile`; the first file names those that are left out."""
        return self.told

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the content.

        Raises:
            SourceError: The content cannot be opened.
        """
        with (
            named_faults(self.path),
            self.filesystem.open(self.address, "rb") as whole,
            zipfile.ZipFile(whole) as packed,
        ):
            self._refuse_large_window(whole)
            with packed.open(self.info) as stream:
                yield cast(BinaryIO, stream)

    def sha256(self) -> str:
        """Return the hash of the packed bytes, as hex; the archive's hash if they are missing."""
        digest, left = hashlib.sha256(), self.info.compress_size
        with named_faults(self.path), self.filesystem.open(self.address, "rb") as whole:
            if not self._seek(whole):
                return super().sha256()
            while block := whole.read(min(left, READ_BLOCK_BYTES)):
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()

    def _seek(self, whole: BinaryIO) -> bool:
        """Seek to the packed bytes; return False if there cannot be any."""
        whole.seek(self.info.header_offset)
        header = whole.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size:
            return False
        whole.seek(sum(LOCAL_HEADER.unpack(header)), io.SEEK_CUR)
        return True

    def _refuse_large_window(self, whole: BinaryIO) -> None:
        if self.info.compress_type == zipfile.ZIP_LZMA and self._seek(whole):
            properties = whole.read(LZMA_HEADER.size)
            if len(properties) == LZMA_HEADER.size and LZMA_HEADER.unpack(properties)[0] > MEMORY_LIMIT_BYTES:
                raise too_much_memory()


def _directory(file: SourceFile) -> list[zipfile.ZipInfo]:
    """Return the files in the directory of a `.zip`, without traces of file managers."""
    with (
        named_faults(file.path),
        file.filesystem.open(file.address, "rb") as stream,
        zipfile.ZipFile(cast(BinaryIO, _ShortReads(stream))) as packed,
    ):
        found = [info for info in packed.infolist() if not info.is_dir() and not _is_trace(info.filename)]
    if not found:
        raise SourceError("empty", "it contains no file", remedy="deliver the file again")
    return found


def _is_trace(name: str) -> bool:
    return name.startswith(OF_A_MAC) or is_trace(PurePosixPath(name).name)


def _refuse_too_much(file: SourceFile, found: Sequence[zipfile.ZipInfo]) -> None:
    """Check that the number and the total size of the files are within the limits, and that their names differ."""
    name, times = Counter(info.filename for info in found).most_common(1)[0]
    if times > 1:
        raise SourceError("corrupt", f"it has {times} files named {writable(name)!r}", remedy="pack each file once")
    unpacked_bytes = sum(info.file_size for info in found)
    if len(found) > MEMBERS_LIMIT or unpacked_bytes > unpacked_limit(file.size_bytes):
        raise too_much(f"it has {counted(len(found), 'file')} with {unpacked_bytes:,} bytes")


def _member(file: SourceFile, info: zipfile.ZipInfo, archive: Archive, told: str) -> SourceFile:
    path = writable(f"{file.path}/{info.filename}")
    if fault := _fault(info):
        return RefusedFile.of(file, path, fault)
    stored = (file.filesystem, file.address, file.size_bytes, file.modified_us, file.etag)
    return ZipMember(path, *stored, info, archive, told)


def _fault(info: zipfile.ZipInfo) -> SourceError | None:
    name = PurePosixPath(info.filename)
    if ".." in name.parts or name.is_absolute() or "\\" in info.filename or info.filename[1:2] == ":":
        return SourceError("unsupported", "its name leads out of the file", remedy="pack it with plain names")
    if info.flag_bits & ENCRYPTED:
        return SourceError("encrypted", "it is protected by a password", remedy="pack it without a password")
    if name.suffix.lower() in PACKED:
        return SourceError("unsupported", "it is packed twice", remedy="pack it once")
    return None


class _ShortReads:
    """A stream that refuses a single read larger than a normal directory, regardless of what the file claims."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes."""
        if size > DIRECTORY_LIMIT_BYTES:
            raise too_much(f"its directory has {size:,} bytes")
        return self._stream.read(size)
