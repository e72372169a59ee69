"""The encoding of a text file: the whole file is the evidence, and if two encodings explain it, no guess is made.

Bytes that are all valid UTF-8 may still be cp1252: `É` and a no-break space are one Greek-looking letter in UTF-8. And
nearly every byte is a character of cp1252, so a text of another code page reads as `caf‚` there. Both are reported.
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import BinaryIO

from freight.errors import SourceError
from freight.readers.packed import READ_BLOCK_BYTES

START_BYTES = 4096
HIGH = bytes(range(0x80, 0x100))
HIGH_BYTE = re.compile(rb"[\x80-\xff]")
UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
LONGEST_LINE_BYTES = 65_536
BETWEEN_CELLS = bytes.maketrans(b"\r\t,;|", b"\n" * 5)

# A French letter and a sign that may follow it in cp1252, such as a no-break space or a closing quote: valid UTF-8 too.
LETTER = rb"[\xc7-\xcb\xce\xcf\xd4\xd9\xdb\xdc\xe0\xe7-\xeb\xee\xef\xf4]"
FOLLOWER = rb"[\x85\x92\x94\x96\x97\x99\xa0\xb0\xbb]"
EITHER = re.compile(LETTER + FOLLOWER + rb"{1,3}")

# Sequences that do not occur in cp1252 text, but in text of MS-DOS, of a Mac or in Chinese if it is read as cp1252: a
# byte that is no character, a sign within a word or right after one, an upper-case letter after a lower-case one or
# between both, a lower-case one among upper-case ones, two signs in a row, an accent alone before a letter, a fraction
# before another sign, five letters in a row of which none is plain.
SIGNS = rb"\xa1-\xa9\xac-\xaf\xb1\xb4\xb6\xb8\xbc-\xbf"
UPPER, LOWER = rb"\x8a\x8c\x8e\x9f\xc0-\xd6\xd8-\xde", rb"\x9a\x9c\x9e\xe0-\xf6\xf8-\xff"
NO_CP1252 = re.compile(
    rb"[\x81\x8d\x8f\x90\x9d]"
    rb"|[A-Za-z][\x80\x82-\x89\x8b\x91\x93-\x95\x98\x99\x9b" + SIGNS + rb"][A-Za-z]"
    rb"|[A-Za-z][\x82-\x84\x88\x89\x8b\x98]"
    rb"|[a-z][" + UPPER + rb"](?![A-Z])|[A-Z][" + UPPER + rb"][a-z]"
    rb"|[A-Z]{2}[" + LOWER + rb"]|(?<![a-z" + LOWER + rb"])[" + LOWER + rb"][A-Z]"
    rb"|[" + SIGNS + rb"]{2}"
    rb"|[\xa4\xa8\xaf\xb8][A-Za-z" + UPPER + LOWER + rb"]|[\xbc-\xbe][\x80-\xff]|[" + UPPER + LOWER + rb"]{5}"
)
# Other encodings in which people write French and German, and what does not occur in such a text: another character, an
# accent next to a digit, a case as above, a letter or sign where no word has it.
RIVALS = ("cp850", "mac_roman")
SMALL, LARGE = "éèêëàâäçôöûùüîïœ", "ÉÈÊËÀÂÄÇÔÖÛÙÜÎÏŒ"
ANY = f"a-zA-Z{SMALL}{LARGE}ß"
NO_FRENCH = re.compile(
    rf"[^\x00-\x7f{SMALL}{LARGE}ß«»’°€]"
    rf"|[{SMALL}{LARGE}ß](?=[0-9])|(?<=[0-9])[{SMALL}{LARGE}ß]"
    rf"|(?<=[a-z{SMALL}])[{LARGE}]|(?<=[A-Z{LARGE}])[{LARGE}](?=[a-z])"
    rf"|(?<=[A-Z{LARGE}][A-Z{LARGE}])[{SMALL}]|(?<![a-z{SMALL}])[{SMALL}](?=[A-Z])"
    rf"|(?<![{ANY}])[ÈËÏÙÛÔ](?=[a-z])|(?<![{ANY}’'])[{SMALL}{LARGE}](?<![àÀ])(?![{ANY}’'.])"
    rf"|[œŒ](?![uUiI])|À(?=[A-Z])|(?<=[a-z])(?<![lj])à|[ôö](?![{ANY}])|(?<![aeiouäöüAEIOU])ß"
    rf"|«(?! )|(?<! )»|(?<![{ANY}])’|(?<=[{ANY}][{ANY}])’|’(?![{ANY}])|°(?=[a-zA-Z])(?!°[CF])|(?<![ 0-9])€|€(?=[{ANY}])"
)
SHOWN_BYTES = 12  # on each side of the bytes that rule out an encoding
SAMPLE_BYTES = 1 << 14  # of the lines that candidates have to read
# Encodings that sources are likely to use.
OTHERS = ("cp850", "cp437", "mac_roman", "cp1250", "cp1251", "cp1256", "gb18030", "big5", "shift_jis", "euc_kr")
# Of those with two bytes a character: an encoding in which common characters begin with some bytes, and these bytes. A
# text that is read in the wrong one of them is full of rare characters.
COMMON = {
    "gb18030": ("gb2312", range(0xB0, 0xD8)),
    "big5": ("big5", range(0xA4, 0xC7)),
    "shift_jis": ("shift_jis", range(0x88, 0x99)),
    "euc_kr": ("euc_kr", range(0xB0, 0xC9)),
}
KANA = range(0x3041, 0x30FF)
COMMON_SHARE = 0.7  # names of people and places have rare characters, too
MOST_CANDIDATES = 4
SHOWN_CHARS = 24
BETWEEN_TEXTS = re.compile(r"[\t\r\n,;|]")
LONG_LATIN = re.compile("[\u0080-\u024f]{5}")  # no word has so many letters with accents in a row


def detect_encoding(start: bytes, rest: BinaryIO, declared: str | None = None) -> tuple[str, bool]:
    """Return the encoding of a whole file, and whether it is UTF-8 with some stray bytes.

    A byte order mark decides, then the zeros of UTF-16, then all bytes together: UTF-8 or cp1252.

    Args:
        start: The first bytes of the file, at least `START_BYTES` if it has as many.
        rest: The stream of the bytes after them.
        declared: The encoding that the catalog names.

    Raises:
        SourceError: Both explain the bytes, or neither does.
    """
    encoding = declared or encoding_of_start(start[:START_BYTES])
    if encoding and not _is_utf8(encoding):
        return encoding, False
    evidence = _Evidence.gather(start, rest)
    return ("utf-8", not evidence.is_utf8) if encoding else evidence.decide()


def encoding_of_start(start: bytes) -> str | None:
    """Return the encoding that a byte order mark names, or the zeros of UTF-16; None if the start has neither."""
    return _by_mark(start) or _by_zeros(start)


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "utf-8-sig"}


def _by_mark(start: bytes) -> str | None:
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    return next((encoding for mark, encoding in marks.items() if start.startswith(mark)), None)


def _by_zeros(start: bytes) -> str | None:
    """Detect UTF-16 without a byte order mark: every second byte of Latin text is zero."""
    half = max(len(start) // 2, 1)
    odd, even = start[1::2].count(0) / half, start[0::2].count(0) / half
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 and odd < 0.1 else None


class _Evidence:
    """Evidence of a file's encoding, gathered block by block.

    Attributes:
        is_utf8: Whether all bytes are UTF-8.
    """

    def __init__(self) -> None:
        self.is_utf8 = True
        self._is_proven = False  # whether there is UTF-8 that cp1252 does not explain
        self._high_bytes = self._explained_bytes = 0
        self._either = self._no_cp1252 = b""  # the first text of each kind
        self._sample = b""  # the first lines beyond ASCII
        self._rivals = dict.fromkeys(RIVALS, b"")  # the encodings that explain all bytes as well, with the first text
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @classmethod
    def gather(cls, start: bytes, rest: BinaryIO) -> "_Evidence":
        """Read a stream to its end."""
        evidence, block, carried = cls(), start, b""
        while block:
            evidence._decode(block, final=False)
            lines, end, carried = (carried + block).rpartition(b"\n")
            if len(carried) > LONGEST_LINE_BYTES:
                lines, carried = lines + end + carried, b""
            evidence._look(lines)
            block = rest.read(READ_BLOCK_BYTES)
        evidence._look(carried)
        evidence._decode(b"", final=True)
        return evidence

    def decide(self) -> tuple[str, bool]:
        """Return the encoding, and whether it is UTF-8 with stray bytes.

        Raises:
            SourceError: Both UTF-8 and cp1252 explain the bytes, or neither does.
        """
        if self.is_utf8 and self._either and not self._is_proven:
            raise _undecided(self._either, "utf-8")
        if self.is_utf8:
            return "utf-8", False
        if not self._is_proven and not self._no_cp1252:
            for name, text in self._rivals.items():
                raise _undecided(text, name)
            return "cp1252", False
        if self._is_proven and 2 * self._explained_bytes >= self._high_bytes:
            return "utf-8", True
        raise self._unknown()

    def _decode(self, block: bytes, *, final: bool) -> None:
        if self.is_utf8:
            try:
                self._decoder.decode(block, final)
            except UnicodeDecodeError:
                self.is_utf8 = False

    def _look(self, block: bytes) -> None:
        if block.isascii():
            return
        high_bytes = len(block) - len(block.translate(None, HIGH))
        self._high_bytes += high_bytes
        self._note_sample(block)
        self._explained_bytes += high_bytes if self.is_utf8 else sum(map(len, UTF8.findall(block)))
        if not self._is_proven:
            cells = _cells_beyond_ascii(block)
            self._note_sequences(cells)
            self._note_text(cells)

    def _note_sample(self, block: bytes) -> None:
        lines = iter(block.split(b"\n") if len(self._sample) < SAMPLE_BYTES else ())
        while len(self._sample) < SAMPLE_BYTES and (line := next((line for line in lines if not line.isascii()), b"")):
            self._sample += line[:SAMPLE_BYTES] + b"\n"

    def _note_sequences(self, cells: bytes) -> None:
        for found in UTF8.finditer(cells):
            if not EITHER.fullmatch(found[0]):
                self._is_proven = True
                return
            self._either = self._either or _around(cells, found)

    def _note_text(self, cells: bytes) -> None:
        if not self._no_cp1252 and (found := NO_CP1252.search(cells)):
            self._no_cp1252 = _around(cells, found)
        if first := HIGH_BYTE.search(cells):
            explained = {name for name in self._rivals if not NO_FRENCH.search(cells.decode(name))}
            self._rivals = {name: self._rivals[name] or _around(cells, first) for name in explained}

    def _unknown(self) -> SourceError:
        shown = f": in cp1252 they contain {self._no_cp1252.decode('cp1252', 'replace')!r}" if self._no_cp1252 else ""
        readings = dict(_readings(self._sample))
        likely = "; ".join(f"{name} reads {text!r}" for name, text in readings.items())
        named = next(iter(readings), "NAME")
        return SourceError(
            "unknown_encoding",
            f"the bytes are neither UTF-8 nor cp1252{shown}",
            remedy=f"name the encoding in the catalog, such as `options: {{encoding: {named}}}`, then `dpa retry`"
            + ("; if the text above is right, `options: {encoding: cp1252}`" if shown else "")
            + (f". Likely readings: {likely}" if likely else "; ask the owner of the source for it"),
        )


def _cells_beyond_ascii(block: bytes) -> bytes:
    """Return the cells that have other letters than ASCII, one a line, each once: a file has many rows of each."""
    cells = set(block.translate(BETWEEN_CELLS).split(b"\n"))
    return b"\n".join(sorted(cell for cell in cells if not cell.isascii()))


def _undecided(sample: bytes, other: str) -> SourceError:
    as_other, as_cp1252 = (sample.decode(name, "replace") for name in (other, "cp1252"))
    shown = other.upper() if other == "utf-8" else other
    return SourceError(
        "unknown_encoding",
        f"the bytes can be {shown} ({as_other!r}) or cp1252 ({as_cp1252!r})",
        remedy="name the right one in the catalog: `options: {encoding: cp1252}` or "
        f"`options: {{encoding: {other}}}`, then `dpa retry`",
    )


def _around(block: bytes, found: re.Match[bytes]) -> bytes:
    """Return the match with some of the line around it."""
    before, after = block[: found.start()].splitlines(), block[found.end() :].splitlines()
    start, end = before[-1][-SHOWN_BYTES:] if before else b"", after[0][:SHOWN_BYTES] if after else b""
    return start + found[0] + end


def _readings(sample: bytes) -> Iterator[tuple[str, str]]:
    """Yield the encodings in which lines make sense, each with the first of their texts, the likeliest first."""
    found = []
    for name in OTHERS:
        with suppress(UnicodeDecodeError):
            text = sample.decode(name)
            found.append((_sense(text, name), name, text))
    likely = sorted((one for one in found if one[0] >= COMMON_SHARE), key=lambda one: -one[0])
    for _, name, text in likely[:MOST_CANDIDATES]:
        yield name, next(cell for cell in BETWEEN_TEXTS.split(text) if not cell.isascii()).strip()[:SHOWN_CHARS]


def _sense(text: str, name: str) -> float:
    """Return the share of characters beyond ASCII that are usual in texts of an encoding."""
    if name not in COMMON:
        return float(_makes_sense(text))
    letters = [char for char in text if not char.isascii() and char.isalpha()]
    return sum(_is_common(char, *COMMON[name]) for char in letters) / len(letters) if letters else 0


def _is_common(char: str, encoding: str, first_bytes: range) -> bool:
    encoded = char.encode(encoding, "ignore")
    return ord(char) in KANA or (len(encoded) > 1 and encoded[0] in first_bytes)


def _makes_sense(text: str) -> bool:
    """Whether every character outside ASCII is a letter, and no word switches to upper case."""
    return not LONG_LATIN.search(text) and all(
        char.isascii() or (char.isalpha() and not (before.islower() and char.isupper()))
        for before, char in pairwise(f" {text}")
    )
