"""The format of a delimited file: encoding, delimiter and header, detected or given in the catalog."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from pydantic import Field, ValidationInfo, field_validator

from freight.contracts import Contract
from freight.contracts.headers import is_unnamed, known_headers, normalise
from freight.contracts.rows_above import refuse_rows_above
from freight.errors import SourceError
from freight.readers.encodings import START_BYTES, detect_encoding
from freight.readers.locations import SourceFile, text_stream
from freight.readers.no_text import refuse_no_text
from freight.readers.options import FileOptions
from freight.readers.strict_csv import Signs, cells_of, quotes_are_plain
from freight.words import counted

DELIMITERS = ",;\t|"
TABS = {"tab": "\t", "\\t": "\t"}  # as people write a tab, and as YAML reads it without quotes
SAMPLE_BYTES = 1 << 16
HEADER_SEARCH_RECORDS = 30


class DelimitedOptions(FileOptions):
    """The format of the file, to override detection."""

    encoding: str | None = Field(default=None, description="Encoding by its name in Python, such as cp1252.")
    delimiter: str | None = Field(default=None, description='Sign between two cells, such as ";"; or tab.')
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

    @field_validator("delimiter")
    @classmethod
    def _is_one_sign(cls, delimiter: str | None) -> str | None:
        sign = TABS.get(delimiter, delimiter) if delimiter else delimiter
        if sign is not None and len(sign) != 1:
            raise ValueError('write one sign in quotes, such as ";" or "\\t" for a tab')
        return sign

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

    `header_record` counts from 0 and is -1 without a header; `names` are its cells. `width` is the number of cells of a
    record below it: delimiters at the end of each line make it wider. `stray_bytes` means that some bytes of a UTF-8
    file are not UTF-8, `skip_lines` is the number of lines before the first record, and `is_plain` means that the fast
    parser cannot misread the file. `ignores_unnamed` means that the catalog leaves out columns without a name.
    """

    encoding: str
    stray_bytes: bool
    signs: Signs
    header_record: int
    names: tuple[str, ...]
    width: int
    skip_lines: int
    is_plain: bool
    ignores_unnamed: bool = False

    @cached_property
    def named(self) -> list[int]:
        """The positions of the columns that the header names."""
        return [position for position, name in enumerate(self.names) if not is_unnamed(name)]

    @cached_property
    def unnamed(self) -> list[int]:
        """The positions of the other columns."""
        return sorted({*range(self.width)}.difference(self.named))

    @property
    def ignored(self) -> list[int]:
        """The positions of those of them that the catalog leaves out."""
        return [position for position in self.unnamed if self.ignores_unnamed and position < len(self.names)]

    @cached_property
    def empty(self) -> list[int]:
        """The positions of the columns that have to be empty."""
        return [position for position in self.unnamed if position not in self.ignored]

    @property
    def header(self) -> tuple[str, ...]:
        """The header cells with a name."""
        return tuple(self.names[position] for position in self.named)

    def other_width(self, cells: int) -> str:
        """Describe a record with another number of cells."""
        others = "the header has" if self.width == len(self.names) else "the other rows have"
        return f"{counted(cells, 'cell')} where {others} {self.width}"

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
    with file.open() as stream:  # once, since each time is a request where the file is remote
        start = stream.read(SAMPLE_BYTES)
        refuse_no_text(start[:START_BYTES])
        encoding, stray_bytes = detect_encoding(start, stream, options.encoding)
    sample = start.decode(encoding, errors="replace")
    if not sample.strip("\ufeff \t\r\n\0"):
        raise SourceError("empty", "the file is empty", location=file.path, remedy="deliver the file again")
    signs, position, names = _header(sample, contract, options)
    below = _records(sample, signs)[position + 1 :]
    dialect = Dialect(
        encoding=encoding,
        stray_bytes=stray_bytes,
        signs=signs,
        header_record=position,
        names=names,
        width=_width(names, below[:-1] if len(start) == SAMPLE_BYTES else below),
        skip_lines=options.skip_lines,
        is_plain=options.is_plain,
        ignores_unnamed=any(map(is_unnamed, options.ignore)),
    )
    return replace(dialect, is_plain=dialect.is_plain and _has_plain_quotes(file, dialect))


def _header(sample: str, contract: Contract, options: DelimitedOptions) -> tuple[Signs, int, tuple[str, ...]]:
    """Return the signs of the dialect, the number of the header's record, and the header."""
    candidates = [Signs(delimiter, options.quote, options.escape) for delimiter in options.delimiter or DELIMITERS]
    if options.columns is None:
        signs, position = _find_header(sample, contract, candidates)
        records = _records(sample, signs)
        needed = [column.name for column in contract.columns if not column.optional]
        above = enumerate(records[:position], start=1)
        refuse_rows_above(above, records[position], known_headers(contract), needed)
        return signs, position, tuple(records[position])
    return _by_width(sample, len(options.columns), candidates), options.skip_lines - 1, tuple(options.columns)


def _by_width(sample: str, width: int, candidates: Sequence[Signs]) -> Signs:
    """Return the signs that give the most records the expected width, delimiters at the end of lines aside."""
    return max(candidates, key=lambda signs: sum(_fits(record, width) for record in _records(sample, signs)))


def _fits(record: Sequence[str], width: int) -> bool:
    return len(record) >= width and _ends_at(record, width)


def _ends_at(record: Sequence[str], width: int) -> bool:
    """Whether all cells beyond a width are empty."""
    return not "".join(record[width:]).strip()


def _width(names: Sequence[str], below: Sequence[Sequence[str]]) -> int:
    """Return the number of cells of the records below the header.

    A program may write a delimiter at the end of the header, of the rows, or of both. All rows have to agree: one cell
    too many in some of them, or a value behind the header, may mean that cells have moved, so the header decides.
    """
    named = max((position + 1 for position, name in enumerate(names) if not is_unnamed(name)), default=len(names))
    full = [record for record in below if len(record) >= named and any(record)]
    agree = len({len(record) for record in full}) == 1 and all(_ends_at(record, len(names)) for record in full)
    return len(full[0]) if agree else len(names)


def _has_plain_quotes(file: SourceFile, dialect: Dialect) -> bool:
    with file.open() as stream, text_stream(stream, dialect.byte_encoding) as text, suppress(UnicodeError):
        return quotes_are_plain(text, dialect.delimiter)
    return True  # it is not text, which the fast parser will report


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
        records = _records(sample, signs)
        widths = Counter(len(record) for record in records if any(record))
        ((width, count),) = widths.most_common(1) or [(0, 0)]
        position = _first_of_shape(records, width)
        shapes.append((count if width > 1 else 0, width, -position, signs.delimiter, signs))
    _, _, negative_position, _, found = max(shapes)
    return found, -negative_position


def _first_of_shape(records: Sequence[Sequence[str]], width: int) -> int:
    """Return the number of the first record with a width, or with names for all the columns that are not empty."""
    filled = _filled_width([record for record in records if len(record) == width])
    fits = ((any(record) and len(record) == width) or (all(record) and len(record) == filled) for record in records)
    return next((number for number, fit in enumerate(fits) if fit), 0)


def _filled_width(records: Sequence[Sequence[str]]) -> int:
    """Return the number of cells of records without those at their end that are empty in all of them."""
    return max((number for record in records for number, cell in enumerate(record, start=1) if cell), default=0)


def _records(sample: str, signs: Signs) -> list[list[str]]:
    text = sample.lstrip("\ufeff").replace("\0", "")
    try:
        return list(islice(cells_of(io.StringIO(text, newline=""), signs), HEADER_SEARCH_RECORDS * 20))
    except csv.Error:  # a cell is too long for the csv module: a plain split is good enough
        return [line.split(signs.delimiter) for line in text.splitlines()[:HEADER_SEARCH_RECORDS]]
