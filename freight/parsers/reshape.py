"""A source's own function, which reshapes the rows of one file with pandas.

It runs as parsers do: in a process of its own, with limits, out of reach of the network and of all files but its rows.
Whatever goes wrong is told with the line of the function.
"""

import gc
import linecache
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from freight.errors import SourceError, SourceFault
from freight.parsers.output import Output
from freight.parsers.text_frames import BrokenPromise, lookup_frames, read_frame, text_rows

FOLDER = "transforms"  # beside the catalog
LOOK_EVERY_S = 0.5
EXCEPTION_CHARS = 300


class Function(NamedTuple):
    """A function in a module of the folder.

    Attributes:
        name: The name, as `module.function`.
        code: The text of the module.
    """

    name: str
    code: str

    @property
    def file(self) -> str:
        """The path of its module, as people know it."""
        return f"{FOLDER}/{self.name.partition('.')[0]}.py"

    def fault(self, words: str, line: int | None = None, fault: SourceFault = "transform_failed") -> SourceError:
        """Return an error that names the function, its file and a line."""
        place = f"{self.file}, line {line}" if line else self.file
        return SourceError(
            fault,
            f"the function {self.name} {words} ({place})",
            remedy="correct the function, and look at its result with `dpa sources preview`; the next run tries again",
        )

    def line_of(self, error: BaseException) -> int | None:
        """Return the line of the module where an error arose; None if it arose elsewhere."""
        if isinstance(error, SyntaxError) and error.filename == self.file:
            return error.lineno
        return self._last_line(traceback.extract_tb(error.__traceback__))

    def line_now(self, thread: int) -> int | None:
        """Return the line of the module that a thread runs; None if it runs none."""
        return self._last_line(traceback.extract_stack(sys._current_frames()[thread]))

    def _last_line(self, stack: traceback.StackSummary) -> int | None:
        return next((place.lineno for place in reversed(stack) if place.filename == self.file), None)

    def load(self) -> Callable[..., object]:
        """Run the module, and return the function.

        Raises:
            AttributeError: The module does not define it.
        """
        module_name, _, name = self.name.partition(".")
        module = ModuleType(f"{FOLDER}.{module_name}")  # a name of its own hides no module that it imports
        module.__file__ = self.file
        sys.modules[module.__name__] = module
        linecache.cache[self.file] = (len(self.code), None, self.code.splitlines(keepends=True), self.file)
        exec(compile(self.code, self.file, "exec"), module.__dict__)
        return getattr(module, name)  # type: ignore[no-any-return]


def parse(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Send the rows that a function makes of the rows of a file.

    Args:
        path: The rows as an Arrow file: text by position, and `row_number`.
        wishes: The `function`, the `code` of its module, the `header`, the `lookups`, the stated
            `decimal` mark or None, `until` when by the clock that
            all processes share and `cpu_limit_s` for the processor, and `memory_mib`.
        output: The output for the rows, which have the row numbers of the file; some may have the same one.

    Raises:
        SourceError: The function fails, returns something else than text with row numbers, or takes too much memory or
            time.
    """
    gc.enable()  # pandas makes cycles
    function = Function(wishes["function"], wishes["code"])
    with _in_words(function, wishes["memory_mib"]), _watched(function, wishes, output):
        frame = read_frame(path, wishes["header"], wishes["decimal"])
        known = frame.index.copy(deep=True)  # the function may change that of its frame
        found = text_rows(function.load()(frame, **lookup_frames(wishes["lookups"])), known)
        del frame
        output.begin(found.header)
        for number, cells in found.rows():
            output.row(number, cells)


@contextmanager
def _in_words(function: Function, memory_mib: int) -> Iterator[None]:
    try:
        yield
    except BrokenPromise as broken:
        raise function.fault(str(broken)) from None
    except MemoryError as error:
        words = f"needs more than {memory_mib:,} MiB of memory"
        raise function.fault(words, function.line_of(error), "too_large") from None
    except BaseException as error:  # also one that means to end the process
        words = f"raises {type(error).__name__}: {error}"[:EXCEPTION_CHARS]
        raise function.fault(words, function.line_of(error)) from None


@contextmanager
def _watched(function: Function, wishes: Mapping[str, Any], output: Output) -> Iterator[None]:
    """Show the reader that the process lives; end it with the line that it runs if it takes too long."""
    ended, caller = threading.Event(), threading.get_ident()
    cpu_until = time.process_time() + wishes["cpu_limit_s"]

    def watch() -> None:
        while not ended.wait(LOOK_EVERY_S):
            output.alive()
            if time.monotonic() > wishes["until"] or time.process_time() > cpu_until:
                words = "takes longer than a function may for a file of this size"
                output.fail(function.fault(words, function.line_now(caller), "timed_out"))
                os._exit(0)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
