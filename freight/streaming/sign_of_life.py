"""Shows probes that the loop of a listener turns, by the age of a file; `alive` reads it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freight.errors import ConfigurationError
from freight.streaming.status import Status
from freight.streaming.threads import Every

WRITE_EVERY_S = 1.0


@contextmanager
def showing_life(path: Path, status: Status) -> Iterator[None]:
    """Keep the age of a file equal to that of the loop's last turn while the context lasts; then remove the file.

    The time comes from the loop itself: a stuck loop shows even if the writing thread lives on.

    Raises:
        ConfigurationError: The file cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, status)
    except OSError as error:
        raise ConfigurationError(f"no sign of life can be written, and probes would see none: {error}") from None
    try:
        with Every("the sign of life is not written", lambda: _write(path, status), WRITE_EVERY_S):
            yield
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, status: Status) -> None:
    polled_at = status.now().polled_at.timestamp()
    if not path.exists():
        path.touch()
    os.utime(path, (polled_at, polled_at))
