"""Names of runs that tell what they are and when they began."""

from collections.abc import Callable
from datetime import UTC, datetime


def dated(what: str) -> Callable[[], str]:
    """Return what names a run of a flow: the flow and the instant."""

    def name() -> str:
        return f"{what} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"

    return name
