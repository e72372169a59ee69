"""Text that a spreadsheet would calculate when it opens a CSV file, and what keeps it text.

A cell is live if it begins with one of `= + - @`, also in full width: these are the signs that OWASP names, here after
whatever blanks, quotes or characters that nobody sees. Where a machine separates lists by semicolons, a spreadsheet
cuts text at semicolons and line ends although it is in quotes, as soon as a number stands before it in its row: so a
part of a text may be live, too.
"""

import re

GUARD = "'"  # seen in the cell, unlike a tab, and what people know to mean text

_LIVE = "=+\\-@＝＋－＠"
_CUT = ";\t\r\n"
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x20\"'\x7f-\xa0\xad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
)

_ANY_CUT = re.compile(f"[{_CUT}]")
# Each run of what is skipped is looked at once, from its beginning: a text of many semicolons must not take its square.
BEFORE_LIVE = re.compile(
    f"(?:\\A[{_UNSEEN}{_CUT}]*+|(?<![{_UNSEEN}{_CUT}])(?=[{_UNSEEN}]*+[{_CUT}])[{_UNSEEN}{_CUT}]++)(?=[{_LIVE}])"
)


def guarded(text: str) -> str:
    """Return text that no spreadsheet calculates: an apostrophe stands before each character that would make it live.

    Text that differs before it differs after it, so to take one apostrophe away at the same places gives the text back.
    """
    if text[:1].isalnum() and not _ANY_CUT.search(text):
        return text  # as nearly all are: to look at them in full takes ten times as long
    return BEFORE_LIVE.sub(rf"\g<0>{GUARD}", text)
