"""Excel workbooks as people export them: title rows, merged headers, dates as cells or as text, a totals line.

The workbook is parsed in a process of its own (`excel_worker`) with limits of memory and time, so that a bomb or a
crash costs that file only. A faster engine would not do: those turn error cells into empty ones.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc
from pydantic import Field

from freight.contracts import Contract
from freight.contracts.headers import known_headers
from freight.errors import SourceError
from freight.readers.locations import READ_BLOCK_BYTES, SourceFile
from freight.readers.options import ReaderOptions
from freight.readers.raw import RawBatch, RawTable

OLE_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of an .xls, and of a workbook behind a password
ENCRYPTED_PART = "EncryptedPackage".encode("utf-16-le")
UNPACKED_LIMIT_BYTES = 2 << 30
BOMB_RATIO, BOMB_FROM_BYTES = 300, 32 << 20  # sheets of real exports shrink 10 to 50 times
MEMORY_LIMIT_BYTES = 512 << 20
BASE_TIME_S, BYTES_PER_SECOND = 30, 50_000
FOLDER_PREFIX = "dpa-excel-"
ABANDONED_AFTER_S = 86_400  # no workbook takes a day; a folder this old belongs to a run that was killed
LAST_WORDS_BYTES = 4_096  # of what a dying parser says
# What a Python needs to start: Windows finds its libraries and its random numbers by the first. Nothing of ours, and no
# secret, reaches the parser.
INTERPRETER_VARIABLES = ("SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class ExcelOptions(ReaderOptions):
    """Where the table is, if detection should not decide."""

    sheet: str | None = Field(default=None, description="Name of the sheet.")
    header_row: int | None = Field(default=None, ge=1, description="Row of the header, as Excel shows it.")


def read_excel(file: SourceFile, contract: Contract, options: ExcelOptions) -> RawTable:
    """Read the sheet whose header fits the contract best; row numbers are those that Excel shows.

    Args:
        file: an .xlsx or .xlsm workbook.
        contract: tells which headers to look for.
        options: where the table is, if detection should not decide.

    Raises:
        SourceError: not a workbook, behind a password, too large, damaged, or without any row.
    """
    _remove_abandoned_folders()
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    batches = _batches(folder)
    # The folder goes with the batches, whether or not anybody asks for one.
    remove_folder = weakref.finalize(batches, shutil.rmtree, folder, ignore_errors=True)
    try:
        _fetch(file, folder / "workbook.xlsx")
        _refuse_non_workbook(folder / "workbook.xlsx")
        header = _parse(folder, contract, options, _time_limit_s(file))
    except SourceError as error:
        remove_folder()
        raise error.at(file.path) from None
    return RawTable(tuple(header), batches)


def _remove_abandoned_folders() -> None:
    """Remove what runs have left that were killed while they read the rows of a workbook."""
    oldest = time.time() - ABANDONED_AFTER_S
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):  # another run may be removing it, or it may be another user's
            if folder.stat().st_mtime < oldest:
                shutil.rmtree(folder)


def _fetch(file: SourceFile, target: Path) -> None:
    with file.open() as stream, target.open("wb") as copy:
        while block := stream.read(READ_BLOCK_BYTES):
            copy.write(block)


def _time_limit_s(file: SourceFile) -> int:
    return BASE_TIME_S + file.size_bytes // BYTES_PER_SECOND


def _refuse_non_workbook(workbook: Path) -> None:
    with workbook.open("rb") as stream:
        start = stream.read(8)
        if not start:
            raise SourceError("empty", "the file is empty", remedy="deliver the file again")
        if start == OLE_START:
            raise _old_or_encrypted(stream)
    if not start.startswith(b"PK"):
        raise SourceError(
            "unsupported",
            "the file is not a workbook, whatever its name says",
            remedy="if it is text, set `reader: csv` for it; else export it as .xlsx again",
        )
    try:
        with zipfile.ZipFile(workbook) as archive:
            _refuse_bomb(archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise _corrupt(str(error)) from None


def _old_or_encrypted(stream: BinaryIO) -> SourceError:
    if ENCRYPTED_PART in stream.read():
        return SourceError(
            "encrypted", "the workbook is behind a password", remedy="remove the password and deliver it again"
        )
    return SourceError("unsupported", "the workbook has the old .xls format", remedy="save it as .xlsx")


def _refuse_bomb(members: list[zipfile.ZipInfo]) -> None:
    unpacked = sum(member.file_size for member in members)
    bomb = any(m.file_size > BOMB_FROM_BYTES and m.file_size > BOMB_RATIO * m.compress_size for m in members)
    if bomb or unpacked > UNPACKED_LIMIT_BYTES:
        raise _too_large(f"it would unfold to {unpacked >> 20} MiB")


def _parse(folder: Path, contract: Contract, options: ExcelOptions, time_limit_s: int) -> list[str]:
    """Let the worker write rows.arrow and faults.arrow; return the header that it found."""
    task = {
        "headers": sorted(known_headers(contract)),
        "sheet": options.sheet,
        "header_row": options.header_row,
        "memory_limit_bytes": MEMORY_LIMIT_BYTES,
        "file_limit_bytes": UNPACKED_LIMIT_BYTES,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    return _header_of(folder, _run_worker(folder, time_limit_s))


def _run_worker(folder: Path, time_limit_s: int) -> int:
    """Return the exit code of the worker; it never outlives this process, since its standard input ends with it."""
    with (
        (folder / "stderr.txt").open("wb") as last_words,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "freight.readers.excel_worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=last_words,
            env=_worker_environment(),
        ) as worker,
    ):
        try:
            return worker.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            raise SourceError(
                "timed_out", f"parsing took longer than {time_limit_s} s", remedy="deliver the sheet alone, or as CSV"
            ) from None
        finally:
            worker.kill()


def _worker_environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in INTERPRETER_VARIABLES if name in os.environ}
    return {**passed, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _header_of(folder: Path, exit_code: int) -> list[str]:
    try:
        answer = json.loads((folder / "answer.json").read_bytes())
    except (FileNotFoundError, ValueError):
        if exit_code in (-9, 137) or b"MemoryError" in _last_words(folder):
            raise _too_large("its parser ran out of memory") from None
        raise _corrupt(f"its parser died with code {exit_code}") from None
    if "header" in answer:
        return [str(cell) for cell in answer["header"]]
    raise SourceError(answer["fault"], answer["message"], remedy=answer["remedy"], row=answer["row"])


def _last_words(folder: Path) -> bytes:
    with (folder / "stderr.txt").open("rb") as said:
        said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
        return said.read()


def _corrupt(detail: str) -> SourceError:
    return SourceError("corrupt", f"the workbook is damaged: {detail}", remedy="deliver the whole file again")


def _too_large(detail: str) -> SourceError:
    return SourceError("too_large", f"the workbook is too large: {detail}", remedy="deliver it in parts, or as CSV")


def _batches(folder: Path) -> Iterator[RawBatch]:
    """Give the rows and the faults side by side, one batch of each in memory."""
    with (
        pa.OSFile(str(folder / "rows.arrow")) as rows_file,
        pa.OSFile(str(folder / "faults.arrow")) as faults_file,
        ipc.open_stream(rows_file) as rows,
        ipc.open_stream(faults_file) as faults,
    ):
        for some_rows, some_faults in zip_longest(rows, faults):
            yield RawBatch(_frame(some_rows, rows.schema), _frame(some_faults, faults.schema))


def _frame(batch: pa.RecordBatch | None, schema: pa.Schema) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(schema.empty_table() if batch is None else batch))
