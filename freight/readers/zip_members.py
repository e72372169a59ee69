"""Files within `.zip` archives, each a separate file named `a.zip/b.csv`; they are read in place.

The claims of an archive or a member about itself are not trusted: a bad one affects only itself, and raises its fault
when it is read.
"""

import hashlib
import io
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from freight.errors import SourceError
from freight.readers.locations import RefusedFile, SourceFile, named_faults, writable
from freight.readers.packed import (
    MEMORY_LIMIT_BYTES,
    READ_BLOCK_BYTES,
    UNPACKERS,
    bomb,
    too_much_memory,
    unpacked_limit,
)

SUFFIX = ".zip"
OF_A_MAC = "__MACOSX/"  # holds an extra file of Mac metadata for each file
PACKED = {SUFFIX, *UNPACKERS}
ENCRYPTED = 0x1

MEMBERS_LIMIT = 10_000
DIRECTORY_LIMIT_BYTES = 4 << 20

LZMA_HEADER = struct.Struct("<5xI")  # precedes LZMA data; its last field: the memory that unpacking takes
LOCAL_HEADER = struct.Struct("<26xHH")  # its last two fields: the lengths of the data between it and the content


def unpacked(file: SourceFile) -> list[SourceFile]:
    """Return the files within a `.zip`, else the file itself; a refused file raises its fault when it is read."""
    if isinstance(file, RefusedFile) or not file.path.lower().endswith(SUFFIX):
        return [file]
    try:
        found = _directory(file)
        return [_member(file, info, len(found)) for info in found]
    except SourceError as fault:
        return [RefusedFile.of(file, file.path, fault)]


@dataclass(frozen=True)
class ZipMember(SourceFile):
    """A file within a `.zip`; address, size and time of change are those of the archive.

    Attributes:
        info: The entry in the directory of the archive.
        siblings: The number of files in the archive, including this one.
    """

    info: zipfile.ZipInfo = field(repr=False, compare=False)
    siblings: int = field(repr=False, compare=False)

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
        return self.siblings

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
    """Return the files in the directory of a `.zip`, if their number and total size are within the limits."""
    with (
        named_faults(file.path),
        file.filesystem.open(file.address, "rb") as stream,
        zipfile.ZipFile(cast(BinaryIO, _ShortReads(stream))) as packed,
    ):
        found = [info for info in packed.infolist() if not info.is_dir() and not info.filename.startswith(OF_A_MAC)]
    if not found:
        raise SourceError("empty", "it contains no file", remedy="deliver the file again")
    name, times = Counter(info.filename for info in found).most_common(1)[0]
    if times > 1:
        raise SourceError("corrupt", f"it has {times} files named {writable(name)!r}", remedy="pack each file once")
    unpacked_bytes = sum(info.file_size for info in found)
    if len(found) > MEMBERS_LIMIT or unpacked_bytes > unpacked_limit(file.size_bytes):
        raise bomb(f"it has {len(found):,} files with {unpacked_bytes:,} bytes")
    return found


def _member(file: SourceFile, info: zipfile.ZipInfo, siblings: int) -> SourceFile:
    path = writable(f"{file.path}/{info.filename}")
    if fault := _fault(info):
        return RefusedFile.of(file, path, fault)
    stored = (file.filesystem, file.address, file.size_bytes, file.modified_us, file.etag)
    return ZipMember(path, *stored, info, siblings)


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
            raise bomb(f"its directory has {size:,} bytes")
        return self._stream.read(size)
