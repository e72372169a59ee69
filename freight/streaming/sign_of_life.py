"""Shows probes that the loop of a listener turns: a file that is as old as its last turn; `alive` reads it."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freight.errors import ConfigurationError
from freight.streaming.background import Every
from freight.streaming.status import Status

log = logging.getLogger("freight")

WRITE_EVERY_S = 1.0


@contextmanager
def showing_life(path: Path, status: Status) -> Iterator[None]:
    """Keep a file as old as the last turn of the loop while the context lasts; it is removed at the end.

    The instant is the loop's own: a loop that is stuck shows although the thread that writes lives on.

    Raises:
        ConfigurationError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, status)
    except OSError as error:
        raise ConfigurationError(f"no sign of life can be written, and probes would see none: {error}") from None
    try:
        with Every("sign of life", _Writer(path, status).write, WRITE_EVERY_S):
            yield
    finally:
        path.unlink(missing_ok=True)


class _Writer:
    """Writes again and again, and tells once what prevents it."""

    def __init__(self, path: Path, status: Status) -> None:
        self._path, self._status, self._fails = path, status, False

    def write(self) -> None:
        """Write, unless that fails."""
        try:
            _write(self._path, self._status)
            self._fails = False
        except OSError as error:
            if not self._fails:
                log.warning("the sign of life is not written: %s", error)
            self._fails = True


def _write(path: Path, status: Status) -> None:
    polled_at = status.now().polled_at.timestamp()
    if not path.exists():
        path.touch()
    os.utime(path, (polled_at, polled_at))
