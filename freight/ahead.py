"""Work ahead in a second thread: what parses and computes releases the interpreter, so two cores share a load."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

END: Any = object()


def ahead[T](items: Iterable[T]) -> Iterator[T]:
    """Give items in order; the next one is made while the caller works on the last one.

    At most two items are in memory. What making an item raises is raised here, in its turn.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, source, END)
        while (item := coming.result()) is not END:
            coming = thread.submit(next, source, END)
            yield item
