"""Work in a second thread that ends cleanly whatever ends the run: the end of a pod, a cancellation, Ctrl-C.

Prefect turns SIGTERM into a `TerminationSignal` in the main thread, unless other code handles the signal: then it kills
the run silently. So no code here does, and the main thread only waits while the work goes on undisturbed.
"""

import threading
import time
from collections.abc import Callable
from uuid import UUID

from prefect.exceptions import TerminationSignal

from freight.streaming.threads import daemon
from tasks.api import impatient_client

DRAIN_S = 20.0  # Prefect kills a run 30 s after it was cancelled, and a pod has to end within 25 s
LOOK_S = 1.0
UNDRAINED = f"stopped, but not drained within {DRAIN_S:.0f} s: uncommitted messages will be read again"

Work = Callable[[], str]


def run_until_stopped(work: Work, stop: threading.Event, run_id: UUID) -> str:
    """Run some work in a second thread until it ends or this process has to end; return the work's result.

    Args:
        work: The work; it ends soon after the event is set.
        stop: The event that stops the work; others may set it too.
        run_id: The id of this flow run.

    Raises:
        Exception: The error of the work.
        BaseException: The signal to end, if another program decides the state of the run: the run is being cancelled,
            or has lost its slot. The work has had its time to end.
    """
    thread = _Thread(work)
    signal = _until_ended(thread, stop)
    deadline = time.monotonic() + DRAIN_S
    stop.set()
    is_ours = signal is None or (isinstance(signal, (TerminationSignal, KeyboardInterrupt)) and _runs(run_id))
    has_ended = thread.drains_until(deadline)
    if signal is not None and not is_ours:
        raise signal
    return thread.result() if has_ended else UNDRAINED


def _until_ended(thread: "_Thread", stop: threading.Event) -> BaseException | None:
    """Wait until the work has ended or has to end; return the signal that interrupted it, if any."""
    try:
        thread.start()
        while not (stop.is_set() or thread.ends_within(LOOK_S)):
            pass
    except BaseException as signal:
        return signal
    return None


def _runs(run_id: UUID) -> bool:
    """Whether Prefect shows the run as Running, so that it decides its own end; True if Prefect is away."""
    try:
        with impatient_client() as prefect:
            state = prefect.read_flow_run(run_id).state
    except (Exception, TerminationSignal):  # a second signal changes nothing
        return True
    return state is None or state.is_running()


class _Thread:
    """Some work in a thread; its log lines belong to the run that started it."""

    def __init__(self, work: Work) -> None:
        self._work, self._ended = work, threading.Event()
        self._said, self._error = "stopped before it began", None  # type: str, BaseException | None
        self._thread = daemon("work", self._run)

    def start(self) -> None:
        """Start the thread; a signal may arrive here too."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._said = self._work()
        except BaseException as error:  # raised again by `result`
            self._error = error
        finally:
            self._ended.set()

    def ends_within(self, limit_s: float) -> bool:
        """Wait for the end of the work; return whether it has ended. Signals are raised here."""
        return self._ended.wait(limit_s)

    def drains_until(self, deadline: float) -> bool:
        """Wait for the end of the work, despite repeated signals from Prefect; a second Ctrl-C is raised."""
        if self._thread.ident is None:
            return True  # it has not begun
        while True:
            try:
                return self.ends_within(max(0.0, deadline - time.monotonic()))
            except TerminationSignal:
                continue

    def result(self) -> str:
        """Return the result of the work, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._said
