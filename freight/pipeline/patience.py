"""Patience with sources that are away."""

from collections.abc import Callable

from freight.errors import SourceAway, SourceError
from freight.retry import with_retries


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
