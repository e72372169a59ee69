"""The work of a confined parser process: it sets its limits, parses, and ends with its reader."""

import errno
import gc
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from freight.errors import SourceError
from freight.parsers.output import Output, out_of_memory

LAST_WORDS_LIMIT_BYTES = 16 << 20  # its only output file holds its libraries' messages


def work(task: Mapping[str, Any]) -> None:
    """Carry out a task and send the results.

    Args:
        task: The task, with `parser` (`module.function`), `path`, `wishes` and the limits.
    """
    threading.Thread(target=_end_with_reader, daemon=True).start()
    gc.disable()  # parsers make no cycles, and the search for them takes a seventh of the time
    warnings.simplefilter("ignore")  # about unread parts of the file; one for each would fill the disk
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library's prints must not get between two frames
    parse = _parser(task["parser"])
    _limit(task["memory_limit_bytes"], task["cpu_limit_s"])
    _answer(Output(answers), parse, Path(task["path"]), task["wishes"])


def _end_with_reader() -> None:
    """Wait for the end of standard input, which comes however the reader ends; then remove the files and exit.

    A confined process leaves an empty folder behind, which a later reader removes.
    """
    while os.read(0, 1):
        pass
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    with suppress(AttributeError, OSError):  # Windows has no process groups
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _parser(name: str) -> Any:
    module, _, function = name.rpartition(".")
    return getattr(import_module(module), function)


def _limit(memory_bytes: int, cpu_s: int) -> None:
    with suppress(ImportError):  # Windows has no such limits; there only the time is limited
        import resource

        for kind, limit in (
            (resource.RLIMIT_DATA, memory_bytes),
            (resource.RLIMIT_CPU, cpu_s),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, LAST_WORDS_LIMIT_BYTES),
        ):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _answer(output: Output, parse: Any, path: Path, wishes: Mapping[str, Any]) -> None:
    try:
        parse(path, wishes, output)
        output.end()
    except SourceError as error:
        output.fail(error)
    except MemoryError:
        output.fail(out_of_memory())
    except OSError as error:
        output.fail(_by_the_system(error))
    except Exception as error:  # a parser over a broken file may raise anything
        fault = f"{type(error).__name__}: {error}"[:500]
        output.fail(SourceError("corrupt", f"the file is damaged: {fault}", remedy="deliver the whole file again"))


def _by_the_system(error: OSError) -> SourceError:
    if error.errno == errno.ENOMEM:
        return out_of_memory()
    if error.errno:
        return SourceError(
            "unreadable",
            f"it could not be read: {error.strerror}",
            remedy="check the disk or the network; the next run tries again",
        )
    return SourceError("corrupt", f"the file is damaged: {error}", remedy="deliver the whole file again")
