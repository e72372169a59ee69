"""Ends a program: work that is left for its end, and a DPA error as one line and an exit code, without a traceback."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps

from freight.errors import DpaError

_LEFT: list[Callable[[], Iterable[str]]] = []

REFUSED = 2  # the exit code of a program that cannot carry out its request, the same as for a wrong option


def at_the_end(work: Callable[[], Iterable[str]]) -> None:
    """Leave work for the end of the program, also after Ctrl-C; it returns notes for people."""
    if work not in _LEFT:
        _LEFT.append(work)


def exits_in_words[**P](main: Callable[P, int]) -> Callable[P, int]:
    """Wrap the main function of a program: it prints a `DpaError` in one line and returns `REFUSED`.

    However the program ends, the work left for its end is done.
    """

    @wraps(main)
    def in_words(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except DpaError as error:
            print(f"error: {error}", file=sys.stderr)
            return REFUSED
        finally:
            for note in [note for work in _LEFT for note in work()]:
                print(note, file=sys.stderr)

    return in_words
