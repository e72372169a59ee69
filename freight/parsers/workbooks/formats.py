"""What number formats show beside the number of a cell: a unit, a percent sign, thousands as ones."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|\[\$(?P<currency>[^\]-]*)[^\]]*\]|(?P<quiet>\[[^\]]*\]|[_*].|General|E[+-])'
    r"|(?P<scale>(?<=[0#?]),+(?![0#?,]))|(?P<bare>[^0#?.,;@\s])",
    re.IGNORECASE | re.DOTALL,
)
SECTION_END = re.compile(r'("[^"]*"?|\\.)|;', re.DOTALL)
SHOWN_SECTIONS = 2  # of numbers above zero, and below it
SCALED = "thousands"
AROUND = " \u00a0\u202f.,:;/()[]+-_'’"
PLAIN = re.compile(r"[\d\s.,'’()+/-]*(?:E[+-]?\d+)?", re.IGNORECASE)


@lru_cache(maxsize=1_000)
def unit_in_format(code: str) -> str:
    """Return the unit that a number format shows, such as kg, %, € or thousands; empty if it shows none."""
    sections = SECTION_END.sub(lambda found: found[1] or "\0", code).split("\0")
    return next((unit for section in sections[:SHOWN_SECTIONS] for unit in _units(section)), "")


def unit_in_text(shown: str) -> str:
    """Return the unit in the text that a cell with a number shows; empty if it shows none."""
    return "" if PLAIN.fullmatch(shown) else _bare("".join(char for char in shown if not char.isdigit()))


def _units(section: str) -> Iterator[str]:
    """Yield what a section of a format shows: a scale first, then its signs and words."""
    tokens = [*TOKEN.finditer(section)]
    yield from (SCALED for token in tokens if token["scale"])
    pieces = (token["quoted"] or token["escaped"] or token["currency"] or token["bare"] or "" for token in tokens)
    if unit := _bare("".join(pieces)):
        yield unit


def _bare(text: str) -> str:
    """Return a text without the signs around it; empty if it has no letter, digit or sign of a unit."""
    return text.strip(AROUND) if any(map(_tells, text)) else ""


def _tells(char: str) -> bool:
    return char.isalnum() or char in "%‰°" or unicodedata.category(char) == "Sc"
