"""Secrets: which characters they may hold, and how messages of other programs are shown without them.

Each secret enters through `accepted`. Code that receives one runs in `secretly`, or its messages pass `redacted`:
libraries, servers and drivers repeat their input.
"""

import base64
import html
import logging
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from freight.errors import ConfigurationError

log = logging.getLogger("freight")

HIDDEN = "***"
LEFT_OUT = "the message is left out, since it repeats a secret"
LEAST_CHARS = 4  # shorter ones are easy to guess, and appear in common words
PIECE_CHARS = 8  # a part this long counts as a leak: a library may cut a secret, or change the characters around it
BASE64_CHARS = 4  # in a group, which encodes three bytes

AS_STANDARD_BASE64 = str.maketrans("-_", "+/")
LINE_END = re.compile(r"\r?\n\Z")
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
NAMES = {"\0": "a NUL", "\t": "a tab", "\n": "a line end", "\r": "a carriage return", "\x7f": "a DEL"}
KINDS = {
    "Cc": "a control character",
    "Zl": "a line separator (U+2028)",
    "Zp": "a paragraph separator (U+2029)",
    "Cs": "half a character (a surrogate)",
}


def accepted(secret: str, what: str, *, ascii_only: bool = False) -> str:
    """Return a secret ready for use: without the final line end that editors and shells add.

    Args:
        secret: The text from a form, a vault, a variable or a URL.
        what: The name of the secret for people, such as "the password of the Warehouse block".
        ascii_only: True if its transport carries only ASCII.

    Raises:
        ConfigurationError: The secret holds a character that no transport keeps; the message never shows it.
    """
    used = LINE_END.sub("", secret)
    if used != secret:
        log.warning("%s ends with a line end, which is ignored: enter it again without one", what)
    refuse_control_characters(used, what)
    if ascii_only and not used.isascii():
        raise ConfigurationError(f"{what} has a character that is not ASCII, which cannot be sent: choose another one")
    return used


def refuse_control_characters(text: str, what: str) -> None:
    """Refuse characters at which a library would cut a text or end a header, and then quote the text in an error.

    Raises:
        ConfigurationError: The text holds such a character; the message names only its kind.
    """
    for character in text:
        if kind := KINDS.get(unicodedata.category(character)):
            raise ConfigurationError(f"{what} has {NAMES.get(character, kind)} in it: enter it again without it")


def redacted(text: str, *secrets: str) -> str:
    """Return a message with stars in place of secrets; if that is not enough, drop the whole message.

    Args:
        text: The message of a library, a driver or a server.
        secrets: The secrets that it received; those of fewer than four characters are ignored.
    """
    known = [secret for secret in secrets if len(secret) >= LEAST_CHARS]
    for secret in known:
        text = text.replace(secret, HIDDEN)
    return LEFT_OUT if any(_shows(text, secret) for secret in known) else text


def secretly[T](call: Callable[[], T], *secrets: str) -> T:
    """Call code that uses secrets; its errors leave without them, and without their chain of causes.

    Raises:
        Exception: The error of the call, of the same type where its message can be shown.
    """
    try:
        return call()
    except Exception as error:
        safe = _without(error, secrets)
    raise safe  # outside the handler, so that the original is not its context


def _without(error: Exception, secrets: tuple[str, ...]) -> Exception:
    shown = " ".join(_words(error))
    if redacted(shown, *secrets) == shown:
        return error
    if isinstance(error, UnicodeError):  # it keeps the whole text that could not be encoded
        return ConfigurationError("a secret has a character that cannot be sent: choose another one")
    try:
        return type(error)(*(_cleaned(argument, secrets) for argument in error.args))
    except TypeError:
        return ConfigurationError(f"{type(error).__name__}: {redacted(str(error), *secrets)}")


def _words(error: BaseException | None) -> Iterator[str]:
    """Yield all that a traceback shows of an error and of its causes."""
    while error is not None:
        yield f"{error} {error.args!r} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or error.__context__


def _cleaned(argument: object, secrets: tuple[str, ...]) -> object:
    match argument:
        case str():
            return redacted(argument, *secrets)
        case bytes():
            return redacted(argument.decode(errors="replace"), *secrets).encode()
        case None | int():
            return argument
        case _:
            return redacted(str(argument), *secrets)


def _shows(text: str, secret: str) -> bool:
    views = {text, unquote(text), unquote_plus(text), html.unescape(text), _unescaped(text)}
    views |= {view.translate(AS_STANDARD_BASE64) for view in views}
    return any(_has_piece(view, pieces) for pieces in _pieces(secret) for view in views)


def _has_piece(text: str, pieces: frozenset[str]) -> bool:
    size = len(next(iter(pieces)))
    return any(text[start : start + size] in pieces for start in range(len(text) - size + 1))


@lru_cache(maxsize=64)  # an unreachable broker causes many messages a second
def _pieces(secret: str) -> tuple[frozenset[str], ...]:
    """Return the pieces of a secret and of its base64 forms; the pieces of one set have equal length."""
    return tuple(_cut(form) for form in (secret, *_in_base64(secret)))


def _cut(form: str) -> frozenset[str]:
    size = min(len(form), PIECE_CHARS)
    return frozenset(form[start : start + size] for start in range(len(form) - size + 1))


def _in_base64(secret: str) -> Iterator[str]:
    """Yield the base64 forms of a secret at each offset, for instance after a user and a colon."""
    raw = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        core = whole[BASE64_CHARS if before else 0 :]  # the first group also encodes the text before
        core = core[: len(core) - len(core) % BASE64_CHARS]  # the last group also encodes the text after
        if len(core) >= BASE64_CHARS:
            yield core


def _unescaped(text: str) -> str:
    """Undo the backslash escapes of Python, JSON or a connection string."""
    return ESCAPE.sub(lambda found: found[3] or chr(int(found[1] or found[2], 16)), text)
