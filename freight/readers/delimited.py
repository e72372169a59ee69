"""Delimited text: CSV in the dialects, encodings and line ends that ERP systems and people produce.

Cells stay text. A record becomes a fault with its row number if its number of cells differs from the header's, or if it
has bytes that are not text. Row numbers count records, including the header, as a spreadsheet shows them.
"""

import codecs
import io
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import batched, islice
from operator import attrgetter
from typing import Any, BinaryIO, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv

from freight.contracts import Contract
from freight.contracts.headers import place_of, without_header
from freight.errors import SourceError
from freight.frames import ROW_NUMBER, BadRow, bad_rows
from freight.readers.allowance import Allowance
from freight.readers.dialect import DelimitedOptions, Dialect, detect_dialect
from freight.readers.locations import SourceFile, text_stream
from freight.readers.raw import RawBatch, RawTable, no_rows
from freight.readers.strict_csv import Record, Unclosed, cut_once, joined, lines_of, strict_records

PARSE_BLOCK_BYTES = 2 << 20  # limits memory; also the longest record that can be read
STRICT_BATCH_ROWS = 20_000
BETWEEN_BYTES = "\x1f"  # between the cells of a row that is quarantined for its bytes
END_MARK = "\x1e\x1d\x1e"  # no contract accepts control characters, so no row of a source reads like this


def read_delimited(file: SourceFile, contract: Contract, options: DelimitedOptions) -> RawTable:
    """Read a delimited file in batches.

    Args:
        file: The file; a `.gz` is unpacked during reading.
        contract: The contract, which lists the headers to look for.
        options: The format of the file, to override detection.

    Raises:
        SourceError: The file is empty, has only a header or an unknown encoding, or cannot be split into records.
    """
    try:
        dialect = detect_dialect(file, contract, options)
    except SourceError as error:
        raise error.at(file.path) from None
    batches = _batches(file, dialect) if dialect.is_plain else _strict_batches(file, dialect)
    most_rows = file.most_bytes // dialect.width
    facts = {"encoding": dialect.encoding, "delimiter": dialect.delimiter}
    cut = partial(_cells_of_fault, dialect=dialect)
    ignored = tuple(dialect.names[position] for position in dialect.ignored)
    return RawTable(dialect.header, batches, facts=facts, most_rows=most_rows, cut=cut, ignored=ignored)


def _cells_of_fault(raw: bytes, dialect: Dialect) -> list[str]:
    text = raw.decode("utf-8", "replace")
    cells = text.split(BETWEEN_BYTES) if BETWEEN_BYTES in text else cut_once(text, dialect.signs)
    return [cells[position] for position in dialect.named if position < len(cells)]


def _batches(file: SourceFile, dialect: Dialect) -> Iterator[RawBatch]:
    numbering = _RowNumbers(dialect, Allowance(file))
    try:
        with file.open() as stream:
            for record_batch in _open_csv(_WithEndMark(stream, dialect), dialect, numbering):
                yield _raw_batch(record_batch, dialect, numbering)
    except (pa.ArrowInvalid, UnicodeError) as error:
        numbering.allowance.refuse_if_spent()
        raise SourceError(
            "corrupt",
            f"cannot be split into records after row {numbering.last}: {error}",
            location=file.path,
            remedy="look for a quote that is opened and never closed, or deliver the file again",
        ) from error
    if not numbering.reached_end:
        raise _unclosed(file, numbering.last)
    remaining = numbering.take_remaining_faults()
    if not remaining.is_empty():
        yield RawBatch(no_rows(len(dialect.named)), remaining)


def _unclosed(file: SourceFile, row: int) -> SourceError:
    return SourceError(
        "corrupt",
        "a quote is opened and never closed: the rows after it cannot be told apart",
        location=file.path,
        row=row,
        remedy="close or remove the quote in this row, or deliver the whole file again",
    )


def _strict_batches(file: SourceFile, dialect: Dialect) -> Iterator[RawBatch]:
    allowance = Allowance(file)
    try:
        with file.open() as stream, text_stream(stream, dialect.byte_encoding) as text:
            lines = islice(lines_of(text), dialect.skip_lines, None)
            records = strict_records(lines, dialect.signs, dialect.skip_lines + 1)
            for some in batched(records, STRICT_BATCH_ROWS):
                allowance.take(len(some))
                yield _strict_batch(some, dialect)
    except Unclosed as unclosed:
        raise _unclosed(file, unclosed.number) from None


def _strict_batch(records: Sequence[Record], dialect: Dialect) -> RawBatch:
    width = dialect.width
    below = [record for record in records if record.number > dialect.header_record + 1]
    rows = [(*record.cells, record.number) for record in below if len(record.cells) == width]
    odd = [record for record in below if len(record.cells) != width and record.text.strip("\r\n")]
    faults = bad_rows(_strict_fault(record, dialect) for record in odd)
    frame = pl.DataFrame(rows, schema=no_rows(width).schema, orient="row")
    return _batch_of(frame, faults, dialect)


def _strict_fault(record: Record, dialect: Dialect) -> BadRow:
    detail = record.fault or dialect.other_width(len(record.cells))
    raw = record.text.rstrip("\r\n").encode("latin-1" if dialect.stray_bytes else "utf-8")
    return BadRow(record.number, None, "ragged_row", detail, raw)


class _WithEndMark(io.RawIOBase):
    """A stream with one more record, the mark, at its end.

    The parser closes an unclosed quote at the end of the file, and would return all rows after that quote as one cell.
    Such a quote swallows the mark, so a missing mark reveals it.
    """

    def __init__(self, stream: BinaryIO, dialect: Dialect) -> None:
        self._stream, self._dialect = stream, dialect
        self._start = self._tail = b""
        self._rest: bytes | None = None  # the unread part of the mark, once the file itself has ended

    def readable(self) -> bool:
        """Return True: the parser may read."""
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
        cells = self._dialect.delimiter.join([END_MARK] * self._dialect.width)
        return f"{'\n' if begun else ''}{cells}\n".encode(codec)


def _codec_within(encoding: str, start: bytes) -> str:
    """Return the encoding for text after the start of a file, without a byte order mark."""
    big_endian = start.startswith(codecs.BOM_UTF16_BE)
    within = {"utf-8-sig": "utf-8", "utf-16": "utf-16-be" if big_endian else "utf-16-le"}
    return within.get(codecs.lookup(encoding).name, encoding)


def _open_csv(stream: io.RawIOBase, dialect: Dialect, numbering: "_RowNumbers") -> pacsv.CSVStreamingReader:
    names = [str(position) for position in range(dialect.width)]
    return pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(
            use_threads=False,  # only a serial parser reports the numbers of skipped records
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


class _Skipped(NamedTuple):
    """A record whose number of cells differs from the header's."""

    number: int
    cells: int
    raw: bytes

    def fault(self, dialect: Dialect) -> BadRow:
        """Return the fault of the record."""
        return BadRow(self.number, None, "ragged_row", dialect.other_width(self.cells), self.raw)


class _RowNumbers:
    """Numbers the records, including those that the parser skips."""

    def __init__(self, dialect: Dialect, allowance: Allowance) -> None:
        self.header_number = dialect.header_record + 1
        self.reached_end = False
        self._dialect = dialect
        self._encoding = "latin-1" if dialect.stray_bytes else "utf-8"
        self.allowance = allowance
        self._skipped: list[_Skipped] = []  # not returned yet
        self._next = 1

    def note_invalid(self, row: pacsv.InvalidRow) -> str:
        """Keep a record that the parser skips; the parser calls this in order."""
        self._skipped.append(_Skipped(row.number, row.actual_columns, row.text.encode(self._encoding)))
        return "skip" if self.allowance.has(1) else "error"

    @property
    def last(self) -> int:
        """Number of the last record seen."""
        return max([self._next - 1, *(record.number for record in self._skipped[-1:])])

    def number(self, count: int) -> pl.Series:
        """Return the numbers of the next `count` records that the parser returns."""
        skipped = pl.Series([record.number for record in self._skipped], dtype=pl.Int64)
        end = self._next + count + skipped.len()
        numbers = pl.int_range(self._next, end, eager=True, dtype=pl.Int64).alias(ROW_NUMBER)
        numbers = numbers.filter(~numbers.is_in(skipped.implode())) if skipped.len() else numbers
        self._next = numbers[count] if numbers.len() > count else end
        return numbers.head(count)

    def take_faults(self) -> pl.DataFrame:
        """Return the faults noted since the last call that lie below the header."""
        # The parser reads ahead: a fault beyond the returned rows is kept, because its number is still needed.
        ready = bisect_left(self._skipped, self._next, key=attrgetter("number"))
        taken, self._skipped = self._skipped[:ready], self._skipped[ready:]
        return self._below_header(taken)

    def take_remaining_faults(self) -> pl.DataFrame:
        """Return the faults after the last record that the parser returned."""
        return self._below_header(self._skipped)

    def _below_header(self, skipped: Iterable[_Skipped]) -> pl.DataFrame:
        return bad_rows(record.fault(self._dialect) for record in skipped if record.number > self.header_number)


def _raw_batch(cells: pa.RecordBatch, dialect: Dialect, numbering: _RowNumbers) -> RawBatch:
    frame = pl.DataFrame(pl.from_arrow(cells)).cast(pl.String)
    if frame.height and frame.item(-1, "0") == END_MARK:
        frame, numbering.reached_end = frame.head(-1), True
    if dialect.stray_bytes:
        numbering.allowance.take(frame.height)
    frame = frame.with_columns(numbering.number(frame.height))
    below_header = pl.col(ROW_NUMBER) > numbering.header_number
    return _batch_of(frame.filter(below_header), numbering.take_faults(), dialect)


def _batch_of(frame: pl.DataFrame, faults: pl.DataFrame, dialect: Dialect) -> RawBatch:
    """Return the rows without blank ones; rows with stray bytes, or with a cell behind the header, become faults."""
    names = [name for name in frame.columns if name != ROW_NUMBER]
    if dialect.stray_bytes:
        frame, undecodable = _decode_cells(frame, names)
        faults = pl.concat([faults, undecodable])
    rows = frame.filter(~pl.all_horizontal(pl.col(names) == ""))
    if not dialect.unnamed:
        return RawBatch(rows, faults)
    behind = pl.any_horizontal(pl.lit(value=False), pl.col(map(str, dialect.empty)).str.strip_chars() != "")
    beyond = bad_rows(_fault_behind(cells, dialect) for cells in rows.filter(behind).iter_rows())
    taken = {str(position): str(number) for number, position in enumerate(dialect.named)}
    return RawBatch(rows.filter(~behind).select(*taken, ROW_NUMBER).rename(taken), pl.concat([faults, beyond]))


def _fault_behind(row: tuple[Any, ...], dialect: Dialect) -> BadRow:
    """Return the fault of a row with a cell in a column that the header leaves without a name.

    Raises:
        SourceError: The column is not one of those that the header ends with.
    """
    *cells, number = row
    position = next(position for position in dialect.empty if cells[position].strip())
    fault = without_header(place_of(position), cells[position], number)
    if not dialect.named[-1] < position < len(dialect.names):
        raise fault
    return BadRow(number, None, "ragged_row", fault.message, joined(cells, dialect.signs).encode())


def _decode_cells(frame: pl.DataFrame, names: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Convert cells read as latin-1 back to UTF-8; rows with a cell that is not UTF-8 become faults."""
    decoded = frame.with_columns(pl.Series(name, [_utf8(cell) for cell in frame[name]], pl.String) for name in names)
    broken = decoded.select(pl.any_horizontal(pl.col(names).is_null())).to_series()
    faults = bad_rows(
        BadRow(number, None, "bad_encoding", "bytes that are not UTF-8", BETWEEN_BYTES.join(cells).encode("latin-1"))
        for *cells, number in frame.filter(broken).select(*names, ROW_NUMBER).iter_rows()
    )
    return decoded.filter(~broken), faults


def _utf8(latin1: str) -> str | None:
    try:
        return latin1.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
