"""Delimited text cut record by record, for files whose quotes a fast parser would guess at.

A quote that nobody closed, or text behind one that is closed, moves cells into their neighbours without a word. Here
such a record is told from the others. A cell may have space before its opening quote.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TextIO

CELL_LIMIT_CHARS = 2 << 20  # as long as the longest record of the fast parser
LOOK_CHARS = 1 << 20

csv.field_size_limit(CELL_LIMIT_CHARS)


class Record(NamedTuple):
    """A record of a file.

    Attributes:
        number: counts from 1.
        cells: none if it could not be cut.
        fault: why it could not.
        text: what stands in the file.
    """

    number: int
    cells: list[str]
    fault: str
    text: str


class Unclosed(Exception):
    """A quote is open when the file ends."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def quotes_are_plain(stream: TextIO, delimiter: str) -> bool:
    """Whether each quote opens a cell right at its start, closes it right at its end, or is doubled within.

    Args:
        stream: the whole text.
        delimiter: between two cells.
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


def strict_records(lines: Iterable[str], delimiter: str) -> Iterator[Record]:
    """Cut lines into records.

    Args:
        lines: with their ends.
        delimiter: between two cells.

    Raises:
        Unclosed: a quote is open when the file ends.
    """
    taken: list[str] = []
    reader = csv.reader(_noting(lines, taken), delimiter=delimiter, strict=True, skipinitialspace=True)
    number = 0
    while True:
        taken.clear()
        number += 1
        try:
            yield Record(number, next(reader), "", "".join(taken))
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise Unclosed(number) from None
            fault = "text behind a closing quote" if "expected after" in str(error) else str(error)
            yield Record(number, [], fault, "".join(taken))


def _noting(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line
