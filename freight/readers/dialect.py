"""The format of a delimited file: encoding, delimiter and header, detected or given in the catalog."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from pydantic import Field, ValidationInfo, field_validator

from freight.contracts import Contract
from freight.contracts.headers import known_headers, normalise
from freight.errors import SourceError
from freight.readers.encodings import START_BYTES, detect_encoding
from freight.readers.locations import SourceFile, text_stream
from freight.readers.no_text import refuse_no_text
from freight.readers.options import ReaderOptions
from freight.readers.strict_csv import Signs, cells_of, quotes_are_plain

DELIMITERS = ",;\t|"
SAMPLE_CHARS = 1 << 16
HEADER_SEARCH_RECORDS = 30


class DelimitedOptions(ReaderOptions):
    """The format of the file, to override detection."""

    encoding: str | None = Field(default=None, description="Encoding by its name in Python, such as cp1252.")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="Sign between two cells.")
    columns: list[str] | None = Field(
        default=None, min_length=1, description="Headers of the columns, for a file that has none, or a wrong one."
    )
    skip_lines: int = Field(default=0, ge=0, description="Lines above the first row, where columns are named.")
    quote: str = Field(default='"', min_length=1, max_length=1, description="Sign around a cell.")
    escape: str | None = Field(
        default=None, min_length=1, max_length=1, description="Sign before a literal quote or delimiter."
    )

    @property
    def is_plain(self) -> bool:
        """Whether these options allow the fast parser."""
        return (self.quote, self.escape, self.skip_lines) == ('"', None, 0)

    @field_validator("skip_lines")
    @classmethod
    def _is_of_named_columns(cls, skip_lines: int, others: ValidationInfo) -> int:
        if skip_lines and not others.data.get("columns"):
            raise ValueError("lines are skipped only where columns are named; a header is found without help")
        return skip_lines

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str | None) -> str | None:
        try:
            "".encode(encoding or "utf-8")
        except LookupError:
            raise ValueError("there is no such encoding") from None
        return encoding


@dataclass(frozen=True)
class Dialect:
    """The format of a delimited file.

    `header_record` counts from 0 and is -1 without a header. `stray_bytes` means that some bytes of a UTF-8 file are
    not UTF-8, `skip_lines` is the number of lines before the first record, and `is_plain` means that the fast parser
    cannot misread the file.
    """

    encoding: str
    stray_bytes: bool
    signs: Signs
    header_record: int
    header: tuple[str, ...]
    skip_lines: int
    is_plain: bool

    @property
    def delimiter(self) -> str:
        """Delimiter between two cells."""
        return self.signs.delimiter

    @property
    def byte_encoding(self) -> str:
        """Encoding for the parser: latin-1 if there are stray bytes, as it maps every byte to a character and back."""
        return "latin-1" if self.stray_bytes else self.encoding


def detect_dialect(file: SourceFile, contract: Contract, options: DelimitedOptions) -> Dialect:
    """Detect encoding, delimiter and header of a file; options override detection."""
    with file.open() as stream:
        refuse_no_text(stream.read(START_BYTES))
    encoding, stray_bytes = detect_encoding(file, options.encoding)
    sample = _sample(file, encoding)
    if not sample.strip("\ufeff \t\r\n\0"):
        raise SourceError("empty", "the file is empty", location=file.path, remedy="deliver the file again")
    signs, position, header = _header(sample, contract, options)
    dialect = Dialect(
        encoding=encoding,
        stray_bytes=stray_bytes,
        signs=signs,
        header_record=position,
        header=header,
        skip_lines=options.skip_lines,
        is_plain=options.is_plain,
    )
    return replace(dialect, is_plain=dialect.is_plain and _has_plain_quotes(file, dialect))


def _header(sample: str, contract: Contract, options: DelimitedOptions) -> tuple[Signs, int, tuple[str, ...]]:
    """Return the signs of the dialect, the number of the header's record, and the header."""
    candidates = [Signs(delimiter, options.quote, options.escape) for delimiter in options.delimiter or DELIMITERS]
    if options.columns is None:
        signs, position = _find_header(sample, contract, candidates)
        return signs, position, tuple(_records(sample, signs)[position])
    return _by_width(sample, len(options.columns), candidates), options.skip_lines - 1, tuple(options.columns)


def _by_width(sample: str, width: int, candidates: Sequence[Signs]) -> Signs:
    """Return the signs that give the most records the expected width."""
    return max(candidates, key=lambda signs: sum(len(record) == width for record in _records(sample, signs)))


def _has_plain_quotes(file: SourceFile, dialect: Dialect) -> bool:
    with file.open() as stream, text_stream(stream, dialect.byte_encoding) as text, suppress(UnicodeError):
        return quotes_are_plain(text, dialect.delimiter)
    return True  # it is not text, which the fast parser will report


def _sample(file: SourceFile, encoding: str) -> str:
    with file.open() as stream:
        return stream.read(SAMPLE_CHARS).decode(encoding, errors="replace")


def _find_header(sample: str, contract: Contract, candidates: Sequence[Signs]) -> tuple[Signs, int]:
    """Return signs and record of the header: the record with the most cells that the contract knows as headers."""
    known = known_headers(contract)
    scored = [
        (sum(normalise(cell) in known for cell in record), len(record), -position, signs.delimiter, signs)
        for signs in candidates
        for position, record in enumerate(_records(sample, signs)[:HEADER_SEARCH_RECORDS])
        if any(record)
    ]
    if not scored:
        raise SourceError("empty", "all cells of the file are empty", remedy="deliver the file again")
    hits, _, negative_position, _, signs = max(scored)
    return (signs, -negative_position) if hits else _header_by_shape(sample, candidates)


def _header_by_shape(sample: str, candidates: Sequence[Signs]) -> tuple[Signs, int]:
    """Return signs and record of a header without known cells: the first record that has the most common width."""
    shapes = []
    for signs in candidates:
        widths = [len(record) if any(record) else 0 for record in _records(sample, signs)]
        ((width, records),) = Counter(filter(None, widths)).most_common(1) or [(0, 0)]
        shapes.append((records if width > 1 else 0, width, -widths.index(width), signs.delimiter, signs))
    _, _, negative_position, _, found = max(shapes)
    return found, -negative_position


def _records(sample: str, signs: Signs) -> list[list[str]]:
    text = sample.lstrip("\ufeff").replace("\0", "")
    try:
        return list(islice(cells_of(io.StringIO(text, newline=""), signs), HEADER_SEARCH_RECORDS * 20))
    except csv.Error:  # a cell is too long for the csv module: a plain split is good enough
        return [line.split(signs.delimiter) for line in text.splitlines()[:HEADER_SEARCH_RECORDS]]
