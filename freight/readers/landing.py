"""Local folders where others deliver files: only links to regular files within the folder are followed."""

import os
import shutil
import stat
import sys
from contextlib import ExitStack
from typing import Any, BinaryIO

from fsspec.implementations.local import LocalFileSystem

from freight.errors import SourceError

OF_THE_SYSTEM = ("/proc", "/sys", "/dev")
MEMORY_DISK = "/dev/shm"  # a disk like others, although it lies among the devices
BY_HANDLE = getattr(os, "O_PATH", os.O_RDONLY)  # also opens a folder that may be traversed, but not listed


class Landing(LocalFileSystem):  # type: ignore[misc]
    """The local disk as seen from a folder; files outside it are not read, even through a link.

    The folder itself may be a link, because the operator names it. A hard link looks like any other file.

    Attributes:
        named, root: The folder as it is named, and its real path.

    Raises:
        SourceError: The folder belongs to the system.
    """

    cachable = False  # each instance has its own folder

    def __init__(self, root: str, **options: Any) -> None:
        super().__init__(**options)
        self.named, self.root = os.path.normpath(root), os.path.realpath(root)
        if _is_of_the_system(self.root):
            raise _of_the_system()

    def info(self, path: Any, **options: Any) -> dict[str, Any]:
        """Describe a file or the target of a link; of a forbidden entry only itself, with the reason as `fault`."""
        if isinstance(path, os.DirEntry):
            return dict(super().info(path, **options))
        address = self._strip_protocol(path)
        itself = os.lstat(address)
        is_plain = stat.S_ISREG(itself.st_mode) or stat.S_ISDIR(itself.st_mode)
        if is_plain or os.path.isdir(address) or not (fault := self._fault(address)):
            return dict(super().info(address, **options))
        return {"name": address, "type": "other", "size": itself.st_size, "mtime": itself.st_mtime, "fault": fault}

    def refuse_link(self, target: str, folder: str) -> None:
        """Check that the path to which a file is to be moved contains no link.

        Args:
            target: The new path of the file.
            folder: The folder above it, as the operator names it; it may be a link that others cannot have made.

        Raises:
            SourceError: The path contains a link, or the target exists and is not a file.
        """
        is_within = any(_is_below(os.path.normpath(folder), root) for root in (self.named, self.root))
        trusted = self.root if is_within else os.path.realpath(folder)
        real = os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))
        if not _is_below(real, trusted) or (os.path.lexists(real) and not stat.S_ISREG(os.lstat(real).st_mode)):
            raise SourceError(
                "unsupported",
                "the archive has a link or a folder in its place",
                remedy="remove it, or name the folder to which it leads as the archive",
            )

    def put_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a local file; an existing target, even a broken link, is never overwritten."""
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
        """Return the reason why a path must not be read; None if it may be."""
        real = os.path.realpath(path)
        if _is_of_the_system(real):
            return _of_the_system()
        if not _is_below(real, self.root):
            return SourceError(
                "unsupported",
                "it is a link to a file outside the folder that is searched",
                remedy="copy the file into the folder; or, if it belongs there, name its own folder in the catalog",
            )
        try:
            return None if stat.S_ISREG(os.stat(real).st_mode) else _special()
        except FileNotFoundError:
            raise
        except OSError as error:  # for example a link to itself
            message = f"the target of the link cannot be examined: {error.strerror}"
            return SourceError("unreadable", message, remedy="copy the file into the folder, and remove the link")


def _opened(root: str, real: str) -> int:
    """Open a file without following any link in its path: a link that was put there meanwhile raises an OSError."""
    if sys.platform == "win32":
        return os.open(real, os.O_RDONLY | os.O_BINARY)
    *folders, name = os.path.relpath(real, root).split(os.sep)
    with ExitStack() as opened:
        at = os.open(root, BY_HANDLE | os.O_DIRECTORY)
        opened.callback(os.close, at)
        for folder in folders:
            at = os.open(folder, BY_HANDLE | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            opened.callback(os.close, at)
        # O_NONBLOCK: opening a pipe that was put there meanwhile would wait for a writer.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)


def _is_below(path: str, folder: str) -> bool:
    within = os.path.normcase(folder)
    return os.path.normcase(path).startswith(within if within.endswith(os.sep) else within + os.sep)


def _is_of_the_system(path: str) -> bool:
    return not _is_below(path, MEMORY_DISK) and any(path == f or _is_below(path, f) for f in OF_THE_SYSTEM)


def _of_the_system() -> SourceError:
    return SourceError("unsupported", "it is in a system folder", remedy="name a folder of data files in the catalog")


def _special() -> SourceError:
    return SourceError("unsupported", "it is not a regular file", remedy="deliver a regular file, and remove this")
