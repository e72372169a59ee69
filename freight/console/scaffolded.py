"""The words for people about a source that was made from a sample."""

import difflib
from collections.abc import Iterator
from pathlib import Path

from freight.scaffold import Scaffold
from freight.settings import PROJECT_ROOT


def scaffold_lines(made: Scaffold, *, dry_run: bool) -> Iterator[str]:
    """List the files that were or would be written, and the decisions left to a person."""
    kind = "the new dataset" if made.is_new else "the dataset"
    yield f"{kind} {made.contract.dataset}: table {made.contract.table}, key {', '.join(made.contract.business_key)}"
    verbs = ("WOULD WRITE", "WOULD CHANGE") if dry_run else ("WROTE", "CHANGED")
    for verb, files in zip(verbs, (made.new, made.changed), strict=True):
        for path, content in files.items():
            yield f"{verb} {_short(path)}"
            if dry_run and path != made.data:
                yield _difference(path, content.decode())
    if made.data:
        yield f"{_short(made.data)} holds unchanged rows of the sample: {made.counts}"
        yield "  check it for personal data before you commit it"
    else:
        yield f"the first rows of the sample: {made.counts}"
    yield from (f"LEFT OUT {part}" for part in made.left_out)
    for question in made.to_decide:
        yield f"TO DECIDE {question}"


def next_steps(name: str, made: Scaffold) -> Iterator[str]:
    """List the next steps for a source."""
    yield "Next:"
    if made.is_new:
        yield "  dpa migrate"
    yield f"  dpa sources check {name}"
    if made.data:
        yield f'  make test ARGS="tests/sources/test_{name}.py"'


def _difference(path: Path, text: str) -> str:
    """Return the additions to a file: all of its text if it is new, else the added lines."""
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    changes = difflib.unified_diff(before, text.splitlines(), n=0, lineterm="")
    return text if not before else "\n".join(line for line in changes if line[:3] not in ("---", "+++"))


def _short(path: Path) -> Path:
    return path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path
