r"""Text of others on its way to people: names of files, headers and cells do nothing where they are shown.

A supplier chooses them, and each channel reads some signs as orders: `<!channel>` wakes everybody, `![](http://…)`
tells another host who looks, a control character moves the cursor of a terminal. What is read as an order is replaced:
in mail by HTML's own spelling, elsewhere by a sign that looks alike, which every reader shows the same; what nobody
sees is spelled out, such as \x1b. Signs that only change how text looks (`*`, `_`, `~`, `#`, a backtick) stay, and so
does a bare address: it shows where it leads.
"""

from collections.abc import Mapping
from typing import Literal

Channel = Literal["teams", "slack", "email", "sms", "webhook", "markdown"]
Table = Mapping[int, str]  # as str.translate takes it

# Control characters but tab and line end, marks that turn the direction of text, signs without width, other line ends.
_UNSEEN = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200B, 0x200B), (0x200E, 0x200F)),
    *((0x2028, 0x202E), (0x2060, 0x2069), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
)
UNSEEN = "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in _UNSEEN)  # within brackets of a regular expression

_SPELLED: Table = {
    code: chr(code).encode("unicode_escape").decode() for first, last in _UNSEEN for code in range(first, last + 1)
}
_ONE_LINE: Table = {ord("\n"): " ", ord("\t"): " "}

_NO_TAGS = {ord("<"): "‹", ord(">"): "›"}
_NO_LINKS = {ord("["): "［", ord("]"): "］"}
_NO_CELLS = {ord("|"): "¦"}
_AS_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "\n": "<br>\n"},
)

BODIES: Mapping[Channel, Table] = {
    "teams": {**_SPELLED, **_NO_TAGS, **_NO_LINKS},  # Markdown, and <at>…</at> becomes a mention
    "slack": {**_SPELLED, **_NO_TAGS},  # no entities: what sends to Slack makes &lt;!channel&gt; live again
    "email": {**_SPELLED, **_AS_HTML},
    "sms": _SPELLED,
    "webhook": _SPELLED,  # JSON is spelled where it is made; what the receiver makes of text is its own affair
    "markdown": {**_SPELLED, **_NO_TAGS, **_NO_LINKS, **_NO_CELLS},
}
SUBJECTS: Mapping[Channel, Table] = {
    channel: {**(_SPELLED if channel == "email" else table), **_ONE_LINE} for channel, table in BODIES.items()
}


def plain(text: str) -> str:
    """Return text for logs and terminals."""
    return text.translate(_SPELLED)


def markdown(text: str) -> str:
    """Return text as one line of Markdown, or a cell of a table, in which it is nothing but text."""
    return text.translate(SUBJECTS["markdown"])
