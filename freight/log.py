"""The log file: who ran what, which file, what was quarantined and why. Rotated at 10 MB, kept for 30 days."""

import logging
import sys
from pathlib import Path
from typing import Any

from loguru import logger

from freight.outward import plain

ROTATION = "10 MB"
RETENTION = "30 days"
LOGGERS = ("freight", "librdkafka")  # the core, and Kafka's client
LINE = "{time:YYYY-MM-DD HH:mm:ss.SSSZZ} {level:<8} {message}"


class _ToFile(logging.Handler):
    """Passes records of the standard library's logging to the rotating file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as one line."""
        logger.opt(exception=record.exc_info).log(record.levelname, plain(record.getMessage()).replace("\n", " | "))


def log_to_file(folder: Path) -> Path:
    """Send what the core and Kafka's client log to `dpa.log` in a folder; calling it again changes nothing.

    If the folder cannot be written, the terminal shows a warning and only the log is lost.
    """
    path = folder / "dpa.log"
    present = [handler for handler in logging.getLogger("freight").handlers if isinstance(handler, _ToFile)]
    if not any(handler.path == path for handler in present):
        _open(path)
        for name in LOGGERS:
            _send(logging.getLogger(name), _ToFile(path))
    return path


def _send(source: logging.Logger, target: _ToFile) -> None:
    source.propagate = False  # the terminal shows the summary
    source.setLevel(logging.INFO)
    for handler in [handler for handler in source.handlers if isinstance(handler, _ToFile)]:
        source.removeHandler(handler)
    source.addHandler(target)


def _open(path: Path) -> None:
    logger.remove()
    try:
        # A traceback shows lines of code but no values of variables: one of them may be a secret.
        shown: dict[str, Any] = {"format": LINE, "backtrace": False, "diagnose": False}
        logger.add(path, rotation=ROTATION, retention=RETENTION, encoding="utf-8", catch=True, **shown)
    except OSError as error:
        print(f"warning: no log file can be written: {error}", file=sys.stderr)
