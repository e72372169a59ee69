"""Packed files: unpacked during reading, within limits of size and memory, regardless of what they claim."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol, cast

import pyarrow as pa

from freight.errors import SourceError

READ_BLOCK_BYTES = 1 << 20

UNPACKED_LIMIT_BYTES = 20 << 30
RATIO_LIMIT = 200  # text is seldom packed to less than a fiftieth
FAIR_RATIO = 50
HARMLESS_BYTES = 128 << 20  # allowed at any ratio: `xz` packs rows that are nearly alike to a thousandth and less
MEMORY_LIMIT_BYTES = 128 << 20  # of an unpacker: `xz -9` needs half of it, zstd uses as much without `--long`


def is_packed(name: str) -> bool:
    """Whether a file of this name is unpacked while it is read."""
    return _suffix(name) in UNPACKERS


def unpacking(stored: BinaryIO, name: str, stored_bytes: int) -> BinaryIO:
    """Return the content of a packed file.

    Args:
        stored: The packed bytes.
        name: The file name; its suffix gives the format.
        stored_bytes: The number of packed bytes; it limits the size of the content.

    Returns:
        A stream that raises a SourceError if the content is larger than a file of this size may hold, needs more memory
        than a normal one, is cut off, or is followed by other data.
    """
    suffix = _suffix(name)
    _refuse_plain(stored, suffix)
    return io.BufferedReader(_Bounded(UNPACKERS[suffix](stored), unpacked_limit(stored_bytes)), READ_BLOCK_BYTES)


def _refuse_plain(stored: BinaryIO, suffix: str) -> None:
    start = stored.read(max(map(len, BEGINNINGS.values())))
    stored.seek(0)
    if start and not start.startswith(BEGINNINGS.get(suffix, b"")):
        raise SourceError(
            "corrupt",
            f"its name ends in {suffix}, but it is not packed that way",
            remedy=f"remove {suffix} from its name if it is plain text, or deliver it again",
        )


def unpacked_limit(stored_bytes: int) -> int:
    """Return how many bytes a packed file of this size may unpack to."""
    return min(max(HARMLESS_BYTES, stored_bytes * RATIO_LIMIT), UNPACKED_LIMIT_BYTES)


def too_much(told: str) -> SourceError:
    """Return the fault of a file that holds too much for its size."""
    return SourceError("too_large", f"{told}, too many for its packed size", remedy="deliver it in parts, or unpacked")


def too_much_memory() -> SourceError:
    """Return the fault of a file that needs more memory to unpack than a normal one."""
    return SourceError(
        "too_large",
        f"unpacking it takes more than {MEMORY_LIMIT_BYTES >> 20} MiB of memory",
        remedy="pack it with a smaller window: zstd without --long, xz with -9 at most",
    )


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Bounded(io.RawIOBase):
    """The output of an unpacker, up to a limit."""

    def __init__(self, unpacker: _Readable, limit_bytes: int) -> None:
        self._unpacker, self._left_bytes, self._limit_bytes = unpacker, limit_bytes, limit_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        with _named_faults():
            block = self._unpacker.read(len(buffer))
        self._left_bytes -= len(block)
        if self._left_bytes < 0:
            raise too_much(f"it holds more than {self._limit_bytes:,} bytes")
        buffer[: len(block)] = block
        return len(block)


@contextmanager
def _named_faults() -> Iterator[None]:
    """Convert errors of an unpacker into faults; errors of the system pass through."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None):
            raise
        if "memory" in str(error).lower():
            raise too_much_memory() from None
        message = f"unpacking failed: it is cut off, damaged, or followed by something else: {error}"
        raise SourceError("corrupt", message, remedy="deliver the whole file again") from None


type _Decoder = bz2.BZ2Decompressor | lzma.LZMADecompressor


class _Streams:
    """The concatenated streams of a file; unlike `LZMAFile` and `BZ2File` it ignores no data at the end."""

    def __init__(self, stored: BinaryIO, decoder: Callable[[], _Decoder]) -> None:
        self._stored, self._decoder_of_next, self._ahead = stored, decoder, b""
        self._begin(b"")

    def read(self, size: int, /) -> bytes:
        """Return some bytes, at most `size`; none at the end."""
        while self._decoder:
            if block := self._more(self._decoder, size):
                return block
        return b""

    def _more(self, decoder: _Decoder, size: int) -> bytes:
        packed, self._ahead = self._ahead, b""
        if decoder.needs_input and not packed and not (packed := self._stored.read(READ_BLOCK_BYTES)):
            raise EOFError("its end is missing")
        block = decoder.decompress(packed, size)
        if decoder.eof:
            self._begin(decoder.unused_data)
        return block

    def _begin(self, ahead: bytes) -> None:
        """Begin the next stream, if any; zeros may come before it."""
        while not (ahead := ahead.lstrip(b"\0")) and (ahead := self._stored.read(READ_BLOCK_BYTES)):
            pass
        self._ahead = ahead
        self._decoder = self._decoder_of_next() if ahead else None


def _xz(stored: BinaryIO) -> _Readable:
    return _Streams(stored, lambda: lzma.LZMADecompressor(memlimit=MEMORY_LIMIT_BYTES))


def _by_arrow(codec: str) -> Callable[[BinaryIO], _Readable]:
    """Return an unpacker of Arrow, whose zstd refuses windows of more than 128 MiB."""
    return lambda stored: cast(_Readable, pa.CompressedInputStream(pa.PythonFile(stored, mode="r"), codec))


UNPACKERS: dict[str, Callable[[BinaryIO], _Readable]] = {
    ".gz": lambda stored: GzipFile(fileobj=stored, mode="rb"),
    ".bz2": lambda stored: _Streams(stored, bz2.BZ2Decompressor),
    ".xz": _xz,
    ".lzma": _xz,
    ".zst": _by_arrow("zstd"),
    ".lz4": _by_arrow("lz4"),
}
# Magic bytes of packed files; .lzma has none, and .zst may begin with a skippable frame.
BEGINNINGS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ", ".lz4": b"\x04\x22\x4d\x18"}
