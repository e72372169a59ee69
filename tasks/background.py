"""Work in a second thread that ends well whatever ends the run: a pod that goes, a cancellation, Ctrl-C.

Prefect turns SIGTERM into a `TerminationSignal` in the main thread, unless somebody else handles the signal: then it
kills the run without a word. So nobody does, and the main thread only waits while the work goes on undisturbed.
"""

import threading
import time
from collections.abc import Callable
from uuid import UUID

from prefect.exceptions import TerminationSignal

from freight.streaming.background import daemon
from tasks.api import impatient_client

DRAIN_S = 20.0  # Prefect kills a run 30 s after it was cancelled, and a pod has to end within 25 s
LOOK_S = 1.0
UNDRAINED = f"told to stop, and not through within {DRAIN_S:.0f} s: what was not committed will be read again"

Work = Callable[[], str]


def run_until_told(work: Work, stop: threading.Event, run_id: UUID) -> str:
    """Do some work in a second thread until it ends, or this process is told to end; return what the work says.

    Args:
        work: ends soon after the event was set.
        stop: the event; others may set it, too.
        run_id: the flow run that this is.

    Raises:
        Exception: what the work raised.
        BaseException: what told this process to end, where somebody else decides on the state of the run: it is being
            cancelled, or has lost its place. The work has had its time to end.
    """
    thread = _Thread(work)
    told = _until_told(thread, stop)
    deadline = time.monotonic() + DRAIN_S
    stop.set()
    is_ours = told is None or (isinstance(told, (TerminationSignal, KeyboardInterrupt)) and _runs(run_id))
    has_ended = thread.drains_until(deadline)
    if told is not None and not is_ours:
        raise told
    return thread.result() if has_ended else UNDRAINED


def _until_told(thread: "_Thread", stop: threading.Event) -> BaseException | None:
    """Wait until the work has ended or has to end; return the signal that told so, if there was one."""
    try:
        thread.start()
        while not (stop.is_set() or thread.ends_within(LOOK_S)):
            pass
    except BaseException as told:
        return told
    return None


def _runs(run_id: UUID) -> bool:
    """Whether the run is Running for Prefect, and so nobody else decides how it ends; also if Prefect is away."""
    try:
        with impatient_client() as prefect:
            state = prefect.read_flow_run(run_id).state
    except (Exception, TerminationSignal):  # a second signal changes nothing
        return True
    return state is None or state.is_running()


class _Thread:
    """Some work in a thread; what the work logs belongs to the run that started it."""

    def __init__(self, work: Work) -> None:
        self._work, self._ended = work, threading.Event()
        self._said, self._error = "told to stop before it began", None  # type: str, BaseException | None
        self._thread = daemon("work", self._run)

    def start(self) -> None:
        """Begin; a signal may strike here as well."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._said = self._work()
        except BaseException as error:  # raised again where the result is taken
            self._error = error
        finally:
            self._ended.set()

    def ends_within(self, limit_s: float) -> bool:
        """Wait until the work has ended; tell whether it has. Signals are raised here."""
        return self._ended.wait(limit_s)

    def drains_until(self, deadline: float) -> bool:
        """Wait until the work has ended, whatever Prefect says again meanwhile; a second Ctrl-C is raised."""
        if self._thread.ident is None:
            return True  # it has not begun
        while True:
            try:
                return self.ends_within(max(0.0, deadline - time.monotonic()))
            except TerminationSignal:
                continue

    def result(self) -> str:
        """Return what the work said, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._said
