"""Files within `.zip` files, each a file of its own, named `a.zip/b.csv`; they are read where they are.

What such a file claims of itself is not believed: it costs itself only, and says what is wrong with it when it is read.
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
from typing import BinaryIO, NoReturn, cast

from freight.errors import SourceError
from freight.readers.locations import READ_BLOCK_BYTES, SourceFile, named_faults, writable

SUFFIX = ".zip"
OF_A_MAC = "__MACOSX/"  # beside each file one with what only a Mac understands
PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".snappy")
ENCRYPTED = 0x1

MEMBERS_LIMIT = 10_000
DIRECTORY_LIMIT_BYTES = 4 << 20
UNPACKED_LIMIT_BYTES = 20 << 30
RATIO_LIMIT = 200  # text is seldom packed to less than a fiftieth
HARMLESS_BYTES = 64 << 20  # whatever the ratio

LOCAL_HEADER = struct.Struct("<26xHH")  # its last two fields: the lengths of what lies between it and the content


def unpacked(file: SourceFile) -> list[SourceFile]:
    """Return the files within a `.zip`, or the file itself if it is none; what is refused says so when it is read."""
    if not file.path.lower().endswith(SUFFIX):
        return [file]
    try:
        return [_member(file, info) for info in _directory(file)]
    except SourceError as fault:
        return [RefusedFile.of(file, file.path, fault)]


@dataclass(frozen=True)
class RefusedFile(SourceFile):
    """A file that must not be read.

    Attributes:
        fault: what is wrong with it.
    """

    fault: SourceError = field(repr=False, compare=False)

    @classmethod
    def of(cls, file: SourceFile, path: str, fault: SourceError) -> "RefusedFile":
        """Return a stored file, or something in it that is named so, as refused."""
        return cls(path, file.filesystem, file.address, file.size_bytes, file.modified_us, file.etag, fault.at(path))

    def open(self) -> NoReturn:
        """Refuse.

        Raises:
            SourceError: in any case.
        """
        raise self.fault


@dataclass(frozen=True)
class ZipMember(SourceFile):
    """A file within a `.zip`; address, size and time of change are those of the whole.

    Attributes:
        info: its entry in the directory of the whole.
    """

    info: zipfile.ZipInfo = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The name, after that of the whole: of two dates its own counts."""
        return f"{PurePosixPath(self.address).name}/{self.info.filename}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the content.

        Raises:
            SourceError: it cannot be opened.
        """
        with (
            named_faults(self.path),
            self.filesystem.open(self.address, "rb") as whole,
            zipfile.ZipFile(whole) as packed,
            packed.open(self.info) as stream,
        ):
            yield cast(BinaryIO, stream)

    def sha256(self) -> str:
        """Return the hash of the packed bytes, as hex; that of the whole if they are not there."""
        digest, left = hashlib.sha256(), self.info.compress_size
        with named_faults(self.path), self.filesystem.open(self.address, "rb") as whole:
            whole.seek(self.info.header_offset)
            header = whole.read(LOCAL_HEADER.size)
            if len(header) < LOCAL_HEADER.size:
                return super().sha256()
            whole.seek(sum(LOCAL_HEADER.unpack(header)), io.SEEK_CUR)
            while block := whole.read(min(left, READ_BLOCK_BYTES)):
                digest.update(block)
                left -= len(block)
        return digest.hexdigest()


def _directory(file: SourceFile) -> list[zipfile.ZipInfo]:
    """Return the files that a `.zip` says it has, if all of them together do no harm."""
    with (
        named_faults(file.path),
        file.filesystem.open(file.address, "rb") as stream,
        zipfile.ZipFile(cast(BinaryIO, _ShortReads(stream))) as packed,
    ):
        found = [info for info in packed.infolist() if not info.is_dir() and not info.filename.startswith(OF_A_MAC)]
    if not found:
        raise SourceError("empty", "no file is in it", remedy="deliver the file again")
    name, times = Counter(info.filename for info in found).most_common(1)[0]
    if times > 1:
        raise SourceError("corrupt", f"it has {times} files named {writable(name)!r}", remedy="pack each file once")
    unpacked_bytes, limit = sum(info.file_size for info in found), max(HARMLESS_BYTES, file.size_bytes * RATIO_LIMIT)
    if len(found) > MEMBERS_LIMIT or unpacked_bytes > min(limit, UNPACKED_LIMIT_BYTES):
        raise _too_large(f"it has {len(found):,} files with {unpacked_bytes:,} bytes")
    return found


def _too_large(told: str) -> SourceError:
    return SourceError("too_large", f"{told}, packed to a bomb", remedy="deliver it in parts, or unpacked")


def _member(file: SourceFile, info: zipfile.ZipInfo) -> SourceFile:
    path = writable(f"{file.path}/{info.filename}")
    if fault := _fault(info):
        return RefusedFile.of(file, path, fault)
    return ZipMember(path, file.filesystem, file.address, file.size_bytes, file.modified_us, file.etag, info)


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
    """A stream of which nobody gets more at once than an honest directory has, whatever the file claims."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, size: int = -1) -> bytes:
        """Read, as every stream does."""
        if size > DIRECTORY_LIMIT_BYTES:
            raise _too_large(f"its directory has {size:,} bytes")
        return self._stream.read(size)
