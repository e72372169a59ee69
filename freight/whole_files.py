"""Files that people find whole or not at all: they are made beside their place and moved there when complete."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from freight.errors import ConfigurationError


@contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[Path]:
    """Give a file in the same folder, which becomes `path` when the block ends well.

    Args:
        path: The file to make.
        replace: Whether it may take the place of a file that is there.

    Raises:
        ConfigurationError: The file is there and may not be replaced, or cannot be written.
    """
    if (path.exists() or path.is_symlink()) and not replace:
        raise ConfigurationError(f"{path} is there already: name another file, or say --replace")
    try:
        with in_place_of(path) as unfinished:
            yield unfinished
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from None


@contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """Give a file in the same folder, which takes the place of `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.unfinished{path.suffix}")
    try:
        yield unfinished
        _keep_access(path, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _keep_access(old: Path, new: Path) -> None:
    """Give a file the group and mode of ours that it replaces: what somebody has opened on purpose stays open."""
    if os.name == "nt":
        return  # its folder decides
    with suppress(OSError):  # there is none, or its group is none of ours
        there = old.lstat()
        if stat.S_ISREG(there.st_mode) and there.st_uid == os.geteuid():
            os.chown(new, -1, there.st_gid)
            new.chmod(stat.S_IMODE(there.st_mode))
