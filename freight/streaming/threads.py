"""Work beside a listener's loop: small threads that call a function repeatedly, or once."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from types import TracebackType
from typing import Self

from freight.errors import TransientError
from freight.streaming.trouble import Trouble

LEAVE_S = 5.0  # the time that a call in progress has at the end


def daemon(name: str, call: Callable[[], object]) -> threading.Thread:
    """Return an unstarted thread that does not keep the process from ending.

    It inherits the context of the creating thread, so its log lines appear with those of the run.
    """
    return threading.Thread(target=copy_context().run, args=(call,), name=name, daemon=True)


class Every:
    """Calls a function at a bounded rate in a thread of its own, as long as the context lasts.

    The pause after a call is `period_s`, or `share` times the duration of the call if that is longer. A failed call is
    tried again in its turn, and each of its causes logged once: it must not stop the data.
    """

    def __init__(self, what: str, call: Callable[[], object], period_s: float, share: float = 0.0) -> None:
        self._what, self._call, self._period_s, self._share = what, call, period_s, share
        self._trouble = Trouble(f"{what}: works again")
        self._ended = threading.Event()
        self._thread = daemon(what, self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        took = 0.0
        while not self._ended.wait(max(self._period_s, self._share * took)):
            started = time.monotonic()
            try:
                self._call()
                self._trouble.over()
            except (TransientError, OSError) as error:
                self._trouble.note(f"{self._what}: {error}")
            except Exception as error:
                self._trouble.note(f"{self._what}: {type(error).__name__}: {error}", level=logging.ERROR, error=error)
            took = time.monotonic() - started


class DaemonThreads(Executor):
    """An executor that runs each call in a thread that does not keep the process from ending.

    Python waits for the threads of its own pools: forever, if one is stuck in a database.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def submit[**P, T](self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start a call."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        daemon(self._name, run).start()
        return future
