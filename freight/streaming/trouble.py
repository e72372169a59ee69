"""Logs a trouble when it begins and when it is over: a client that retries several times a second repeats itself."""

import logging
import re
import threading
import time
from collections.abc import Callable

log = logging.getLogger("freight")

NUMBER = re.compile(r"\d+")  # durations and ports, which differ from try to try


class Trouble:
    """A trouble that may last. Each of its causes is logged once until it is over; any thread may note it."""

    def __init__(self, end: str = "", quiet_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without trouble.

        Args:
            end: The line for the end of a trouble; none by default.
            quiet_s: The seconds without a note before `over` counts: one of several servers may still be away.
            clock: The clock, in seconds.
        """
        self._end, self._quiet_s, self._clock = end, quiet_s, clock
        self._causes: set[str] = set()
        self._noted_at = float("-inf")
        self._lock = threading.Lock()

    def note(self, words: str, cause: str = "", level: int = logging.WARNING, error: Exception | None = None) -> None:
        """Log the words if their cause is new.

        Args:
            words: The trouble for people.
            cause: The cause; by default the words without their numbers.
            level: The level of the line.
            error: The error whose traceback follows the line, if people need it.
        """
        cause = cause or NUMBER.sub("", words)
        with self._lock:
            is_new = cause not in self._causes
            self._causes.add(cause)
            self._noted_at = self._clock()
        if is_new:
            log.log(level, "%s", words, exc_info=error)

    def over(self) -> None:
        """Note that all works; log it if something did not."""
        with self._lock:
            ends = bool(self._causes) and self._clock() - self._noted_at >= self._quiet_s
            if ends:
                self._causes.clear()
        if ends and self._end:
            log.info("%s", self._end)
