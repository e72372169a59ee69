"""The patch that teaches a contract other headers of its columns, ready for `git apply`."""

import ast
import difflib
import json
from collections.abc import Mapping
from functools import reduce
from pathlib import Path

from freight import contracts

CONTEXT_LINES = 2
FOLDER = "freight/contracts"


def alias_patch(dataset: str, aliases: Mapping[str, str]) -> str:
    """Return the unified diff that adds aliases to columns; empty where the contract is not written out in calls.

    Args:
        dataset: whose module is changed.
        aliases: a header by column.
    """
    path = Path(contracts.__file__).with_name(f"{dataset}.py")
    try:
        old = path.read_text(encoding="utf-8")
    except OSError:
        return ""
    new = reduce(lambda source, alias: _with_alias(source, *alias), aliases.items(), old)
    name = f"{FOLDER}/{path.name}"
    before, after = old.split("\n"), new.split("\n")  # only this ends a line for git, too
    return "\n".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", n=CONTEXT_LINES, lineterm=""))


def _with_alias(source: str, column: str, alias: str) -> str:
    """Return the source of a contract with one alias more."""
    call = _call_of(source, column)
    if call is None:
        return source
    aliases = next((keyword.value for keyword in call.keywords if keyword.arg == "aliases"), None)
    literal = json.dumps(alias, ensure_ascii=not alias.isprintable())
    if isinstance(aliases, ast.Tuple) and aliases.elts:
        return _insert(source, aliases.elts[-1], f", {literal}")
    if aliases is not None:
        return source
    last = call.keywords[-1].value if call.keywords else call.args[-1]
    return _insert(source, last, f", aliases=({literal},)")


def _call_of(source: str, column: str) -> ast.Call | None:
    """Return the call that makes a column."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    named = (call for call in calls if call.args and isinstance(call.func, ast.Name) and call.func.id == "Column")
    return next((c for c in named if isinstance(c.args[0], ast.Constant) and c.args[0].value == column), None)


def _insert(source: str, node: ast.expr, text: str) -> str:
    """Insert text behind a node; its place is told in bytes of UTF-8."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = source.encode().split(b"\n")
    line = lines[node.end_lineno - 1]
    lines[node.end_lineno - 1] = line[: node.end_col_offset] + text.encode() + line[node.end_col_offset :]
    return b"\n".join(lines).decode()
