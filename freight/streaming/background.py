"""What a listener does beside its loop: small threads that call something again and again."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from freight.errors import TransientError

LEAVE_S = 5.0  # for a call that is under way at the end

log = logging.getLogger("freight")


class Every:
    """Calls something at a bounded rate in a thread of its own, as long as the context lasts.

    The pause after a call is `period_s`, or `share` times as long as the call took if that is longer. What fails is
    logged and tried again in its turn: none of it may stop the data.
    """

    def __init__(self, what: str, call: Callable[[], object], period_s: float, share: float = 0.0) -> None:
        self._what, self._call, self._period_s, self._share = what, call, period_s, share
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

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
