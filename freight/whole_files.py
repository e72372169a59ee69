"""Writes files that appear whole or not at all: they are written beside their place and moved there when complete."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from freight.errors import ConfigurationError


@contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a file in the same folder that becomes `path` if the block succeeds.

    Args:
        path: The file to write.
        replace: Whether an existing file may be replaced.

    Raises:
        ConfigurationError: The file exists and may not be replaced, or cannot be written.
    """
    if (path.exists() or path.is_symlink()) and not replace:
        raise ConfigurationError(f"{path} already exists: name another file, or use --replace")
    try:
        with in_place_of(path) as unfinished:
            yield unfinished
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """Yield a file in the same folder that replaces `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        _keep_access(path, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _keep_access(old: Path, new: Path) -> None:
    """Copy the group and mode of a replaced file of this user: a file that was shared on purpose stays shared."""
    if os.name == "nt":
        return  # the folder decides there
    with suppress(OSError):  # there is no old file, or this user is not in its group
        there = old.lstat()
        if stat.S_ISREG(there.st_mode) and there.st_uid == os.geteuid():
            os.chown(new, -1, there.st_gid)
            new.chmod(stat.S_IMODE(there.st_mode))
