"""A parser that a hostile file has taken over: it runs the attack in its wishes, and reports the result."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freight.parsers.output import Output


def attempt(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Run the lines `attack`, which put their loot into `got`; send that, or the error with which they failed."""
    output.begin(["outcome"])
    output.row(1, [_outcome(wishes["attack"], {"path": path})])


def _outcome(attack: str, names: dict[str, Any]) -> str:
    try:
        exec(attack, names)
    except OSError as error:
        return f"refused: {errno.errorcode.get(error.errno or 0, error)}"
    return f"got {names.get('got')!r}"


def answer(path: Path, wishes: Mapping[str, Any], output: Output) -> None:
    """Run the lines `attack`, which may answer through `output` freely."""
    exec(wishes["attack"], {"path": path, "output": output})
