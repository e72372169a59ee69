"""What is no text is told as what it is, whatever the file is called; what a text may hold refuses none."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from freight.errors import SourceError
from freight.readers.encodings import START_BYTES
from freight.readers.no_text import refuse_no_text

TEXT = b"id;site\n" + b"1;Douala\n" * 1_000


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", TEXT)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(TEXT), "packed by gzip"),
        (bz2.compress(TEXT), "packed by bzip2"),
        (lzma.compress(TEXT), "packed by xz"),
        (zipped(), r"\.zip"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", r"\.7z"),
        (tar(), r"\.tar"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "before 2007"),
        (b"%PDF-1.7\n", "PDF"),
        (random.Random(7).randbytes(10_000), "control characters"),
        (random.Random(7).randbytes(200), "control characters"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_text_is_told_as_what_it_is(content: bytes, told: str) -> None:
    with pytest.raises(SourceError, match=f"it is not text.*{told}") as refused:
        refuse_no_text(content[:START_BYTES])
    assert refused.value.fault == "unsupported"


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        "1;Yaoundé\n".encode("utf-16") * 3,
        "1;Yaoundé\n".encode("utf-16-le") * 3,
        "1;Yaoundé\n".encode("utf-16-be") * 3,
        b"1;a\0b\n2;c\x07d\n",
        bytes(1_000),
        b"",
        b"PK;site\n1;2\n",
    ],
    ids=range(8),
)
def test_a_text_may_be_read(content: bytes) -> None:
    refuse_no_text(content[:START_BYTES])
