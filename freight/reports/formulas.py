"""Guards text that a spreadsheet would calculate when it opens a CSV file.

A cell is live if it begins with one of `= + - @`, also in full width: the characters that OWASP names, here after any
spaces, quotes or invisible characters. On a machine whose list separator is the semicolon, a spreadsheet cuts even
quoted text at semicolons and line ends as soon as a number precedes it in its row: so a part of a text can be live too.
"""

import re

GUARD = "'"  # visible in the cell, unlike a tab, and known to people as the mark of text

_LIVE = "=+\\-@＝＋－＠"
_CUT = ";\t\r\n"
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x20\"'\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
)

_ANY_CUT = re.compile(f"[{_CUT}]")
# Each run of skipped characters is scanned once, from its start: many semicolons must not cost quadratic time.
BEFORE_LIVE = re.compile(
    f"(?:\\A[{_UNSEEN}{_CUT}]*+|(?<![{_UNSEEN}{_CUT}])(?=[{_UNSEEN}]*+[{_CUT}])[{_UNSEEN}{_CUT}]++)(?=[{_LIVE}])"
)


def guarded(text: str) -> str:
    """Return text that no spreadsheet calculates: with an apostrophe before each character that would make it live.

    Different texts stay different: removing one apostrophe at the same places restores the text.
    """
    if text[:1].isalnum() and not _ANY_CUT.search(text):
        return text  # nearly all texts: a full scan takes ten times as long
    return BEFORE_LIVE.sub(rf"\g<0>{GUARD}", text)
