"""Delimited text: CSV in the dialects, encodings and line ends that ERP systems and people produce.

Cells stay text. A record that does not have as many cells as the header becomes a fault with its row number, and
so does one with bytes that are not text. Row numbers count records, the header included, as a spreadsheet shows them.
"""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import batched, islice
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
from pydantic import Field, ValidationInfo, field_validator

from freight.contracts import Contract
from freight.contracts.headers import known_headers, normalise
from freight.errors import SourceError
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER, DecimalMark
from freight.readers.locations import READ_BLOCK_BYTES, SourceFile, text_stream
from freight.readers.options import ReaderOptions
from freight.readers.raw import RawBatch, RawTable, fault_row, no_rows
from freight.readers.strict_csv import Record, Signs, Unclosed, quotes_are_plain, strict_records

DELIMITERS = ",;\t|"
SAMPLE_CHARS = 1 << 16
HEADER_SEARCH_RECORDS = 30
PARSE_BLOCK_BYTES = 2 << 20  # bounds memory; also the longest record that can be read
STRICT_BATCH_ROWS = 20_000
END_MARK = "\x1e\x1d\x1e"  # no contract accepts control characters, so no row of a source reads like this
CP1252_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"


class DelimitedOptions(ReaderOptions):
    """How the file is written, where detection should not decide."""

    encoding: str | None = Field(default=None, description="As Python names it, such as cp1252.")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="Between two cells.")
    decimal: DecimalMark | None = Field(default=None, description="Decimal mark of numbers.")
    columns: list[str] | None = Field(
        default=None, min_length=1, description="Headers of the columns, for a file that has none, or a wrong one."
    )
    skip_lines: int = Field(default=0, ge=0, description="Lines above the first row, where columns are named.")
    quote: str = Field(default='"', min_length=1, max_length=1, description="Around a cell.")
    escape: str | None = Field(default=None, min_length=1, max_length=1, description="Before a sign that is meant.")

    @property
    def is_plain(self) -> bool:
        """Whether the fast parser may read it, as far as they tell."""
        return (self.quote, self.escape, self.skip_lines) == ('"', None, 0)

    @field_validator("skip_lines")
    @classmethod
    def _is_of_named_columns(cls, skip_lines: int, others: ValidationInfo) -> int:
        if skip_lines and not others.data.get("columns"):
            raise ValueError("lines are skipped only where columns are named; a header is found by itself")
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
    """How a delimited file is written.

    `header_record` counts from 0, and is -1 where there is none. `stray_bytes` tells that some bytes of a UTF-8 file
    are not UTF-8, `skip_lines` how many lines come before the first record, `is_plain` that the fast parser cannot
    misread it.
    """

    encoding: str
    stray_bytes: bool
    signs: Signs
    header_record: int
    header: tuple[str, ...]
    decimal: DecimalMark
    skip_lines: int
    is_plain: bool

    @property
    def delimiter(self) -> str:
        """What stands between two cells."""
        return self.signs.delimiter

    @property
    def byte_encoding(self) -> str:
        """Encoding in which every byte is a character and comes back: stray bytes reach us and stop no parser."""
        return "latin-1" if self.stray_bytes else self.encoding


def read_delimited(file: SourceFile, contract: Contract, options: DelimitedOptions) -> RawTable:
    """Read a delimited file in batches.

    Args:
        file: the file; `.gz` is unpacked on the way.
        contract: tells which headers to look for.
        options: how it is written, where detection should not decide.

    Raises:
        SourceError: empty, header only, unknown encoding, or not cuttable into records.
    """
    try:
        dialect = detect_dialect(file, contract, options)
    except SourceError as error:
        raise error.at(file.path) from None
    batches = _batches(file, dialect) if dialect.is_plain else _strict_batches(file, dialect)
    return RawTable(dialect.header, batches, dialect.decimal)


def detect_dialect(file: SourceFile, contract: Contract, options: DelimitedOptions) -> Dialect:
    """Find encoding, delimiter, header and decimal mark of a file; options override detection."""
    encoding, stray_bytes = detect_encoding(file, options.encoding)
    sample = _sample(file, encoding)
    if not sample.strip("\ufeff \t\r\n\0"):
        raise SourceError("empty", "the file is empty", location=file.path, remedy="deliver the file again")
    delimiter, position, header = _header(sample, contract, options)
    below = _records(sample, delimiter)[position + 1 :]
    decimal = options.decimal or _guess_decimal(delimiter, below[:-1] or below)
    dialect = Dialect(
        encoding=encoding,
        stray_bytes=stray_bytes,
        signs=Signs(delimiter, options.quote, options.escape),
        header_record=position,
        header=header,
        decimal=decimal,
        skip_lines=options.skip_lines,
        is_plain=options.is_plain,
    )
    return replace(dialect, is_plain=dialect.is_plain and _has_plain_quotes(file, dialect))


def _header(sample: str, contract: Contract, options: DelimitedOptions) -> tuple[str, int, tuple[str, ...]]:
    """Return the delimiter, the record of the header, and the header."""
    if options.columns is None:
        delimiter, position = _find_header(sample, contract, options)
        return delimiter, position, tuple(_records(sample, delimiter)[position])
    delimiter = options.delimiter or _delimiter_by_width(sample, len(options.columns))
    return delimiter, options.skip_lines - 1, tuple(options.columns)


def _delimiter_by_width(sample: str, width: int) -> str:
    """Return the delimiter that makes the most records as wide as they should be."""
    fitting = {delimiter: sum(len(r) == width for r in _records(sample, delimiter)) for delimiter in DELIMITERS}
    return max(fitting, key=lambda delimiter: fitting[delimiter])


def _has_plain_quotes(file: SourceFile, dialect: Dialect) -> bool:
    with file.open() as stream, text_stream(stream, dialect.byte_encoding) as text, suppress(UnicodeError):
        return quotes_are_plain(text, dialect.delimiter)
    return True  # it is no text anyway, which the fast parser will tell


def detect_encoding(file: SourceFile, declared: str | None = None) -> tuple[str, bool]:
    """Return the encoding of the whole file, and whether it is UTF-8 with some stray bytes.

    A byte order mark decides, then the NUL pattern of UTF-16, then whether all bytes are valid UTF-8, else cp1252.

    Raises:
        SourceError: the bytes fit none of them.
    """
    with file.open() as stream:
        start = stream.read(4096)
        encoding = declared or _by_bom(start) or _by_nul_pattern(start)
        if encoding and not _is_utf8(encoding):
            return encoding, False
        evidence = _Utf8Evidence.gather(start, stream)
    if evidence.valid:
        return "utf-8", False
    if encoding or evidence.multibyte:
        return "utf-8", True
    if evidence.cp1252_undefined:
        raise SourceError(
            "unknown_encoding",
            "the bytes are neither UTF-8 nor cp1252",
            location=file.path,
            remedy="name the encoding in the catalog: `options: {encoding: ...}`",
        )
    return "cp1252", False


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "utf-8-sig"}


def _by_bom(start: bytes) -> str | None:
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    return next((encoding for mark, encoding in marks.items() if start.startswith(mark)), None)


def _by_nul_pattern(start: bytes) -> str | None:
    """Tell UTF-16 without a BOM: every second byte of Latin text is NUL."""
    half = max(len(start) // 2, 1)
    odd, even = start[1::2].count(0) / half, start[0::2].count(0) / half
    if odd > 0.4 and even < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 and odd < 0.1 else None


class _Utf8Evidence:
    """What the bytes of a file say about its encoding, gathered block by block."""

    def __init__(self) -> None:
        self.valid = True
        self.multibyte = False
        self.cp1252_undefined = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    @classmethod
    def gather(cls, start: bytes, rest: BinaryIO) -> "_Utf8Evidence":
        """Read a stream to its end."""
        evidence, block = cls(), start
        while block:
            evidence._add(block)
            block = rest.read(READ_BLOCK_BYTES)
        evidence._decode(b"", final=True)
        return evidence

    def _add(self, block: bytes) -> None:
        self._decode(block, final=False)
        if not self.valid:
            self.cp1252_undefined |= any(byte in block for byte in CP1252_UNDEFINED)
            self.multibyte |= not block.decode("utf-8", errors="ignore").isascii()

    def _decode(self, block: bytes, *, final: bool) -> None:
        if not self.valid:
            return
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError:
            self.valid = False
        else:
            self.multibyte |= not text.isascii()


def _sample(file: SourceFile, encoding: str) -> str:
    with file.open() as stream:
        return stream.read(SAMPLE_CHARS).decode(encoding, errors="replace")


def _find_header(sample: str, contract: Contract, options: DelimitedOptions) -> tuple[str, int]:
    """Return delimiter and record of the header: where the most cells are headers that the contract knows."""
    known = known_headers(contract)
    candidates = options.delimiter or DELIMITERS
    scored = [
        (sum(normalise(cell) in known for cell in record), len(record), -position, delimiter)
        for delimiter in candidates
        for position, record in enumerate(_records(sample, delimiter)[:HEADER_SEARCH_RECORDS])
        if any(record)
    ]
    if not scored:
        raise SourceError("empty", "the file has no cell that holds anything", remedy="deliver the file again")
    hits, _, negative_position, delimiter = max(scored)
    return (delimiter, -negative_position) if hits else _header_by_shape(sample, candidates)


def _header_by_shape(sample: str, candidates: str) -> tuple[str, int]:
    """Return delimiter and record of a header of which no cell is known: the first record that is as wide as most."""
    shapes = []
    for delimiter in candidates:
        widths = [len(record) if any(record) else 0 for record in _records(sample, delimiter)]
        ((width, records),) = Counter(filter(None, widths)).most_common(1) or [(0, 0)]
        shapes.append((records if width > 1 else 0, width, -widths.index(width), delimiter))
    _, _, negative_position, delimiter = max(shapes)
    return delimiter, -negative_position


def _records(sample: str, delimiter: str) -> list[list[str]]:
    text = sample.lstrip("\ufeff").replace("\0", "")
    try:
        records = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        return list(islice(records, HEADER_SEARCH_RECORDS * 20))
    except csv.Error:  # a cell longer than the csv module takes: the sample up to it tells enough
        return [line.split(delimiter) for line in text.splitlines()[:HEADER_SEARCH_RECORDS]]


def _guess_decimal(delimiter: str, records: list[list[str]]) -> DecimalMark:
    """Read a comma as the decimal mark only where it cannot be a delimiter and no number has a point."""
    if delimiter == ",":
        return "."
    cells = [cell.strip() for record in records for cell in record]
    commas = sum(_is_number(cell, ",") for cell in cells)
    points = sum(_is_number(cell, ".") for cell in cells)
    return "," if commas > points else "."


def _is_number(cell: str, mark: str) -> bool:
    whole, found, fraction = cell.removeprefix("-").partition(mark)
    return bool(found) and whole.isdigit() and fraction.isdigit()


def _batches(file: SourceFile, dialect: Dialect) -> Iterator[RawBatch]:
    numbering = _RowNumbers(dialect.header_record + 1, "latin-1" if dialect.stray_bytes else "utf-8")
    try:
        with file.open() as stream:
            for record_batch in _open_csv(_WithEndMark(stream, dialect), dialect, numbering):
                yield _raw_batch(record_batch, dialect, numbering)
    except (pa.ArrowInvalid, UnicodeError) as error:
        raise SourceError(
            "corrupt",
            f"cannot be cut into records after row {numbering.last}: {error}",
            location=file.path,
            remedy="look for a quote that is opened and never closed, or deliver the file again",
        ) from error
    if not numbering.reached_end:
        raise _unclosed(file, numbering.last)
    remaining = numbering.take_remaining_faults()
    if not remaining.is_empty():
        yield RawBatch(no_rows(len(dialect.header)), remaining)


def _unclosed(file: SourceFile, row: int) -> SourceError:
    return SourceError(
        "corrupt",
        "a quote is opened and never closed: the rows after it cannot be told apart",
        location=file.path,
        row=row,
        remedy="close or remove the quote in this row, or deliver the whole file again",
    )


def _strict_batches(file: SourceFile, dialect: Dialect) -> Iterator[RawBatch]:
    try:
        with file.open() as stream, text_stream(stream, dialect.byte_encoding) as text:
            lines = islice(text, dialect.skip_lines, None)
            records = strict_records(lines, dialect.signs, dialect.skip_lines + 1)
            for some in batched(records, STRICT_BATCH_ROWS):
                yield _strict_batch(some, dialect)
    except Unclosed as unclosed:
        raise _unclosed(file, unclosed.number) from None


def _strict_batch(records: Sequence[Record], dialect: Dialect) -> RawBatch:
    width = len(dialect.header)
    below = [record for record in records if record.number > dialect.header_record + 1]
    rows = [(*record.cells, record.number) for record in below if len(record.cells) == width]
    odd = [record for record in below if len(record.cells) != width and record.text.strip("\r\n")]
    faults = [_strict_fault(record, width, dialect) for record in odd]
    frame = pl.DataFrame(rows, schema=no_rows(width).schema, orient="row")
    return _told(frame, pl.DataFrame(faults, schema=BAD_ROWS_SCHEMA), dialect)


def _strict_fault(record: Record, width: int, dialect: Dialect) -> dict[str, object]:
    detail = record.fault or _other_width(len(record.cells), width)
    raw = record.text.rstrip("\r\n").encode("latin-1" if dialect.stray_bytes else "utf-8")
    return fault_row(record.number, None, "ragged_row", detail, raw)


def _other_width(cells: int, width: int) -> str:
    return f"{cells} cells where the header has {width}"


class _WithEndMark(io.RawIOBase):
    """A stream with one more record at its end.

    The parser takes the end of the file for the end of a quote that was never closed, and would hand out all rows
    after that quote as one cell. Such a quote swallows the mark, so its absence tells.
    """

    def __init__(self, stream: BinaryIO, dialect: Dialect) -> None:
        self._stream, self._dialect = stream, dialect
        self._start = self._tail = b""
        self._rest: bytes | None = None  # of the mark, once the file itself has ended

    def readable(self) -> bool:
        """Tell the parser that it may read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`."""
        if self._rest is None and (block := self._stream.read(size)):
            self._start = self._start or block[:4]
            self._tail = (self._tail + block)[-4:]
            return block
        rest = self._end_record() if self._rest is None else self._rest
        size = len(rest) if size < 0 else size
        self._rest = rest[size:]
        return rest[:size]

    def _end_record(self) -> bytes:
        codec = _codec_within(self._dialect.encoding, self._start)
        begun = not self._tail.endswith(("\n".encode(codec), "\r".encode(codec)))
        cells = self._dialect.delimiter.join([END_MARK] * len(self._dialect.header))
        return f"{'\n' if begun else ''}{cells}\n".encode(codec)


def _codec_within(encoding: str, start: bytes) -> str:
    """Return the encoding of text that is not at the start of a file: it takes no byte order mark."""
    big_endian = start.startswith(codecs.BOM_UTF16_BE)
    within = {"utf-8-sig": "utf-8", "utf-16": "utf-16-be" if big_endian else "utf-16-le"}
    return within.get(codecs.lookup(encoding).name, encoding)


def _open_csv(stream: io.RawIOBase, dialect: Dialect, numbering: "_RowNumbers") -> pacsv.CSVStreamingReader:
    names = [str(position) for position in range(len(dialect.header))]
    return pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(
            use_threads=False,  # only a serial parser knows the numbers of the records that it skips
            block_size=PARSE_BLOCK_BYTES,
            column_names=names,
            encoding=dialect.byte_encoding,
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=numbering.note_invalid,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        ),
    )


class _RowNumbers:
    """Gives each record its number although the parser leaves out the ones that it could not cut."""

    def __init__(self, header_number: int, encoding: str) -> None:
        self.header_number = header_number
        self.reached_end = False
        self._encoding = encoding
        self._faults: list[dict[str, object]] = []
        self._next = 1

    def note_invalid(self, row: pacsv.InvalidRow) -> str:
        """Keep a record that the parser skips; called by the parser, in order."""
        detail = _other_width(row.actual_columns, row.expected_columns)
        self._faults.append(fault_row(row.number, None, "ragged_row", detail, row.text.encode(self._encoding)))
        return "skip"

    @property
    def last(self) -> int:
        """Number of the last record seen."""
        return max([self._next - 1, *(int(str(fault[ROW_NUMBER])) for fault in self._faults)])

    def number(self, count: int) -> pl.Series:
        """Return the numbers of the next `count` records that were cut."""
        skipped = [fault[ROW_NUMBER] for fault in self._faults]
        end = self._next + count
        while (needed := self._next + count + sum(self._next <= n < end for n in skipped)) != end:  # type: ignore[operator]
            end = needed
        numbers = pl.int_range(self._next, end, eager=True, dtype=pl.Int64).alias(ROW_NUMBER)
        self._next = end
        return numbers.filter(~numbers.is_in(pl.Series(skipped, dtype=pl.Int64).implode())) if skipped else numbers

    def take_faults(self) -> pl.DataFrame:
        """Return the faults noted since the last call that lie below the header."""
        # The parser reads ahead: a fault beyond the rows handed out is kept, its number is still needed.
        ready = [fault for fault in self._faults if int(str(fault[ROW_NUMBER])) < self._next]
        self._faults = self._faults[len(ready) :]
        return self._frame(ready)

    def take_remaining_faults(self) -> pl.DataFrame:
        """Return the faults that follow the last record that was cut."""
        return self._frame(self._faults)

    def _frame(self, faults: list[dict[str, object]]) -> pl.DataFrame:
        return pl.DataFrame(faults, schema=BAD_ROWS_SCHEMA).filter(pl.col(ROW_NUMBER) > self.header_number)


def _raw_batch(cells: pa.RecordBatch, dialect: Dialect, numbering: _RowNumbers) -> RawBatch:
    frame = pl.DataFrame(pl.from_arrow(cells)).cast(pl.String)
    if frame.height and frame.item(-1, "0") == END_MARK:
        frame, numbering.reached_end = frame.head(-1), True
    frame = frame.with_columns(numbering.number(frame.height))
    below_header = pl.col(ROW_NUMBER) > numbering.header_number
    return _told(frame.filter(below_header), numbering.take_faults(), dialect)


def _told(frame: pl.DataFrame, faults: pl.DataFrame, dialect: Dialect) -> RawBatch:
    """Return rows without those that are blank, and with stray bytes told from text."""
    names = [name for name in frame.columns if name != ROW_NUMBER]
    if dialect.stray_bytes:
        frame, undecodable = _decode_cells(frame, names)
        faults = pl.concat([faults, undecodable])
    return RawBatch(frame.filter(~pl.all_horizontal(pl.col(names) == "")), faults)


def _decode_cells(frame: pl.DataFrame, names: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn cells read as latin-1 back into UTF-8; rows with a cell that is none become faults."""
    decoded = frame.with_columns(pl.Series(name, [_utf8(cell) for cell in frame[name]], pl.String) for name in names)
    broken = decoded.select(pl.any_horizontal(pl.col(names).is_null())).to_series()
    faults = [
        fault_row(row[-1], None, "bad_encoding", "bytes that are not UTF-8", "\x1f".join(row[:-1]).encode("latin-1"))
        for row in frame.filter(broken).select(*names, ROW_NUMBER).iter_rows()
    ]
    return decoded.filter(~broken), pl.DataFrame(faults, schema=BAD_ROWS_SCHEMA, orient="row")


def _utf8(latin1: str) -> str | None:
    try:
        return latin1.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
