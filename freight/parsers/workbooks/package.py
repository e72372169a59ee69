"""Workbooks that are a ZIP of parts, and the check for ZIP bombs."""

import io
from collections.abc import Sequence
from functools import cached_property
from typing import IO, Any
from zipfile import ZipFile, ZipInfo

from freight.errors import SourceError

UNPACKED_LIMIT_BYTES = 2 << 30
BOMB_RATIO, BOMB_FROM_BYTES = 300, 32 << 20  # real sheets compress by a factor of 10 to 50
ROOT_BYTES = 1 << 16  # of a part, with the namespaces of its first element
# A workbook saved as Strict Open XML differs from others in the names of its namespaces.
STRICT_NAMES = {
    b"http://purl.oclc.org/ooxml/spreadsheetml/main": b"http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    b"http://purl.oclc.org/ooxml/officeDocument/relationships": (
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    ),
}


class Package(ZipFile):
    """A ZIP that finds parts by name in any case, even with backslashes in the names.

    Namespaces of Strict Open XML read as those of every other workbook.
    """

    def getinfo(self, name: str) -> ZipInfo:
        """Return the part with a name.

        Raises:
            KeyError: There is no such part.
        """
        exact = self.NameToInfo.get(name)
        return exact or super().getinfo(self._names.get(folded(name), name))

    def open(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        """Open a part."""
        part = super().open(*args, **kwargs)
        return io.BufferedReader(_Transitional(part), ROOT_BYTES)

    @cached_property
    def _names(self) -> dict[str, str]:
        return {folded(name): name for name in self.namelist()}


class _Transitional(io.RawIOBase):
    """A part with the names of strict namespaces replaced in its start."""

    def __init__(self, part: IO[bytes]) -> None:
        self._part = part
        self._start = part.read(ROOT_BYTES)
        for strict, transitional in STRICT_NAMES.items():
            self._start = self._start.replace(strict, transitional)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        block = self._start[: len(buffer)] or self._part.read(len(buffer))
        self._start = self._start[len(block) :]
        buffer[: len(block)] = block
        return len(block)


def folded(name: str) -> str:
    """Return the normal form of a part's name."""
    return name.replace("\\", "/").casefold()


def behind_a_password() -> SourceError:
    """Return the error for a password-protected workbook."""
    return SourceError(
        "encrypted", "the workbook is behind a password", remedy="remove the password and deliver it again"
    )


def refuse_bomb(members: Sequence[ZipInfo]) -> None:
    """Refuse a ZIP that would decompress to more than any table.

    Raises:
        SourceError: The ZIP would.
    """
    unpacked = sum(member.file_size for member in members)
    bomb = any(m.file_size > BOMB_FROM_BYTES and m.file_size > BOMB_RATIO * m.compress_size for m in members)
    if bomb or unpacked > UNPACKED_LIMIT_BYTES:
        raise SourceError(
            "too_large",
            f"the workbook is too large: it would decompress to {unpacked >> 20} MiB",
            remedy="deliver it in parts, or as CSV",
        )
