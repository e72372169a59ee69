"""The log file: who ran what, which file, what was quarantined and why. Rotated at 10 MB, kept for 30 days."""

import logging
import sys
from pathlib import Path

from loguru import logger

ROTATION = "10 MB"
RETENTION = "30 days"
LINE = "{time:YYYY-MM-DD HH:mm:ss.SSSZZ} {level:<8} {message}"


class _ToFile(logging.Handler):
    """Hands records of the standard library's logging to the rotating file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line."""
        logger.opt(exception=record.exc_info).log(record.levelname, record.getMessage().replace("\n", " | "))


def log_to_file(folder: Path) -> Path:
    """Send what the core logs to `dpa.log` in a folder; calling it again changes nothing.

    A folder that cannot be written to is reported on the terminal and costs the log only.
    """
    path = folder / "dpa.log"
    core = logging.getLogger("freight")
    core.propagate = False  # the terminal shows the summary
    core.setLevel(logging.INFO)
    present = [handler for handler in core.handlers if isinstance(handler, _ToFile)]
    if not any(handler.path == path for handler in present):
        for handler in present:
            core.removeHandler(handler)
        _open(path)
        core.addHandler(_ToFile(path))
    return path


def _open(path: Path) -> None:
    logger.remove()
    try:
        logger.add(path, format=LINE, rotation=ROTATION, retention=RETENTION, encoding="utf-8", catch=True)
    except OSError as error:
        print(f"warning: no log file can be written: {error}", file=sys.stderr)
