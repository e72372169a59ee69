"""Where files are: a path, glob or URL, local or on any filesystem that fsspec knows."""

import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import infer_compression

from freight.errors import ConfigurationError, SourceError

READ_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: how the ledger names it: relative to the catalog's folder where it lies inside, else whole.
        size_bytes, modified_us: as the filesystem tells; microseconds since 1970 UTC.
    """

    path: str
    filesystem: Any = field(repr=False, compare=False)
    address: str = field(repr=False)
    size_bytes: int
    modified_us: int

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the content, decompressed when the name ends in a compression suffix.

        Raises:
            SourceError: the file cannot be opened.
        """
        with _named_faults(self.path), self.filesystem.open(self.address, "rb", compression="infer") as stream:
            yield stream

    def local_path(self) -> Path | None:
        """Return the path of the content on this machine; None if it is elsewhere, or compressed."""
        is_here = isinstance(self.filesystem, LocalFileSystem) and infer_compression(self.address) is None
        return Path(self.address) if is_here else None

    def sha256(self) -> str:
        """Return the hash of the stored bytes, as hex."""
        digest = hashlib.sha256()
        with _named_faults(self.path), self.filesystem.open(self.address, "rb") as stream:
            while block := stream.read(READ_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def refuse_if_changed(self) -> None:
        """Check that size and time of change are still those that were seen when the file was found.

        Raises:
            SourceError: somebody wrote to the file in between.
        """
        with _named_faults(self.path):
            now = self.filesystem.info(self.address)
        if (now["size"], _modified_us(now)) != (self.size_bytes, self.modified_us):
            raise SourceError(
                "changed_while_reading",
                "the file was written to while it was being read",
                location=self.path,
                remedy="none: the next run loads it when it is complete; deliver by writing elsewhere and renaming",
            )


def find_files(location: str, base: Path) -> list[SourceFile]:
    """Return the files that a location names, ordered by path.

    Args:
        location: path, glob or URL; a relative path counts from `base`.
        base: folder of the catalog.

    Raises:
        SourceError: no file matches, or the place cannot be looked at.
        ConfigurationError: no filesystem is installed for the URL.
    """
    filesystem, address = _filesystem(location, base)
    with _named_faults(location):
        found = filesystem.glob(address, detail=True) if _is_glob(address) else _one(filesystem, address)
        files = [
            _source_file(filesystem, info, base) for info in _followed(filesystem, found) if info["type"] == "file"
        ]
    if not files:
        raise SourceError(
            "missing",
            "no file is there",
            location=location,
            remedy="deliver the file, or correct the location in the catalog",
        )
    return sorted(files, key=lambda file: file.path)


def _followed(filesystem: Any, found: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give what was found, and of a link what it leads to: a search tells of the link itself."""
    for info in found.values():
        try:
            yield filesystem.info(info["name"]) if info.get("islink") else info
        except FileNotFoundError:
            continue  # the link leads nowhere


def text_stream(stream: BinaryIO, encoding: str) -> io.TextIOWrapper:
    """Wrap a byte stream as text, keeping every line end as written."""
    return io.TextIOWrapper(stream, encoding=encoding, newline="")


def _filesystem(location: str, base: Path) -> tuple[Any, str]:
    address = location if "://" in location else os.path.join(base, location)  # noqa: PTH118 - keeps glob signs
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"location {location!r}: {error}") from None
    return filesystem, path


def _is_glob(address: str) -> bool:
    return any(sign in address for sign in "*?[")


def _one(filesystem: Any, address: str) -> dict[str, dict[str, Any]]:
    try:
        return {address: filesystem.info(address)}
    except FileNotFoundError:
        return {}


def _source_file(filesystem: Any, info: dict[str, Any], base: Path) -> SourceFile:
    address = str(info["name"])
    return SourceFile(
        path=_ledger_path(filesystem, address, base),
        filesystem=filesystem,
        address=address,
        size_bytes=int(info["size"]),
        modified_us=_modified_us(info),
    )


def _ledger_path(filesystem: Any, address: str, base: Path) -> str:
    if not isinstance(filesystem, LocalFileSystem):
        return str(filesystem.unstrip_protocol(address))
    path = Path(address)
    named = path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
    # Linux lets a name hold bytes that are no UTF-8; a database does not.
    return named.encode("utf-8", "backslashreplace").decode()


def _modified_us(info: dict[str, Any]) -> int:
    modified = info.get("mtime") or info.get("last_modified") or info.get("created") or 0
    seconds = modified.timestamp() if isinstance(modified, datetime) else float(modified)
    return round(seconds * 1_000_000)


@contextmanager
def _named_faults(path: str) -> Iterator[None]:
    """Say what an error of the filesystem means for a file."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError("missing", "the file has gone", location=path, remedy="deliver the file again") from None
    except PermissionError:
        raise SourceError(
            "unreadable", "permission denied", location=path, remedy="grant read access to the user of the run"
        ) from None
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
