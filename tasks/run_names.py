"""Names of runs, which show their flow and start, and of a state."""

from collections.abc import Callable
from datetime import UTC, datetime

DEGRADED = "Degraded"  # a Completed state; an alert reacts to its name
OVERDUE = "Overdue"  # a Failed state, for which there is an alert of its own


def dated(what: str) -> Callable[[], str]:
    """Return the function that names a run: by its flow and start."""

    def name() -> str:
        return f"{what} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"

    return name
