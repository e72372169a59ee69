"""What a listener does beside its loop: small threads that call something again and again, or once."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from types import TracebackType
from typing import Self

from freight.errors import TransientError

LEAVE_S = 5.0  # for a call that is under way at the end

log = logging.getLogger("freight")


def daemon(name: str, call: Callable[[], object]) -> threading.Thread:
    """Return a thread that does not keep the process from ending; it is not started.

    It has the context of the thread that makes it, so that whoever shows what a run logs shows what it logs, too.
    """
    return threading.Thread(target=copy_context().run, args=(call,), name=name, daemon=True)


class Every:
    """Calls something at a bounded rate in a thread of its own, as long as the context lasts.

    The pause after a call is `period_s`, or `share` times as long as the call took if that is longer. What fails is
    logged and tried again in its turn: none of it may stop the data.
    """

    def __init__(self, what: str, call: Callable[[], object], period_s: float, share: float = 0.0) -> None:
        self._what, self._call, self._period_s, self._share = what, call, period_s, share
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
            except TransientError as error:
                log.warning("%s: %s", self._what, error)
            except Exception:
                log.exception("%s", self._what)
            took = time.monotonic() - started


class DaemonThreads(Executor):
    """Runs each call in a thread that does not keep the process from ending.

    Python waits for the threads of its own pools, and so for ever for one that is stuck in a database.
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
