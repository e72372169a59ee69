"""How tests wait: until something is so, with a limit that only what hangs can reach, on the slowest machine."""

import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 180.0


def wait_until(
    condition: Callable[[], object], limit_s: float = LIMIT_S, told: object = "it did not come to pass"
) -> None:
    """Wait until something is so.

    Args:
        condition: Whether it is so.
        limit_s: Time after which the test fails.
        told: Words of that failure, or a file that holds them.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, told.read_text() if isinstance(told, Path) else str(told)
        time.sleep(0.02)
