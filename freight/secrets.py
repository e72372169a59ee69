"""What is secret: which signs it may hold, and how the words of others are told without it.

A secret enters by `accepted`. What is given one is called by `secretly`, or its words are told by `redacted`:
libraries, servers and drivers repeat what they were sent.
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
LEFT_OUT = "what it says is left out, since it repeats a secret"
LEAST_CHARS = 4  # who guesses finds shorter ones anyway, and common words are full of them
PIECE_CHARS = 8  # as much of a secret as nobody may see: a library may have cut it, or changed the signs around
BASE64_CHARS = 4  # of which each group stands for three bytes

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
    """Return a secret as it is used: without a line end behind it, which editors and shells add unasked.

    Args:
        secret: as it was typed, or as a vault, a variable or a URL holds it.
        what: Its name for people, such as "the password of the Warehouse block".
        ascii_only: True if it is sent by a way that carries only ASCII.

    Raises:
        ConfigurationError: it holds a character that no transport carries as it is; the message never shows it.
    """
    used = LINE_END.sub("", secret)
    if used != secret:
        log.warning("%s ends with a line end, which is left out: write it anew without one", what)
    refuse_control_characters(used, what)
    if ascii_only and not used.isascii():
        raise ConfigurationError(f"{what} has a character that is not ASCII, which cannot be sent: choose another one")
    return used


def refuse_control_characters(text: str, what: str) -> None:
    """Refuse what a library would cut a text at, or take for the end of a header, and then repeat.

    Raises:
        ConfigurationError: it holds such a character; the message names its kind alone.
    """
    for character in text:
        if kind := KINDS.get(unicodedata.category(character)):
            raise ConfigurationError(f"{what} has {NAMES.get(character, kind)} in it: write it anew without it")


def redacted(text: str, *secrets: str) -> str:
    """Return words of others without secrets: with stars in their place, or none of the words if that is not enough.

    Args:
        text: The words of a library, a driver or a server.
        secrets: The secrets that they were sent; one of fewer than four characters is none.
    """
    known = [secret for secret in secrets if len(secret) >= LEAST_CHARS]
    for secret in known:
        text = text.replace(secret, HIDDEN)
    return LEFT_OUT if any(_shows(text, secret) for secret in known) else text


def secretly[T](call: Callable[[], T], *secrets: str) -> T:
    """Call what is given secrets; its errors come without them, and without the errors they came from.

    Raises:
        Exception: what the call raises, of the same kind where its words can be told.
    """
    try:
        return call()
    except Exception as error:
        told = _without(error, secrets)
    raise told  # out here, where nothing is left of the other one


def _without(error: Exception, secrets: tuple[str, ...]) -> Exception:
    shown = " ".join(_words(error))
    if redacted(shown, *secrets) == shown:
        return error
    if isinstance(error, UnicodeError):  # which keeps the whole text that could not be encoded
        return ConfigurationError("a secret has a character that cannot be sent: choose another one")
    try:
        return type(error)(*(_cleaned(argument, secrets) for argument in error.args))
    except TypeError:
        return ConfigurationError(f"{type(error).__name__}: {redacted(str(error), *secrets)}")


def _words(error: BaseException | None) -> Iterator[str]:
    """Yield what a traceback tells of an error and of those it came from."""
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


@lru_cache(maxsize=64)  # a broker that is away is told of many times a second
def _pieces(secret: str) -> tuple[frozenset[str], ...]:
    """Return the pieces of a secret, and those of what base64 makes of it; those of a set are equally long."""
    return tuple(_cut(form) for form in (secret, *_in_base64(secret)))


def _cut(form: str) -> frozenset[str]:
    size = min(len(form), PIECE_CHARS)
    return frozenset(form[start : start + size] for start in range(len(form) - size + 1))


def _in_base64(secret: str) -> Iterator[str]:
    """Yield what base64 makes of a secret wherever it begins, such as behind a user and a colon."""
    raw = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        core = whole[BASE64_CHARS if before else 0 :]  # the first group is of what stood before, too
        core = core[: len(core) - len(core) % BASE64_CHARS]  # so is the last one, of what follows
        if len(core) >= BASE64_CHARS:
            yield core


def _unescaped(text: str) -> str:
    """Return a text as it was before Python, JSON or a connection string put backslashes into it."""
    return ESCAPE.sub(lambda found: found[3] or chr(int(found[1] or found[2], 16)), text)
