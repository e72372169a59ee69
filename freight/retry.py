"""Retries of the core, for callers without Prefect: only a `TransientError` is worth one."""

import time
from collections.abc import Callable

from freight.errors import TransientError

RETRIES = 4
FIRST_RETRY_S = 1.0


def with_retries[T](
    call: Callable[[], T],
    after: type[TransientError] = TransientError,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Call again after an error, waiting 1, 2, 4, 8 seconds."""
    for attempt in range(RETRIES):
        try:
            return call()
        except after:
            sleep(FIRST_RETRY_S * 2**attempt)
    return call()
