"""Waiting in tests: until a condition holds, with a limit that only a hang reaches, even on the slowest machine."""

import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 600.0
SOON_S, SELDOM_S = 0.02, 0.5  # between looks: the longer it takes, the fewer, since each look costs CPU as well


def wait_until(
    condition: Callable[[], object], limit_s: float = LIMIT_S, told: object = "it did not come to pass"
) -> None:
    """Wait until a condition holds.

    Args:
        condition: The function that returns a true value once it holds.
        limit_s: The seconds after which the test fails.
        told: The message of that failure, or a file with it.
    """
    started = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - started
        assert waited_s < limit_s, told.read_text() if isinstance(told, Path) else str(told)
        time.sleep(min(max(SOON_S, waited_s / 20), SELDOM_S))
