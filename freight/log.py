"""The log file: who ran what, which file, what was quarantined and why. Rotated at 10 MB, kept for 30 days."""

import logging
from pathlib import Path

from loguru import logger

ROTATION = "10 MB"
RETENTION = "30 days"
LINE = "{time:YYYY-MM-DD HH:mm:ss.SSSZZ} {level:<8} {message}"


class _ToFile(logging.Handler):
    """Hands records of the standard library's logging to the rotating file."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.opt(exception=record.exc_info).log(record.levelname, record.getMessage().replace("\n", " | "))


def log_to_file(folder: Path) -> Path:
    """Send what the core logs to `dpa.log` in a folder; calling it again changes nothing.

    A folder that cannot be written to is reported on the terminal and costs the log only.
    """
    path = folder / "dpa.log"
    core = logging.getLogger("freight")
    core.propagate = False  # the terminal shows the summary; Prefect takes these lines by its extra loggers
    if any(isinstance(handler, _ToFile) for handler in core.handlers):
        return path
    logger.remove()
    try:
        # Several processes may write at once; `enqueue` would not help them, opening in append mode does.
        logger.add(path, format=LINE, rotation=ROTATION, retention=RETENTION, encoding="utf-8", catch=True)
    except OSError as error:
        core.warning("no log file can be written: %s", error)
    core.addHandler(_ToFile())
    core.setLevel(logging.INFO)
    return path
