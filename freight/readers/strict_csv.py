"""Delimited text cut record by record, for files with quotes that the fast parser may misread.

An unclosed quote, or text after a closing one, silently shifts cells into their neighbours. This parser detects such
records. A cell may have spaces before its opening quote.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import NamedTuple, TextIO

from freight.errors import SourceError

CELL_LIMIT_CHARS = 2 << 20  # as long as the longest record of the fast parser
RECORD_LIMIT_CHARS = 16 << 20  # memory holds several copies of it
LOOK_CHARS = 1 << 20

csv.field_size_limit(CELL_LIMIT_CHARS)


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        number: The number of the record, from 1.
        cells: The cells; empty if the record could not be cut.
        fault: The reason why it could not be cut.
        text: The record as written in the file.
    """

    number: int
    cells: list[str]
    fault: str
    text: str


class Signs(NamedTuple):
    """The signs of a dialect: between cells, around them, and before a sign that is taken literally."""

    delimiter: str
    quote: str = '"'
    escape: str | None = None


class Unclosed(Exception):
    """A quote is open when the file ends."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def quotes_are_plain(stream: TextIO, delimiter: str) -> bool:
    """Whether each quote opens a cell right at its start, closes it right at its end, or is doubled within.

    Args:
        stream: The whole text.
        delimiter: The sign between two cells.
    """
    edge = re.escape(delimiter) + r"\r\n"
    plain = re.compile(rf'(?:[^"]++|(?<=[{edge}])"(?:[^"]++|"")*+"(?=[{edge}]))*+')
    seen, block = "\n", "\n"
    while block:
        block = stream.read(LOOK_CHARS)
        seen += block or "\n"
        if '"' not in seen:
            seen = seen[-1]
            continue
        found = plain.match(seen, 1)
        end = found.end() if found else 1
        if end == 1 and len(seen) > CELL_LIMIT_CHARS:
            return False
        seen = seen[end - 1 :]
    return len(seen) == 1


def lines_of(text: TextIO) -> Iterator[str]:
    """Yield the lines of a text with their ends; a line longer than any record may be comes in parts."""
    while line := text.readline(RECORD_LIMIT_CHARS + 1):
        yield line


def strict_records(lines: Iterable[str], signs: Signs, first_number: int = 1) -> Iterator[Record]:
    """Cut lines into records; if the last line opens a quote and ends without closing it, only that line is a fault.

    Args:
        lines: The lines with their ends.
        signs: The signs of the dialect.
        first_number: The number of the first record.

    Raises:
        Unclosed: A quote is open when the file ends, and it contains further lines or the last line has no end.
        SourceError: A record is longer than memory should hold.
    """
    taken: list[str] = []
    reader = cells_of(_noting(lines, taken), signs, strict=True)
    for number in count(first_number):
        taken.clear()
        try:
            yield Record(number, next(reader), "", "".join(taken))
        except StopIteration:
            return
        except _TooLong:
            raise _too_long(number) from None
        except csv.Error as error:
            is_open = "unexpected end of data" in str(error)
            if is_open and not _is_whole_line(taken):
                raise Unclosed(number) from None
            yield Record(number, [], "a quote is opened and never closed" if is_open else _fault(error), "".join(taken))


def cells_of(lines: Iterable[str], signs: Signs, *, strict: bool = False) -> Iterator[list[str]]:
    """Yield the cells of each record, without spaces before an opening quote.

    Args:
        lines: The lines with their ends.
        signs: The signs of the dialect.
        strict: Whether csv raises an error for a misplaced quote; otherwise it reads on.
    """
    return csv.reader(
        lines,
        delimiter=signs.delimiter,
        quotechar=signs.quote,
        escapechar=signs.escape,
        strict=strict,
        skipinitialspace=signs.delimiter != " ",
    )


def cut_once(record: str, signs: Signs) -> list[str]:
    """Return the cells of one record, or the whole of it if it cannot be cut."""
    try:
        return next(cells_of(io.StringIO(record, newline=""), signs), [])
    except csv.Error:
        return [record]


def joined(cells: Sequence[str], signs: Signs) -> str:
    """Return the cells as a record without its end; `cells_of` cuts it into them again."""
    record = io.StringIO()
    writer = csv.writer(
        record,
        delimiter=signs.delimiter,
        quotechar=signs.quote,
        escapechar=signs.escape,
        lineterminator="",
    )
    writer.writerow(cells)
    return record.getvalue()


def _is_whole_line(taken: Sequence[str]) -> bool:
    """Whether the record is one line with its end, which an interrupted transfer lacks."""
    return len(taken) == 1 and taken[0].endswith(("\n", "\r"))


def _fault(error: csv.Error) -> str:
    return "text after a closing quote" if "expected after" in str(error) else str(error)


class _TooLong(Exception):
    """A record is longer than memory should hold."""


def _too_long(number: int) -> SourceError:
    return SourceError(
        "corrupt",
        f"the record has more than {RECORD_LIMIT_CHARS >> 20} million characters",
        row=number,
        remedy="look for a quote that is opened and never closed, or deliver the file again",
    )


def _noting(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    length = 0
    for line in lines:
        length = len(line) + (length if taken else 0)
        if length > RECORD_LIMIT_CHARS:
            raise _TooLong
        taken.append(line)
        yield line
