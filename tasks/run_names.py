"""Names of runs, which tell what they are and when they began, and of a state."""

from collections.abc import Callable
from datetime import UTC, datetime

DEGRADED = "Degraded"  # a state that is Completed all the same; an alert waits for its name


def dated(what: str) -> Callable[[], str]:
    """Return what names a run of a flow: the flow and the instant."""

    def name() -> str:
        return f"{what} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"

    return name
