"""Retries of the core, for callers without Prefect: only a `TransientError` is worth one."""

from collections.abc import Callable
from time import sleep

from freight.errors import SourceAway, SourceError, TransientError

RETRIES = 4
FIRST_RETRY_S = 1.0
LONGEST_PAUSE_S = 60.0  # whoever asks for a longer one is not waited for by a whole run


def with_retries[T](call: Callable[[], T], after: type[TransientError] = TransientError) -> T:
    """Call again after an error, waiting 1, 2, 4, 8 seconds, or as long as the error asks for."""
    for attempt in range(RETRIES):
        try:
            return call()
        except after as error:
            pause_s = max(FIRST_RETRY_S * 2**attempt, error.retry_after_s)
            sleep(min(pause_s, LONGEST_PAUSE_S))
    return call()


def patiently[T](call: Callable[[], T]) -> T:
    """Call again while a source is away.

    Raises:
        SourceError: it stays away; the others go on.
    """
    try:
        return with_retries(call, SourceAway)
    except SourceAway as error:
        raise SourceError(
            "unreadable", str(error), remedy="look after the source, or the way to it; the next run tries again"
        ) from error
