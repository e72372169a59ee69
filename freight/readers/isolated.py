"""Parse untrusted files in a separate process, so that a bomb or a crash affects only that file.

The process (`freight.parsers`) has memory and time limits, can access only the file, sees no secret, and never
outlives this one. It sends its results through a pipe, batch by batch, while it parses. The results are not trusted: a
hostile file may have taken over the parser.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from compileall import compile_dir
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from threading import Event, Timer
from typing import Any, BinaryIO, get_args
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc

from freight import parsers
from freight.errors import SourceError, SourceFault
from freight.frames import NATIVE, ROW_NUMBER, bad_rows
from freight.parsers.output import FAULTS, MESSAGE_CHARS, OUT_OF_TIME, out_of_memory, out_of_time, rows_schema
from freight.parsers.wire import Frame, read_frame
from freight.readers.locations import SourceFile
from freight.readers.packed import READ_BLOCK_BYTES
from freight.readers.raw import RawBatch, RawTable, no_rows
from freight.types import FaultCode

MEMORY_LIMIT_BYTES = 512 << 20
FETCH_LIMIT_BYTES = 4 << 30  # for a remote or compressed file
PATIENCE_S, BYTES_PER_SECOND = 25, 50_000
CPU_S, CPU_BYTES, CPU_BYTES_PER_SECOND = 20, 1 << 20, 25_000  # CPU time: a larger file gets more
OUTPUT_PER_BYTE, OUTPUT_FROM_BYTES = 20, 1 << 30  # the output may be larger than the file, up to a limit
FOLDER_PREFIX = "dpa-reading-"
ABANDONED_AFTER_S = 86_400  # no file takes a day; a folder this old belongs to a run that was killed
ROWS_LIMIT = 1 << 48  # no file has this many
LAST_WORDS_BYTES = 4_096  # of a crashed parser's stderr
# Python needs these to start: Windows finds its libraries and its random numbers through the first. The parser gets
# none of our own variables and no secret.
INTERPRETER_VARIABLES = ("SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH")


def read_isolated(
    file: SourceFile,
    parser: str,
    wishes: Mapping[str, Any],
    starts: Sequence[Path] = (),
    memory_limit_bytes: int | None = None,
) -> RawTable:
    """Parse a file in a separate process.

    Args:
        file: The file; a remote or packed one is copied, unpacked, into a temporary folder first.
        parser: The `module.function` that parses.
        wishes: The arguments of the parser, which gets them as JSON.
        starts: The folders of the programs that the parser may start; it can start no others.
        memory_limit_bytes: The memory that the parser may use; None for the usual limit.

    Returns:
        The table; its batches are parsed as they are read.

    Raises:
        SourceError: The parser refuses the file, takes too much memory or time, or crashes. The batches raise a fault
            of a later row.
    """
    reading = _Reading(file.path, memory_limit_bytes or MEMORY_LIMIT_BYTES)
    try:
        header, sheets = reading.start(file, parser, wishes, starts)
    except BaseException as error:
        reading.end()
        raise error.at(file.path) if isinstance(error, SourceError) else error from None
    return RawTable(header, reading.batches(len(header)), sheets=sheets)


class ParserTime:
    """How long a parser may take: a fixed time per answer, and a total that grows with the bytes it has read.

    A small file that makes its parser loop is abandoned soon, and a large one gets the time it needs.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._waited_s = 0.0
        self._read_bytes = 0

    def note(self, waited_s: float, read_bytes: int) -> None:
        """Record a wait for the parser, and how much of the file it has read in that time."""
        self._waited_s += waited_s
        self._read_bytes += read_bytes

    @property
    def left_s(self) -> float:
        """How long to wait for the next answer."""
        earned_s = min(self._read_bytes, self._size_bytes) / BYTES_PER_SECOND
        return max(0.0, min(PATIENCE_S, PATIENCE_S + earned_s - self._waited_s))


def cpu_limit_s(size_bytes: int) -> int:
    """Return how many CPU seconds a parser may use for a file, regardless of the machine's load and of its progress."""
    return CPU_S + max(0, size_bytes - CPU_BYTES) // CPU_BYTES_PER_SECOND


class _Reading:
    """A file being parsed; its process and its temporary folder never outlive this object."""

    def __init__(self, location: str, memory_limit_bytes: int) -> None:
        self._location = location
        self._memory_limit_bytes = memory_limit_bytes
        self._at_the_end = ExitStack()
        self.end = weakref.finalize(self, self._at_the_end.close)
        self._gave_up = Event()

    def start(
        self, file: SourceFile, parser: str, wishes: Mapping[str, Any], starts: Sequence[Path]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Start the parser; return the header, which comes first, and the sheets."""
        _remove_abandoned_folders()
        self._folder = Path(tempfile.gettempdir(), f"{FOLDER_PREFIX}{uuid4().hex}")
        self._at_the_end.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700)  # after that line, so that no interrupt leaves it behind
        path = _on_this_machine(file, self._folder).absolute()
        size_bytes = min(path.stat().st_size, file.fair_bytes)
        self._parser_time = ParserTime(size_bytes)
        self._output_limit_bytes = OUTPUT_FROM_BYTES + OUTPUT_PER_BYTE * size_bytes
        self._worker = _start(self._folder)
        self._at_the_end.callback(_end, self._worker)
        limits = {"memory_limit_bytes": self._memory_limit_bytes, "cpu_limit_s": cpu_limit_s(size_bytes)}
        task = {"parser": parser, "path": str(path), "wishes": dict(wishes)}
        _give(self._worker, {**task, **limits, "reach": _reach(path, starts, self._folder)})
        return _header(self._next())

    def batches(self, width: int) -> Iterator[RawBatch]:
        """Yield the rows, the faults and the remarks as they arrive; end the process after the last."""
        try:
            while (frame := self._next()).kind != "done":
                yield _batch(frame, width)
        except SourceError as error:
            raise error.at(self._location) from None
        finally:
            self.end()

    def _next(self) -> Frame:
        """Return the next frame other than progress.

        Raises:
            SourceError: The parser refuses the file, or gives no answer.
        """
        while (frame := self._wait()).kind == "progress":
            pass
        self._output_limit_bytes -= len(frame.payload)
        if self._output_limit_bytes < 0:
            raise SourceError(
                "too_large", "its rows expand to many times the size of the file", remedy="deliver it in parts"
            )
        if frame.kind == "failed":
            raise _failure(frame)
        return frame

    def _wait(self) -> Frame:
        assert self._worker.stdout is not None
        started = time.monotonic()
        alarm = Timer(self._parser_time.left_s, _give_up, [self._worker, self._gave_up])
        alarm.start()
        try:
            frame = read_frame(self._worker.stdout)
        finally:
            alarm.cancel()
        read_bytes = _progress(frame) if frame and frame.kind == "progress" else 0
        self._parser_time.note(time.monotonic() - started, read_bytes)
        if frame is None:
            raise self._no_answer()
        return frame

    def _no_answer(self) -> SourceError:
        exit_code = self._worker.wait()
        if self._gave_up.is_set() or exit_code == OUT_OF_TIME:
            return out_of_time()
        if exit_code in (-9, 137) or b"MemoryError" in _last_words(self._folder):
            return out_of_memory()
        return SourceError(
            "corrupt",
            f"the file is damaged, or needs more than {self._memory_limit_bytes >> 20} MiB of memory: "
            f"its parser died with code {exit_code}",
            remedy="deliver the whole file again, or in parts",
        )


def _batch(frame: Frame, width: int) -> RawBatch:
    match frame.kind:
        case "rows":
            return RawBatch(_table(frame, rows_schema(width)), bad_rows())
        case "remark":
            return RawBatch(no_rows(width), bad_rows(), remark=_words(_json(frame)).replace("\0", ""))
    faults = _table(frame, FAULTS).with_columns(broken_rules=pl.lit(None, pl.String))
    return RawBatch(no_rows(width), faults)


def _header(frame: Frame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    told = _json(frame) if frame.kind == "header" else None
    if not isinstance(told, dict):
        raise _no_table()
    return _texts(told.get("cells")), _texts(told.get("sheets"))


def _texts(told: object) -> tuple[str, ...]:
    if not isinstance(told, list) or not all(isinstance(text, str) for text in told):
        raise _no_table()
    return tuple(told)


def _failure(frame: Frame) -> SourceError:
    answer = _json(frame)
    if not isinstance(answer, dict) or answer.get("fault") not in get_args(SourceFault):
        return _no_table()
    message, remedy, column = (_words(answer.get(name)) for name in ("message", "remedy", "column"))
    row = answer.get("row")
    is_row = isinstance(row, int) and 0 <= row <= ROWS_LIMIT
    return SourceError(answer["fault"], message, remedy=remedy, row=row if is_row else None, column=column or None)


def _words(text: object) -> str:
    """Return the text in a form that every log and database accepts: JSON may hold lone surrogates."""
    return str(text or "")[:MESSAGE_CHARS].encode("utf-8", "backslashreplace").decode()


def _progress(frame: Frame) -> int:
    try:
        return int(frame.payload)
    except ValueError:
        raise _no_table() from None


def _json(frame: Frame) -> Any:
    try:
        return json.loads(frame.payload)
    except (ValueError, RecursionError):
        raise _no_table() from None


def _no_table() -> SourceError:
    return SourceError(
        "corrupt",
        "its parser sent an invalid answer: the file may have been made to break it",
        remedy="ask the sender how the file was made, and deliver it again",
    )


def _remove_abandoned_folders() -> None:
    """Remove the folders of runs that were killed while they read a file."""
    oldest = time.time() - ABANDONED_AFTER_S
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):  # another run may be removing it, or it may be another user's
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)


def _on_this_machine(file: SourceFile, folder: Path) -> Path:
    """Return the path of the content on this machine; fetch or unpack it if necessary."""
    with file.open() as stream:
        local = file.local_path()
        if local is None:
            local = folder / "content"
            _copy(stream, local)
    return local


def _copy(stream: BinaryIO, target: Path) -> None:
    left_bytes = FETCH_LIMIT_BYTES
    with target.open("wb") as copy:
        while block := stream.read(READ_BLOCK_BYTES):
            left_bytes -= len(block)
            if left_bytes < 0:
                raise SourceError(
                    "too_large", f"the file is larger than {FETCH_LIMIT_BYTES >> 30} GiB", remedy="deliver it in parts"
                )
            copy.write(block)


@cache
def _compile_parsers() -> None:
    """Compile the modules of parsers once: parsers cannot write files, so each would compile them again."""
    if not sys.dont_write_bytecode:
        compile_dir(Path(parsers.__file__).parent, quiet=2)


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """Start a parser as the leader of a process group, so that its child processes end with it."""
    _compile_parsers()
    with (folder / "stderr.txt").open("wb") as last_words:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "freight.parsers", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=last_words,
            cwd=folder,
            env={**_environment(), "HOME": str(folder)},
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in INTERPRETER_VARIABLES if name in os.environ}
    # A thread of OpenBLAS for each processor would use up the memory of a parser.
    return {**passed, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _reach(path: Path, starts: Sequence[Path], folder: Path) -> dict[str, Any]:
    libraries = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    return {"reads": [str(path), *libraries], "starts": [*map(str, starts)], "clears": str(folder)}


def _give(worker: subprocess.Popen[bytes], task: Mapping[str, Any]) -> None:
    assert worker.stdin is not None
    with suppress(OSError):  # it died at once; the missing answer is reported later
        worker.stdin.write(json.dumps(task).encode() + b"\n")
        worker.stdin.flush()


def _end(worker: subprocess.Popen[bytes]) -> None:
    _kill(worker)
    for pipe in (worker.stdin, worker.stdout):
        if pipe:
            with suppress(OSError):  # the process has ended, so unwritten data does not matter
                pipe.close()
    worker.wait()


def _give_up(worker: subprocess.Popen[bytes], gave_up: Event) -> None:
    gave_up.set()
    _kill(worker)


def _kill(worker: subprocess.Popen[bytes]) -> None:
    """End a parser and its child processes."""
    if sys.platform == "win32":
        worker.kill()  # its child processes end when their standard input closes
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)


def _last_words(folder: Path) -> bytes:
    with (folder / "stderr.txt").open("rb") as said:
        said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
        return said.read()


def _table(frame: Frame, schema: pa.Schema) -> pl.DataFrame:
    """Return a table that a parser has sent.

    Raises:
        SourceError: The schema differs, or reading the table would go beyond the end of its memory.
    """
    try:
        table = ipc.open_stream(frame.payload).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError):
        raise _no_table() from None
    if table.schema != schema:
        raise _no_table()
    found = pl.DataFrame(pl.from_arrow(table))
    if not _is_of_a_parser(found):
        raise _no_table()
    return found


def _is_of_a_parser(rows: pl.DataFrame) -> bool:
    """Whether the warehouse and its quarantine accept the rows: others would fail the run, not only their file."""
    numbers = rows[ROW_NUMBER]
    if numbers.null_count() or not numbers.is_between(0, ROWS_LIMIT).all():
        return False
    if "reason" not in rows.columns:
        signs = rows[NATIVE].unique()
        return not signs.null_count() and signs.str.contains(f"^[01]{{{rows.width - 2}}}$").all()
    nothing = rows.select(pl.exclude("column_name").is_null().any()).row(0)
    cut_off = rows.select(pl.col("column_name", "detail").str.contains("\0", literal=True).any()).row(0)
    return rows["reason"].is_in(get_args(FaultCode)).all() and not any((*nothing, *cut_off))
