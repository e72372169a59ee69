"""The output of a parser to its reader: a header, rows of text, and rows that cannot be split into cells."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.ipc as ipc

from freight.errors import SourceError
from freight.parsers.wire import Frame, Kind, write_frame
from freight.types import FaultCode, native_numbers

HEADER_LIMIT_CHARS = 1 << 20
BATCH_ROWS, BATCH_CHARS = 20_000, 16 << 20
ROW_LIMIT_CHARS = 64 << 20
OUT_OF_TIME = -24  # exit code of a process that has used up its CPU time (SIGXCPU)
MESSAGE_CHARS = 2_000  # of the reason why a file cannot be used
PROGRESS_BYTES = 1 << 16  # read from the file between two progress messages
# Equal to `BAD_ROWS_SCHEMA` in freight.frames, which would import polars, but for the rules of the contract: no parser
# checks them. A test compares the two.
FAULTS = pa.schema(
    [
        ("row_number", pa.int64()),
        ("column_name", pa.large_string()),
        ("reason", pa.large_string()),
        ("detail", pa.large_string()),
        ("raw", pa.large_binary()),
    ]
)


def rows_schema(width: int) -> pa.Schema:
    """Return the schema of rows under a header of a given width.

    It has texts by position, signs that tell numbers from text (see `NATIVE` in freight.frames), and the row number.
    """
    texts = ((str(position), pa.large_string()) for position in range(width))
    return pa.schema([*texts, ("native_numbers", pa.large_string()), ("row_number", pa.int64())])


class Output:
    """Sends batches to the reader, with at most one of each kind in memory.

    Call `begin` first, then `row` and `fault` in any order.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._unread_bytes = 0
        self._rows: _Batch | None = None
        self._faults = _Batch(FAULTS)

    def progress(self, read_bytes: int) -> None:
        """Report that more of the file was read: this extends the time limit."""
        self._unread_bytes += read_bytes
        if self._unread_bytes >= PROGRESS_BYTES:
            self._send("progress", str(self._unread_bytes).encode())
            self._unread_bytes = 0

    def alive(self) -> None:
        """Report that the parser works, although it reads nothing: each answer may take only so long."""
        self._send("progress", b"0")

    def begin(self, header: Sequence[str], sheets: Sequence[str] = ()) -> None:
        """Name the columns.

        Args:
            header: The cells of the header.
            sheets: The sheets with the rows; those of the first are numbered as they are, those of the next ones from
                a multiple of `ROWS_OF_A_SHEET`.

        Raises:
            SourceError: The header is longer than that of any table.
        """
        if sum(map(len, header)) > HEADER_LIMIT_CHARS:
            raise SourceError("too_large", "the header is longer than a megabyte", remedy="shorten it")
        self._rows = _Batch(rows_schema(len(header)))
        self._send("header", json.dumps({"cells": [*header], "sheets": [*sheets]}).encode())

    def remark(self, told: str) -> None:
        """Tell people how the file is read."""
        self._send("remark", json.dumps(told[:MESSAGE_CHARS]).encode())

    def row(self, number: int, cells: Sequence[str]) -> None:
        """Add a row with as many cells as the header; a cell that is a number in the file is a `Number`.

        Raises:
            SourceError: The row is too large for memory.
        """
        assert self._rows is not None, "begin comes first"
        native = native_numbers(tuple(map(type, cells)))
        self._rows.add([*cells, native, number], _bounded(sum(map(len, cells)) + len(cells), number))
        if self._rows.is_full:
            self._send_rows()

    def fault(self, number: int, column: str | None, reason: FaultCode, detail: str, raw: bytes) -> None:
        """Add a row that cannot be split into cells, with its raw text.

        Raises:
            SourceError: The row is too large for memory.
        """
        self._faults.add([number, column, reason, detail, raw], _bounded(len(raw), number))
        if self._faults.is_full:
            self._send_faults()

    def end(self) -> None:
        """Send the remaining rows and the end."""
        self._send_rows()
        self._send_faults()
        self._send("done", b"")

    def fail(self, error: SourceError) -> None:
        """Send the reason why the file cannot be used."""
        content = {
            "fault": error.fault,
            "message": error.message[:MESSAGE_CHARS],
            "remedy": error.remedy[:MESSAGE_CHARS],
            "row": error.row,
            "column": error.column,
        }
        self._send("failed", json.dumps(content).encode())

    def _send_rows(self) -> None:
        if self._rows:
            self._send("rows", self._rows.take())

    def _send_faults(self) -> None:
        if self._faults:
            self._send("faults", self._faults.take())

    def _send(self, kind: Kind, payload: bytes) -> None:
        write_frame(self._stream, Frame(kind, payload))


def _bounded(chars: int, number: int) -> int:
    if chars > ROW_LIMIT_CHARS:
        raise SourceError(
            "too_large",
            f"the row holds {chars >> 20} million characters",
            row=number,
            remedy="check this place in the file: no row of a table is that long",
        )
    return chars


class _Batch:
    """A batch of rows that are sent together."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Sequence[object]] = []
        self._chars = 0

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= BATCH_ROWS or self._chars >= BATCH_CHARS

    def add(self, row: Sequence[object], chars: int) -> None:
        self._rows.append(row)
        self._chars += chars

    def take(self) -> bytes:
        """Return the rows as an Arrow stream and clear the batch."""
        columns = [list(column) for column in zip(*self._rows, strict=True)]
        self._rows, self._chars = [], 0
        sink = pa.BufferOutputStream()
        with ipc.new_stream(sink, self._schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=self._schema))
        return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


class _Counted(io.FileIO):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, output: Output) -> None:
        super().__init__(path)
        self._output = output

    def readinto(self, buffer: memoryview, /) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self._output.progress(count or 0)
        return count

    def readall(self) -> bytes:
        content = super().readall()
        self._output.progress(len(content))
        return content


def open_counted(path: Path, output: Output) -> BinaryIO:
    """Open a file so that reading it counts as progress."""
    return io.BufferedReader(_Counted(path, output), buffer_size=PROGRESS_BYTES)


def out_of_memory() -> SourceError:
    """Return the error for a file that exceeds its parser's memory."""
    return SourceError(
        "too_large", "the file is too large: its parser ran out of memory", remedy="deliver it in parts, or as CSV"
    )


def out_of_time() -> SourceError:
    """Return the error for a file that takes its parser too much CPU time for its size."""
    return SourceError(
        "timed_out",
        "its parser took longer than a table of this size takes",
        remedy="check the content of the file; deliver its table alone, or as CSV",
    )
