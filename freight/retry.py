"""The retry policies: what is tried again, how often, and after which pauses."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from time import sleep

from freight.errors import SourceAway, SourceError, TransientError

JITTER = 0.5  # share of a pause: runs that lost the same server do not all return at once
ASKED_PAUSE_LIMIT_S = 60.0  # a whole run does not wait longer than this for one server


@dataclass(frozen=True)
class RetryPolicy:
    """How often something is tried again, and after which pauses.

    Attributes:
        first_pause_s: The first pause; each further one is twice as long.
        retries: The number of retries; None for no end.
        longest_pause_s: No pause is longer.
    """

    first_pause_s: float
    retries: int | None
    longest_pause_s: float = 60.0

    def pauses(self) -> Iterator[float]:
        """Yield the pauses before the retries, in seconds, without jitter."""
        doubling = (min(self.first_pause_s * 2.0**n, self.longest_pause_s) for n in count())
        return islice(doubling, self.retries)


STEP = RetryPolicy(first_pause_s=5.0, retries=4)  # a step of a run, with or without Prefect: a failover takes a minute
SOURCE = RetryPolicy(first_pause_s=1.0, retries=4)  # one input of many: the others wait meanwhile
COMMIT = RetryPolicy(first_pause_s=0.5, retries=None, longest_pause_s=30.0)  # an outage is no fault of the messages


def may_pass(error: BaseException) -> bool:
    """Whether the same call may succeed later."""
    return isinstance(error, (TransientError, OSError)) and not isinstance(error, PermissionError)


def with_jitter(pause_s: float) -> float:
    """Return the pause, lengthened by a random share of up to `JITTER`."""
    return pause_s * random.uniform(1.0, 1.0 + JITTER)


def with_retries[T](call: Callable[[], T]) -> T:
    """Run a step; retry while its error may pass (`STEP`)."""
    return _try(call, STEP, may_pass)


def patiently[T](call: Callable[[], T]) -> T:
    """Call a source; retry while it is away (`SOURCE`).

    The final error is one that no step retries, so that retries do not multiply.

    Raises:
        SourceError: The source stays away; the others go on.
    """
    try:
        return _try(call, SOURCE, lambda error: isinstance(error, SourceAway))
    except SourceAway as error:
        raise SourceError(
            "unreadable", str(error), remedy="check the source and the connection to it; the next run tries again"
        ) from error


def _try[T](call: Callable[[], T], policy: RetryPolicy, worth_it: Callable[[Exception], bool]) -> T:
    for pause_s in policy.pauses():
        try:
            return call()
        except Exception as error:
            if not worth_it(error):
                raise
            asked_s = error.retry_after_s if isinstance(error, TransientError) else 0.0
            sleep(max(with_jitter(pause_s), min(asked_s, ASKED_PAUSE_LIMIT_S)))
    return call()
