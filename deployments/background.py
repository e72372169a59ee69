"""Background processes that outlive the process that started them."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from freight.errors import ConfigurationError

POLL_S = 0.25
SAME_START_S = 2.0  # after a clock correction, the system reports a different start time
STOP_LIMIT_S = 15.0
LAST_WORDS = 5  # lines of the log in an error
LOG_BYTES = 10_000_000

# Neither Ctrl-C in the shell that started it nor the end of that shell may reach it.
DETACHED: dict[str, Any]
if sys.platform == "win32":
    DETACHED = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
else:
    DETACHED = {"start_new_session": True}

_started: list[subprocess.Popen[bytes]] = []  # kept, since a Popen warns when it is collected while its process runs


@dataclass(frozen=True)
class Background:
    """A background program, identified by a file with its process id and start time.

    The process id alone may belong to another process by now, for instance after a restart of the machine.
    """

    pid_path: Path
    log_path: Path

    def process(self) -> psutil.Process | None:
        """Return the process; None if it is not running."""
        try:
            pid, started = self.pid_path.read_text(encoding="ascii").split()
            process = psutil.Process(int(pid))
            is_it = abs(process.create_time() - float(started)) < SAME_START_S
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process if is_it and _lives(process) else None

    def start(self, argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> psutil.Process:
        """Start the program and append its output to its log."""
        for path in (self.pid_path, self.log_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._set_a_long_log_aside()
        with self.log_path.open("ab") as log:
            _started.append(
                subprocess.Popen(
                    argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **DETACHED
                )
            )
        process = psutil.Process(_started[-1].pid)
        self.pid_path.write_text(f"{process.pid} {process.create_time()}\n", encoding="ascii")
        return process

    def _set_a_long_log_aside(self) -> None:
        """Keep only the current log and the previous one."""
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".old.log"))

    def need(self) -> psutil.Process:
        """Return the process.

        Raises:
            ConfigurationError: It has ended; the message quotes the end of its log.
        """
        process = self.process()
        if process is None:
            said = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-LAST_WORDS:]
            raise ConfigurationError("\n".join([f"{self.pid_path.stem} has ended, see {self.log_path}:", *said]))
        return process

    def stop(self) -> None:
        """Ask the process to end, then kill what is left of it and its children; do nothing if it is not running."""
        process = self.process()
        if process is not None:
            family = [process, *process.children(recursive=True)]
            process.terminate()
            _end(family)
        self.pid_path.unlink(missing_ok=True)


def _end(family: Sequence[psutil.Process]) -> None:
    _wait_for_the_end(family)
    for process in filter(_lives, family):
        process.kill()
    _wait_for_the_end(family)


def _wait_for_the_end(family: Sequence[psutil.Process]) -> None:
    deadline = time.monotonic() + STOP_LIMIT_S
    while any(map(_lives, family)) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
