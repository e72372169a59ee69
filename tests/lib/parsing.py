"""Parses files in this process, for tests of values: a process for each file would take most of their time.

The process, its limits and its confinement are left out. Tests of these, and of the rules for every reader, have the
mark `apart`; loads that run in processes of their own parse as in production, too.
"""

import io
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from freight.parsers import work
from freight.parsers.output import Output
from freight.readers import isolated


class ParserHere:
    """A stand-in for the process of a parser, with its output in memory."""

    stdin = None

    def __init__(self) -> None:
        self.stdout = io.BytesIO()

    def wait(self) -> int:
        """Return the exit code of a successful parser."""
        return 0


@contextmanager
def parsed_here() -> Iterator[None]:
    """Make readers parse their files in this process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(isolated, "_start", lambda _folder: ParserHere())
        patched.setattr(isolated, "_give", _parse)
        patched.setattr(isolated, "_kill", lambda _parser: None)
        yield


def _parse(here: ParserHere, task: Mapping[str, Any]) -> None:
    """Parse a file as the process would after it received its task, which is JSON there."""
    told = json.loads(json.dumps(task))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        work._answer(Output(here.stdout), work._parser(told["parser"]), Path(told["path"]), told["wishes"])
    here.stdout.seek(0)
