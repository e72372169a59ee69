"""Work ahead in a second thread: parsing and computing release the interpreter lock, so a load uses two cores."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

END: Any = object()


def ahead[T](items: Iterable[T]) -> Iterator[T]:
    """Yield items in order; a thread makes the next one while the caller works on the current one.

    At most two items are in memory. If making an item fails, its error is raised here, in order.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, source, END)
        while (item := coming.result()) is not END:
            coming = thread.submit(next, source, END)
            yield item
