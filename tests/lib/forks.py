"""Processes that can be killed and frozen, forked from one with all imports done: imports take a second."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

from tests.lib.waiting import LIMIT_S

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.lib.kills", "tests.lib.streams"])


class Forked:
    """A call of a function with text arguments in a process of its own, which inherits no state of the tests."""

    def __init__(self, function: Callable[..., None], *arguments: str, log: Path) -> None:
        """Start the process; its output is appended to a log."""
        self._log = log
        log.touch()
        self._process = _context.Process(target=_call, args=(function, arguments, log))
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid
        return self._process.pid

    @property
    def lives(self) -> bool:
        """True until the process has ended."""
        return self._process.is_alive()

    @property
    def output(self) -> str:
        """The output so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Kill the process without a warning, busy or not."""
        self._process.kill()
        self.wait()

    def signal(self, number: int) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Ask the process to end, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait until the process ends; return its exit code, which is negative if a signal ended it.

        Raises:
            TimeoutError: The process has not ended within that time.
        """
        self._process.join(limit_s)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} has not ended within {limit_s} s")
        return self._process.exitcode


def _call(function: Callable[..., None], arguments: tuple[str, ...], log: Path) -> None:
    with log.open("ab") as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
    function(*arguments)
