"""Commits micro-batches in a second thread, one at a time, so that the next one is read and parsed meanwhile."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from freight import retry
from freight.errors import TransientError
from freight.streaming.background import DaemonThreads
from freight.types import LoadCounts
from freight.warehouse.stream_load import MicroBatch


@dataclass(frozen=True)
class Outcome:
    """How a micro-batch ended: its counts, or why it was not committed; and how long that took."""

    batch: MicroBatch
    counts: LoadCounts
    error: Exception | None = None
    took_s: float = 0.0


class CommitCancelled(TransientError):
    """A commit was broken off from outside; whether it had gone through is unknown."""


class Commits:
    """The micro-batch that is being committed, if any."""

    def __init__(
        self,
        load: Callable[[MicroBatch], LoadCounts],
        cancel: Callable[[], None],
        trouble: Callable[[str], None],
        thread: Executor | None = None,
    ) -> None:
        """Start the thread.

        Args:
            load: commits a micro-batch in the second thread; may be called again after a `TransientError`.
            cancel: breaks off a `load` that is under way.
            trouble: told why the warehouse does not take the micro-batch right now.
            thread: where to work; a thread of its own by default.
        """
        self._load, self._break_off, self._trouble = load, cancel, trouble
        self._thread = thread or DaemonThreads("commit")
        self._future: Future[Outcome] | None = None
        self._cancelled = threading.Event()
        self._since = 0.0

    @property
    def under_way_s(self) -> float:
        """How long the micro-batch under way has taken so far; 0 without one."""
        return time.monotonic() - self._since if self.busy else 0.0

    @property
    def busy(self) -> bool:
        """Whether a micro-batch is under way, or its outcome has not been taken yet."""
        return self._future is not None

    def submit(self, batch: MicroBatch) -> None:
        """Start to commit; nothing else may be under way."""
        assert self._future is None, "one micro-batch at a time"
        self._cancelled.clear()
        self._since = time.monotonic()
        self._future = self._thread.submit(self._commit, batch)

    def take(self, timeout_s: float = 0.0) -> Outcome | None:
        """Return how the micro-batch under way has ended, once; None if it has not."""
        if self._future is None or not wait([self._future], timeout_s).done:
            return None
        outcome = self._future.result()
        self._future = None
        return outcome

    def cancel(self) -> None:
        """Break off what is under way."""
        self._cancelled.set()
        self._break_off()

    def close(self) -> None:
        """End the thread; a commit that is still under way is left to itself."""
        self._thread.shutdown(wait=False)

    def _commit(self, batch: MicroBatch) -> Outcome:
        try:
            counts = self._until_taken(batch)
            return Outcome(batch, counts, took_s=time.monotonic() - self._since)
        except Exception as error:  # raised again where the outcome is taken
            return Outcome(batch, LoadCounts(), error)

    def _until_taken(self, batch: MicroBatch) -> LoadCounts:
        """Try until the warehouse takes it: an outage is no fault of the messages."""
        pauses = retry.COMMIT.pauses()
        while True:
            try:
                return self._load(batch)
            except TransientError as error:
                if self._cancelled.is_set():
                    raise CommitCancelled(str(error)) from error
                self._trouble(str(error))
            if self._cancelled.wait(retry.with_jitter(next(pauses))):
                raise CommitCancelled("the commit was broken off while it waited to be tried again")
