"""YAML that says what it looks like: no key twice, and no number that is another one than its text."""

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError


class _StrictLoader(yaml.SafeLoader):
    """Refuses what the usual loader changes in silence: the last of two equal keys wins there, and 010 is 8."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value!r} stands twice: make one of them", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return a whole number."""
        number = super().construct_yaml_int(node)
        if str(number) != node.value.lstrip("+"):
            problem = f"{node.value} would be the number {number}: write it in quotes if it is a text"
            raise ConstructorError(None, None, problem, node.start_mark)
        return number


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)


# A key with a sign behind it that YAML reads as its own, where it stands without quotes.
BARE_SIGN = re.compile(r"([A-Za-z_]+): *([,'\"|>#@%&*!`-])(?=[\s,}\]]|$)")


def fault(error: Exception, text: str) -> str:
    """Return why a text cannot be loaded: the line, what is wrong, and which sign needs quotes, if one does.

    Args:
        error: The error of the loader.
        text: The text.
    """
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None or problem is None:
        return str(error)
    bare = next(filter(None, map(BARE_SIGN.search, reversed(text.splitlines()[: mark.line + 1]))), None)
    quoted = f"; a sign needs quotes: `{bare[1]}: {json.dumps(bare[2])}`" if bare else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{quoted}"


def load(text: str) -> Any:
    """Return the document of a text.

    Raises:
        yaml.YAMLError: It is not YAML, has a key twice, or a number that is another one than its text.
    """
    return yaml.load(text, _StrictLoader)
