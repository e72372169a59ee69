"""The files of DPA that other users of the machine can reach, because of an older release or a manual change."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from freight.settings import Settings
from freight.warehouse.connect import embedded_path

# Folders below the home folder that hold data or keys. Not the landing folder: others may deliver there.
FOLDERS = ("database", "backup", "logs", "reports", "spool", "run", ".access", ".kafka")
KEYS_OF_PREFECT = ("prefect.db", "profiles.toml")  # without them its folder holds nothing
CLASSES = {"g": 0o070, "o": 0o007}
RIGHTS = {"r": 0o044, "w": 0o022, "x": 0o011}


class OpenPlace(NamedTuple):
    """A file or folder that other users can reach but should not.

    Attributes:
        path: The path of the file or folder.
        mode: The permissions that it has.
        umask: The rights that should be closed.
    """

    path: Path
    mode: int
    umask: int

    @property
    def remedy(self) -> str:
        """The command that closes it and everything below it."""
        closed = ("".join(r for r, bits in RIGHTS.items() if self.umask & of & bits) for of in CLASSES.values())
        change = ",".join(f"{who}-{rights}" for who, rights in zip(CLASSES, closed, strict=True) if rights)
        return f"chmod -R {change} {shlex.quote(str(self.path))}"

    def __str__(self) -> str:
        return f"{self.path} is open to other users (mode {self.mode:04o})"


def open_places(here: Settings, warehouse_url: str) -> list[OpenPlace]:
    """Return DPA's files and folders that other users can reach, because of an older release or a manual change.

    A folder stands for its content. On Windows the result is empty: access lists decide there.

    Args:
        here: The settings of the installation.
        warehouse_url: The URL of the warehouse, which may be a file elsewhere.
    """
    if os.name == "nt":
        return []
    found = [OpenPlace(path, _mode(path), here.umask) for path in _ours(here, warehouse_url) if path.exists()]
    return [place for place in found if place.mode & place.umask]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _ours(here: Settings, warehouse_url: str) -> Iterator[Path]:
    yield from (here.home / name for name in FOLDERS)
    for prefect in {here.home / ".prefect", here.prefect_home or here.home / ".prefect"}:
        if any((prefect / name).exists() for name in KEYS_OF_PREFECT):
            yield prefect
    warehouse = embedded_path(warehouse_url)
    if warehouse and warehouse.parent != here.home / "database":
        yield from (warehouse.with_name(f"{warehouse.name}{part}") for part in ("", "-wal", "-shm"))


def privacy_warning(places: list[OpenPlace]) -> str:
    """Return a one-line warning about open places; empty if there are none."""
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}: `dpa doctor` shows how to close it" if places else ""
