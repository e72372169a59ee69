"""Lays out Python source like ruff: on one line if it fits, else with a line for each part.

A comma after the last part keeps ruff from joining the lines again, so lines need not be measured exactly like ruff's.
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
        closes: The text after the parts, with the closing bracket.
        always: Whether each part has a line of its own even if all of them fit on one.
    """

    opens: str
    parts: Sequence[tuple[str, "Code"]]
    closes: str
    always: bool = False


Code = str | Group


def call(name: str, *arguments: Code, **named: Code) -> Group:
    """Return a call; arguments without a name come first."""
    parts = [*(("", argument) for argument in arguments), *((f"{key}=", value) for key, value in named.items())]
    return Group(f"{name}(", parts, ")")


def literal(value: object) -> Code:
    """Return the literal of a text, number or boolean, or of a tuple, list or mapping of them."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return Group("{", [(f"{_quoted(str(key))}: ", literal(part)) for key, part in value.items()], "}")
    if isinstance(value, tuple | list):
        opens, closes = "()" if isinstance(value, tuple) else "[]"
        return Group(opens, [("", literal(part)) for part in value], closes)
    return repr(value)


def _quoted(text: str) -> str:
    """Return a text in double quotes, or in single quotes if these need fewer escapes."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    escaped = repr(f'{text}"')[1:-2].replace("\\'", "'")  # with both kinds in it, repr uses single quotes
    return f"{quote}{escaped.replace(quote, f'\\{quote}')}{quote}"


def laid_out(code: Code, before: str = "", behind: str = "") -> str:
    """Return code on one line, or on several if it does not fit.

    Args:
        code: The code.
        before: The text before it on its first line, with the indent of that line.
        behind: The text after it on its last line.
    """
    line = f"{before}{_flat(code)}{behind}"
    if isinstance(code, str) or not code.parts or not (code.always or width(line) > LINE_CHARS):
        return line
    return _spread(code, before, behind)


def _spread(code: Group, before: str, behind: str) -> str:
    """Return a group with one or more lines for each part."""
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
    """Return the width of the last line in columns: two for a wide East Asian character, none for a combining mark."""
    line = text.rpartition("\n")[2]
    return sum(0 if category(char) in ("Mn", "Me", "Cf") else 1 + (east_asian_width(char) in "WF") for char in line)
