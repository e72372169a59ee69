"""Packed files are unpacked to the last byte, and no further than their size explains."""

import bz2
import gzip
import io
import lzma
import subprocess
import sys
from collections.abc import Callable

import pyarrow as pa
import pytest

from freight.errors import SourceError
from freight.readers import packed
from freight.readers.packed import UNPACKERS, is_packed, unpacking

CONTENT = b"TRX-1,MCH-001,2026-02-01 10:00:00,30,OK\n" * 5_000
LIMIT_BYTES = 1 << 20  # for these tests
BOMB = bytes(LIMIT_BYTES + 1)
PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lambda content: lzma.compress(content, preset=1),
    ".lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE, preset=1),
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
    ".lz4": lambda content: pa.compress(content, "lz4", asbytes=True),
}


def unpacked(stored: bytes, suffix: str) -> bytes:
    return unpacking(io.BytesIO(stored), f"a.csv{suffix}", len(stored)).read()


def test_each_way_to_pack_is_tried_here() -> None:
    assert PACK.keys() == UNPACKERS.keys()
    assert is_packed("a.CSV.GZ")
    assert not is_packed("gz")


@pytest.mark.parametrize("suffix", PACK)
def test_a_packed_file_is_read_to_its_end(suffix: str) -> None:
    stored = PACK[suffix](CONTENT)
    assert unpacked(stored, suffix) == CONTENT
    assert unpacked(stored + stored, suffix) == CONTENT * 2
    assert unpacked(PACK[suffix](b"") * 3 + stored, suffix) == CONTENT
    assert unpacked(b"", suffix) == b""


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize(
    "spoil",
    [lambda stored: stored[:-1], lambda stored: stored[: len(stored) // 2], lambda stored: stored + b"more"],
    ids=["its last byte is missing", "half of it is missing", "something follows"],
)
def test_a_packed_file_that_is_cut_off_or_followed_by_something_is_told(
    suffix: str, spoil: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(SourceError, match=r"it is cut off, damaged, or followed by something else.*\[corrupt\]"):
        unpacked(spoil(PACK[suffix](CONTENT)), suffix)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_zeros_behind_a_packed_file_are_padding(suffix: str) -> None:
    assert unpacked(PACK[suffix](CONTENT) + bytes(512), suffix) == CONTENT


@pytest.mark.parametrize("suffix", PACK)
def test_a_bomb_goes_off_nowhere(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "HARMLESS_BYTES", LIMIT_BYTES)
    stored = PACK[suffix](BOMB)
    stream = unpacking(io.BytesIO(stored), f"a{suffix}", len(stored))
    read = [0]
    with pytest.raises(SourceError, match=r"it holds more than 1,048,576 bytes, too many for its packed size"):
        read.extend(map(len, iter(lambda: stream.read(1 << 20), b"")))
    assert sum(read) <= LIMIT_BYTES


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_rows_that_are_nearly_alike_are_no_bomb(suffix: str) -> None:
    """Such as those of a sensor that reports no change: they pack to less than a two-hundredth."""
    rows = b"2026-02-01 10:00:00;MCH-001;0;OK\n" * (1 << 21)
    stored = PACK[suffix](rows)
    assert len(rows) > packed.RATIO_LIMIT * len(stored)
    assert unpacked(stored, suffix) == rows


def with_a_window_of(log2_bytes: int) -> bytes:
    """Return a frame of zstd that says how much memory it takes, with one block of five bytes."""
    return b"\x28\xb5\x2f\xfd" + bytes([0, (log2_bytes - 10) << 3, 5 << 3 | 1, 0, 0]) + b"hello"


def with_a_dictionary_of(dict_bytes: int) -> bytes:
    """Return what .lzma has in front of its content."""
    return b"\x5d" + dict_bytes.to_bytes(4, "little") + b"\xff" * 8 + lzma.compress(CONTENT, lzma.FORMAT_ALONE)[13:]


@pytest.mark.parametrize(
    ("suffix", "stored"),
    [(".zst", with_a_window_of(28)), (".zst", with_a_window_of(31)), (".lzma", with_a_dictionary_of(3 << 29))],
)
def test_a_file_that_takes_much_memory_to_unpack_is_refused(suffix: str, stored: bytes) -> None:
    with pytest.raises(SourceError, match=r"more than 128 MiB of memory \[too_large\]. Remedy: pack it with a smaller"):
        unpacked(stored, suffix)


def test_the_largest_usual_windows_are_taken() -> None:
    assert unpacked(with_a_window_of(27), ".zst") == b"hello"
    assert unpacked(lzma.compress(CONTENT, preset=9), ".xz") == CONTENT


BOUNDED = """
import io, resource, sys
from freight.errors import SourceError
from freight.readers.packed import unpacking
from tests.unit.test_packed import PACK
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for suffix, pack in PACK.items():
    piece = pack(bytes(64 << 20))
    stream = unpacking(io.BytesIO(piece * 8), f"a{suffix}", len(piece) * 8)
    try:
        while stream.read(1 << 20):
            pass
    except SourceError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell how much memory a process took")
def test_unpacking_takes_little_memory_however_much_comes_out() -> None:
    told = subprocess.run([sys.executable, "-c", BOUNDED], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 300  # MiB, of which packing the bombs takes 200
