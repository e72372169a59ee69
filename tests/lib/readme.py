"""The commands and files in the README and the other documents."""

import re

from freight.settings import PROJECT_ROOT

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """Return the fenced block of the README that contains a text, without comments."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (found,) = (found for found in blocks if containing in found)
    return re.sub(r" +#.*", "", found)


def line(language: str, start: str) -> str:
    """Return the line of the README's fenced blocks that starts with a text, without its comment."""
    (found,) = (line for line in block(language, start).splitlines() if line.startswith(start))
    return found


def files_to_write(page: str) -> dict[str, str]:
    """Return the files that a page asks the reader to write, each under a heading with its path."""
    return dict(re.findall(r"^### `([^`]+)`$.*?^```(?:python|yaml|csv)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
