"""Ends a program that hits a DPA error with one line on stderr and an exit code, without a traceback."""

import sys
from collections.abc import Callable
from functools import wraps

from freight.errors import DpaError

REFUSED = 2  # the exit code of a program that cannot carry out its request, the same as for a wrong option


def exits_in_words[**P](main: Callable[P, int]) -> Callable[P, int]:
    """Wrap the main function of a program: it prints a `DpaError` in one line and returns `REFUSED`."""

    @wraps(main)
    def in_words(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except DpaError as error:
            print(f"error: {error}", file=sys.stderr)
            return REFUSED

    return in_words
