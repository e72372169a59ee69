"""Text with columns of a fixed width, as mainframes write it: the catalog names the columns and their places.

Row numbers count lines from 1, those above the first row included. Places count characters, not bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import batched, islice, pairwise
from typing import NamedTuple, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from freight.contracts import Contract
from freight.errors import SourceError
from freight.frames import BadRow, bad_rows
from freight.readers.allowance import Allowance
from freight.readers.encodings import START_BYTES, detect_encoding
from freight.readers.locations import SourceFile, text_stream
from freight.readers.no_text import refuse_no_text
from freight.readers.options import FileOptions
from freight.readers.raw import RawBatch, RawTable, no_rows
from freight.readers.strict_csv import RECORD_LIMIT_CHARS, lines_of

BATCH_LINES = 20_000
LOOKED_AT_LINES = 1_000
MOST_CHARS = 1 << 24
LINE_END = "\r\n\x1a"  # the last one ends a file of MS-DOS


class FixedColumn(BaseModel):
    """A column: its header, and its place by its width, or by its first and last character."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1)
    width: int | None = Field(default=None, ge=1, le=MOST_CHARS)
    start: int | None = Field(default=None, ge=1, le=MOST_CHARS)
    end: int | None = Field(default=None, ge=1, le=MOST_CHARS)

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.width is None) == (self.end is None):
            raise ValueError(f"the column {self.name!r} needs either a width or an end")
        if self.end is not None and self.start is None:
            raise ValueError(f"the column {self.name!r} needs a start beside its end")
        return self


class FixedWidthOptions(FileOptions):
    """The columns of the file, and its encoding to override detection."""

    columns: list[FixedColumn] = Field(min_length=1, description="Columns: name, and width, or start and end, from 1.")
    encoding: str | None = Field(default=None, description="As Python names it, such as cp1252.")
    skip_lines: int = Field(default=0, ge=0, description="Lines above the first row.")

    @field_validator("columns")
    @classmethod
    def _are_in_order(cls, columns: list[FixedColumn]) -> list[FixedColumn]:
        places = _places(columns)
        if any(place.start >= place.stop for place in places):
            raise ValueError("a column ends before it begins")
        if any(right.start < left.stop for left, right in pairwise(places)):
            raise ValueError("a column begins before the one to the left of it ends")
        return columns

    @property
    def places(self) -> list[slice]:
        """The place of each column in a line."""
        return _places(self.columns)


def _places(columns: Iterable[FixedColumn]) -> list[slice]:
    places, last = list[slice](), 0
    for column in columns:
        first = last if column.start is None else column.start - 1
        last = first + column.width if column.width is not None else column.end or 0
        places.append(slice(first, last))
    return places


class _Line(NamedTuple):
    """A line, its number, and the fault of one that cannot be cut."""

    number: int
    text: str
    reason: str = ""
    detail: str = ""


def read_fixed_width(file: SourceFile, contract: Contract, options: FixedWidthOptions) -> RawTable:
    """Read the columns that the options name; outer spaces are not part of a cell.

    Args:
        file: The file; a packed one is unpacked during reading.
        contract: The contract; the header is that of the options.
        options: The columns and their places.

    Raises:
        SourceError: The file is empty, has an unknown encoding, or no line reaches the second column.
    """
    try:
        encoding, stray_bytes = _encoding(file, options)
        _refuse_other_tables(file, encoding if not stray_bytes else "latin-1", options)
    except SourceError as error:
        raise error.at(file.path) from None
    header = tuple(column.name for column in options.columns)
    batches = _batches(file, encoding, options, stray_bytes=stray_bytes)
    return RawTable(header, batches, facts={"encoding": encoding})


def _encoding(file: SourceFile, options: FixedWidthOptions) -> tuple[str, bool]:
    with file.open() as stream:
        start = stream.read(START_BYTES)
        refuse_no_text(start)
        return detect_encoding(start, stream, options.encoding)


def _refuse_other_tables(file: SourceFile, encoding: str, options: FixedWidthOptions) -> None:
    """Check that the first lines have the columns that the options name.

    Raises:
        SourceError: There is no text, or all of it is in the first column.
    """
    with file.open() as stream, text_stream(stream, encoding) as text:
        lines = [line.rstrip(LINE_END) for line in islice(lines_of(text), options.skip_lines + LOOKED_AT_LINES)]
    if not any(line.strip("\ufeff \t\0") for line in lines):
        raise SourceError("empty", "the file is empty", remedy="deliver the file again")
    second = [place.start for place in options.places[1:2]]
    longest = max(map(len, lines[options.skip_lines :]), default=0)
    if second and 0 < longest <= second[0]:
        raise SourceError(
            "missing_column",
            f"the longest of its first lines has {longest} characters, and does not reach the column "
            f"{options.columns[1].name!r} at {second[0] + 1}",
            column=options.columns[1].name,
            remedy="correct the places of the columns in the options of the source, or the reader",
        )


def _batches(file: SourceFile, encoding: str, options: FixedWidthOptions, *, stray_bytes: bool) -> Iterator[RawBatch]:
    allowance = Allowance(file)
    with file.open() as stream, text_stream(stream, "latin-1" if stray_bytes else encoding) as text:
        numbered = enumerate(lines_of(text), start=1)
        lines = (_line(number, line, stray_bytes=stray_bytes) for number, line in numbered)
        try:
            for some in batched(islice(lines, options.skip_lines, None), BATCH_LINES):
                allowance.take(len(some))
                yield _batch(some, options.places)
        except UnicodeError as error:
            raise SourceError(
                "corrupt",
                f"it is not text in {encoding} to its end: {error}",
                location=file.path,
                remedy="deliver the whole file again",
            ) from None


def _line(number: int, line: str, *, stray_bytes: bool) -> _Line:
    if len(line) > RECORD_LIMIT_CHARS:
        raise SourceError("too_large", "the line is too long", row=number, remedy="look for missing line ends")
    text = (line.removeprefix("\ufeff") if number == 1 else line).rstrip(LINE_END)
    if "\t" in text:
        return _Line(number, text, "ragged_row", "a tab stands in the line, and has no width")
    if not stray_bytes:
        return _Line(number, text)
    try:
        return _Line(number, text.encode("latin-1").decode("utf-8"))
    except UnicodeDecodeError:
        return _Line(number, text, "bad_encoding", "bytes that are not UTF-8")


def _batch(lines: Sequence[_Line], places: Sequence[slice]) -> RawBatch:
    all_gaps = (slice(left.stop, right.start) for left, right in pairwise([slice(0, 0), *places]))
    gaps, end = [gap for gap in all_gaps if gap.start < gap.stop], places[-1].stop
    filled = [line for line in lines if line.text.strip()]
    checked = [line if line.reason else _whole(line, gaps, end) for line in filled]
    rows = [(*(line.text[at].strip(" ") for at in places), line.number) for line in checked if not line.reason]
    faults = bad_rows(
        BadRow(line.number, None, line.reason, line.detail, line.text.encode()) for line in checked if line.reason
    )
    return RawBatch(pl.DataFrame(rows, schema=no_rows(len(places)).schema, orient="row"), faults)


def _whole(line: _Line, gaps: Sequence[slice], end: int) -> _Line:
    """Return a line, as a fault if a value goes on beside its column, or text follows the last column."""
    if line.text[end:].strip():
        return line._replace(reason="ragged_row", detail=f"text after the last column, which ends at {end}")
    cut = next((at for gap in gaps for at in (gap.start, gap.stop) if _is_cut(line.text, at)), None)
    if cut is None:
        return line
    return line._replace(reason="ragged_row", detail=f"a value is cut off between the characters {cut} and {cut + 1}")


def _is_cut(text: str, at: int) -> bool:
    return 0 < at < len(text) and not text[at - 1].isspace() and not text[at].isspace()
