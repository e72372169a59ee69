"""Folders on this machine into which others put files: links lead to regular files within them, or nowhere."""

import os
import shutil
import stat
import sys
from contextlib import ExitStack
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from freight.errors import SourceError

OF_THE_SYSTEM = ("/proc", "/sys", "/dev")
MEMORY_DISK = "/dev/shm"  # a disk like others, though its place is among the devices
BY_HANDLE = getattr(os, "O_PATH", os.O_RDONLY)  # of a folder that may be passed through, but not listed


class Landing(LocalFileSystem):  # type: ignore[misc]
    """The disk of this machine as seen from a folder; what lies elsewhere is not read, whatever link leads there.

    The folder itself may be a link, for it is named by who runs this. A hard link cannot be told from a file.

    Attributes:
        named, root: the folder, as it is named and where it really is.

    Raises:
        SourceError: it is one of the system.
    """

    cachable = False  # each has its own folder

    def __init__(self, root: str, **options: Any) -> None:
        super().__init__(**options)
        self.named, self.root = os.path.normpath(root), os.path.realpath(root)
        if _is_of_the_system(self.root):
            raise _of_the_system()

    def info(self, path: Any, **options: Any) -> dict[str, Any]:
        """Tell of a file, of a link what it leads to; of what must not be read itself alone, and why under `fault`."""
        if isinstance(path, os.DirEntry):
            return dict(super().info(path, **options))
        address = self._strip_protocol(path)
        itself = os.lstat(address)
        is_plain = stat.S_ISREG(itself.st_mode) or stat.S_ISDIR(itself.st_mode)
        if is_plain or os.path.isdir(address) or not (fault := self._fault(address)):
            return dict(super().info(address, **options))
        return {"name": address, "type": "other", "size": itself.st_size, "mtime": itself.st_mtime, "fault": fault}

    def refuse_link(self, target: str, folder: str) -> None:
        """Check that no link stands on the way to where a file is to go.

        Args:
            target: its new path.
            folder: below which it will be, as who runs this names it; it may be a link, if others cannot have put it.

        Raises:
            SourceError: there is a link on the way, or something else than a file by its name.
        """
        is_within = any(_is_below(os.path.normpath(folder), root) for root in (self.named, self.root))
        trusted = self.root if is_within else os.path.realpath(folder)
        real = os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))
        if not _is_below(real, trusted) or (os.path.lexists(real) and not stat.S_ISREG(os.lstat(real).st_mode)):
            raise SourceError(
                "unsupported",
                "a link, or a folder, stands where the file should go in the archive",
                remedy="remove it, or name the folder to which it leads as the archive",
            )

    def put_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file of this machine; what is there, be it a link that leads nowhere, is not written to."""
        with open(path1, "rb") as source, open(path2, "xb") as target:
            shutil.copyfileobj(source, target)

    def _open(self, path: str, *_: Any, **__: Any) -> BinaryIO:
        if fault := self._fault(path):
            raise fault
        descriptor = _opened(self.root, os.path.realpath(path))
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _special()
        return os.fdopen(descriptor, "rb")

    def _fault(self, path: str) -> SourceError | None:
        """Return why something must not be read."""
        real = os.path.realpath(path)
        if _is_of_the_system(real):
            return _of_the_system()
        if not _is_below(real, self.root):
            return SourceError(
                "unsupported",
                "it is a link that leads out of the folder in which files are looked for",
                remedy="copy the file into the folder; or, if it belongs there, name its own folder in the catalog",
            )
        try:
            return None if stat.S_ISREG(os.stat(real).st_mode) else _special()
        except FileNotFoundError:
            raise
        except OSError as error:  # say a link to itself
            told = f"what it leads to cannot be looked at: {error.strerror}"
            return SourceError("unreadable", told, remedy="copy the file into the folder, and remove the link")


def _opened(root: str, real: str) -> int:
    """Open a file without following any link on the way: one that is put there by now is an error of the system."""
    if sys.platform == "win32":
        return os.open(real, os.O_RDONLY | os.O_BINARY)
    *folders, name = os.path.relpath(real, root).split(os.sep)
    with ExitStack() as opened:
        at = os.open(root, BY_HANDLE | os.O_DIRECTORY)
        opened.callback(os.close, at)
        for folder in folders:
            at = os.open(folder, BY_HANDLE | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            opened.callback(os.close, at)
        # Not to wait: who opens a pipe that came meanwhile would wait for somebody to write into it.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)


def _is_below(path: str, folder: str) -> bool:
    within = os.path.normcase(folder)
    return os.path.normcase(path).startswith(within if within.endswith(os.sep) else within + os.sep)


def _is_of_the_system(path: str) -> bool:
    return not _is_below(path, MEMORY_DISK) and any(path == f or _is_below(path, f) for f in OF_THE_SYSTEM)


def _of_the_system() -> SourceError:
    return SourceError("unsupported", "it is in a folder of the system", remedy="name a folder of files in the catalog")


def _special() -> SourceError:
    return SourceError("unsupported", "it is no regular file", remedy="deliver a regular file, and remove this")
