"""Commits micro-batches in a second thread, one at a time, while the next one is read and parsed."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from freight import retry
from freight.errors import TransientError
from freight.streaming.threads import DaemonThreads
from freight.types import LoadCounts
from freight.warehouse.stream_load import MicroBatch


@dataclass(frozen=True)
class Outcome:
    """The result of a micro-batch: its counts, or the error that prevented the commit; and its duration."""

    batch: MicroBatch
    counts: LoadCounts
    error: Exception | None = None
    took_s: float = 0.0


class CommitCancelled(TransientError):
    """A commit was cancelled from outside; whether it took effect is unknown."""


class Commits:
    """The commit in progress, if any."""

    def __init__(
        self,
        load: Callable[[MicroBatch], LoadCounts],
        cancel: Callable[[], None],
        trouble: Callable[[str], None],
        thread: Executor | None = None,
    ) -> None:
        """Start the thread.

        Args:
            load: The function that commits a micro-batch in the second thread; a `TransientError` makes it run again.
            cancel: The function that breaks off a `load` in progress.
            trouble: The function that receives the reason why the warehouse does not accept the micro-batch right now.
            thread: The executor of the commits; by default a thread of its own.
        """
        self._load, self._break_off, self._trouble = load, cancel, trouble
        self._thread = thread or DaemonThreads("commit")
        self._future: Future[Outcome] | None = None
        self._cancelled = threading.Event()
        self._since = 0.0

    @property
    def under_way_s(self) -> float:
        """The duration of the commit in progress so far; 0 without one."""
        return time.monotonic() - self._since if self.busy else 0.0

    @property
    def busy(self) -> bool:
        """True while a commit is in progress, or its outcome has not been taken yet."""
        return self._future is not None

    def submit(self, batch: MicroBatch) -> None:
        """Start a commit; no other may be in progress."""
        assert self._future is None, "one micro-batch at a time"
        self._cancelled.clear()
        self._since = time.monotonic()
        self._future = self._thread.submit(self._commit, batch)

    def take(self, timeout_s: float = 0.0) -> Outcome | None:
        """Return the outcome of the commit in progress, once; None if it has not ended."""
        if self._future is None or not wait([self._future], timeout_s).done:
            return None
        outcome = self._future.result()
        self._future = None
        return outcome

    def cancel(self) -> None:
        """Break off the commit in progress."""
        self._cancelled.set()
        self._break_off()

    def close(self) -> None:
        """End the thread; a commit still in progress is left to itself."""
        self._thread.shutdown(wait=False)

    def _commit(self, batch: MicroBatch) -> Outcome:
        try:
            counts = self._until_taken(batch)
            return Outcome(batch, counts, took_s=time.monotonic() - self._since)
        except Exception as error:  # raised again where the outcome is taken
            return Outcome(batch, LoadCounts(), error)

    def _until_taken(self, batch: MicroBatch) -> LoadCounts:
        """Retry until the warehouse accepts it: an outage is not the fault of the messages."""
        pauses = retry.COMMIT.pauses()
        while True:
            try:
                return self._load(batch)
            except TransientError as error:
                if self._cancelled.is_set():
                    raise CommitCancelled(str(error)) from error
                self._trouble(str(error))
            if self._cancelled.wait(retry.with_jitter(next(pauses))):
                raise CommitCancelled("the commit was abandoned while it waited for its next try")
