r"""Escapes foreign text for people: file names, headers and cells that suppliers choose stay plain text.

Each channel reads some characters as commands: `<!channel>` notifies everybody, `![](http://…)` tells another host who
looks, a control character moves the cursor of a terminal. Such characters are replaced: in mail by HTML entities,
elsewhere by a look-alike that every client shows the same way; invisible ones are spelled out, such as \x1b. Characters
that only format text (`*`, `_`, `~`, `#`, a backtick) stay, and so does a bare URL: it shows where it leads.
"""

from collections.abc import Mapping
from typing import Literal

Channel = Literal["teams", "slack", "email", "sms", "webhook", "markdown"]
Table = Mapping[int, str]  # as str.translate takes it

# Control characters except tab and line end, marks of text direction, zero-width characters, other line ends.
_UNSEEN = (
    *((0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200B, 0x200B), (0x200E, 0x200F)),
    *((0x2028, 0x202E), (0x2060, 0x2069), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
)
UNSEEN = "".join(f"\\u{first:04x}-\\u{last:04x}" for first, last in _UNSEEN)  # for a character class of an expression

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
    "teams": {**_SPELLED, **_NO_TAGS, **_NO_LINKS},  # Markdown; <at>…</at> would become a mention
    "slack": {**_SPELLED, **_NO_TAGS},  # no entities: the Slack library turns &lt;!channel&gt; back into a command
    "email": {**_SPELLED, **_AS_HTML},
    "sms": _SPELLED,
    "webhook": _SPELLED,  # the sender encodes the JSON; its receiver has to escape the text for its own display
    "markdown": {**_SPELLED, **_NO_TAGS, **_NO_LINKS, **_NO_CELLS},
}
SUBJECTS: Mapping[Channel, Table] = {
    channel: {**(_SPELLED if channel == "email" else table), **_ONE_LINE} for channel, table in BODIES.items()
}


def plain(text: str) -> str:
    """Return text for logs and terminals."""
    return text.translate(_SPELLED)


def markdown(text: str) -> str:
    """Return text that is safe as one line of Markdown or as a table cell."""
    return text.translate(SUBJECTS["markdown"])
