"""Python source as ruff lays it out: what fits on a line stands on one, else each part has a line of its own.

A comma behind the last part keeps ruff from joining the lines again, so a line need not be measured as ruff does it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category, east_asian_width

LINE_CHARS = 120
INDENT = 4


@dataclass(frozen=True)
class Group:
    """Parts between brackets, such as the arguments of a call.

    Attributes:
        opens: The text before the parts, with the opening bracket.
        parts: The code of each part, with the text before it, such as the name of an argument.
        closes: The text behind the parts, with the closing bracket.
        always: Whether each part has a line of its own even where one line has room for all.
    """

    opens: str
    parts: Sequence[tuple[str, "Code"]]
    closes: str
    always: bool = False


Code = str | Group


def call(name: str, *arguments: Code, **named: Code) -> Group:
    """Return a call; an argument without a name comes first."""
    parts = [*(("", argument) for argument in arguments), *((f"{key}=", value) for key, value in named.items())]
    return Group(f"{name}(", parts, ")")


def literal(value: object) -> Code:
    """Return a text, a number, a truth value, or a tuple, list or mapping of them."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return Group("{", [(f"{_quoted(str(key))}: ", literal(part)) for key, part in value.items()], "}")
    if isinstance(value, tuple | list):
        opens, closes = "()" if isinstance(value, tuple) else "[]"
        return Group(opens, [("", literal(part)) for part in value], closes)
    return repr(value)


def _quoted(text: str) -> str:
    """Return a text in double quotes, or in single ones if it then has fewer to escape."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    escaped = repr(f'{text}"')[1:-2].replace("\\'", "'")  # both kinds in it: repr writes it in single quotes
    return f"{quote}{escaped.replace(quote, f'\\{quote}')}{quote}"


def laid_out(code: Code, before: str = "", behind: str = "") -> str:
    """Return code on one line, or on several where one is too short.

    Args:
        code: The code.
        before: What stands before it on its first line, with the indent of that line.
        behind: What stands behind it on its last line.
    """
    line = f"{before}{_flat(code)}{behind}"
    if isinstance(code, str) or not code.parts or not (code.always or width(line) > LINE_CHARS):
        return line
    return _spread(code, before, behind)


def _spread(code: Group, before: str, behind: str) -> str:
    """Return a group with a line, or several, for each part."""
    margin = " " * (len(before) - len(before.lstrip()))
    parts = [laid_out(part, f"{margin}{' ' * INDENT}{label}", ",") for label, part in code.parts]
    return "\n".join([f"{before}{code.opens}", *parts, f"{margin}{code.closes}{behind}"])


def _flat(code: Code) -> str:
    if isinstance(code, str):
        return code
    inner = ", ".join(f"{label}{_flat(part)}" for label, part in code.parts)
    comma = "," if code.opens == "(" and len(code.parts) == 1 else ""
    return f"{code.opens}{inner}{comma}{code.closes}"


def width(text: str) -> int:
    """Return how many columns the last line takes: two for a wide sign of East Asia, none for a mark on another."""
    line = text.rpartition("\n")[2]
    return sum(0 if category(char) in ("Mn", "Me", "Cf") else 1 + (east_asian_width(char) in "WF") for char in line)
