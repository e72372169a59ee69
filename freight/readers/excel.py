"""Excel workbooks as people export them: title rows, merged headers, dates as cells or as text, a totals line.

The workbook is parsed by openpyxl in a process of its own (`excel_worker`) with limits of memory and time, so that a
bomb or a crash costs that file only. openpyxl and not a faster engine, since those turn error cells into empty ones.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc

from freight.contracts import Contract
from freight.contracts.headers import known_headers
from freight.errors import SourceError, SourceFault
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER
from freight.readers.locations import READ_BLOCK_BYTES, SourceFile
from freight.readers.raw import RawBatch, RawTable, fault_row

OLE_START = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of an .xls, and of a workbook behind a password
ENCRYPTED_PART = "EncryptedPackage".encode("utf-16-le")
UNPACKED_LIMIT_BYTES = 2 << 30
BOMB_RATIO, BOMB_FROM_BYTES = 300, 32 << 20  # sheets of real exports shrink 10 to 50 times
MEMORY_LIMIT_BYTES = 512 << 20
BASE_TIME_S, BYTES_PER_SECOND = 30, 50_000


def read_excel(file: SourceFile, contract: Contract, options: Mapping[str, Any]) -> RawTable:
    """Read the sheet whose header fits the contract best; row numbers are those that Excel shows.

    Args:
        file: an .xlsx or .xlsm workbook.
        contract: tells which headers to look for.
        options: `sheet`, where detection should not decide.

    Raises:
        SourceError: not a workbook, behind a password, too large, damaged, or without any row.
    """
    folder = tempfile.TemporaryDirectory(prefix="dpa-excel-")
    try:
        workbook = Path(folder.name) / "workbook.xlsx"
        _fetch(file, workbook)
        _refuse_non_workbook(workbook)
        header = _parse(workbook, contract, options, Path(folder.name), _time_limit_s(file))
    except SourceError as error:
        folder.cleanup()
        raise error.at(file.path) from None
    return RawTable(tuple(header), _batches(folder, len(header)))


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


def _parse(
    workbook: Path, contract: Contract, options: Mapping[str, Any], folder: Path, time_limit_s: int
) -> list[str]:
    """Let the worker write rows.arrow and faults.jsonl; return the header that it found."""
    task = {
        "workbook": str(workbook),
        "folder": str(folder),
        "headers": sorted(known_headers(contract)),
        "sheet": options.get("sheet"),
        "memory_limit_bytes": MEMORY_LIMIT_BYTES,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "freight.readers.excel_worker"],
            input=json.dumps(task).encode(),
            capture_output=True,
            timeout=time_limit_s,
            check=False,
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[2])},  # no secret of ours reaches the parser
        )
    except subprocess.TimeoutExpired:
        raise SourceError(
            "timed_out",
            f"parsing took longer than {time_limit_s} s",
            remedy="deliver the sheet alone, or as CSV",
        ) from None
    return _header_of(done)


def _header_of(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        if done.returncode in (-9, 137) or b"MemoryError" in done.stderr:
            raise _too_large("its parser ran out of memory") from None
        raise _corrupt(f"its parser died with code {done.returncode}") from None
    if "header" in answer:
        return [str(cell) for cell in answer["header"]]
    fault: SourceFault = answer["fault"]
    raise SourceError(fault, answer["message"], remedy=answer["remedy"])


def _corrupt(detail: str) -> SourceError:
    return SourceError("corrupt", f"the workbook is damaged: {detail}", remedy="deliver the whole file again")


def _too_large(detail: str) -> SourceError:
    return SourceError("too_large", f"the workbook is too large: {detail}", remedy="deliver it in parts, or as CSV")


def _batches(folder: "tempfile.TemporaryDirectory[str]", width: int) -> Iterator[RawBatch]:
    names = [str(position) for position in range(width)]
    with folder as path:
        faults = _faults(Path(path) / "faults.jsonl")
        with pa.OSFile(str(Path(path) / "rows.arrow")) as source, ipc.open_stream(source) as reader:
            for batch in reader:
                rows = pl.DataFrame(pl.from_arrow(batch))
                yield RawBatch(rows.select(*names, ROW_NUMBER), faults)
                faults = faults.clear()
    if not faults.is_empty():
        empty = pl.DataFrame(schema={**dict.fromkeys(names, pl.String), ROW_NUMBER: pl.Int64})
        yield RawBatch(empty, faults)


def _faults(path: Path) -> pl.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [
        fault_row(fault["row"], fault["column"], fault["reason"], fault["detail"], fault["raw"].encode())
        for fault in map(json.loads, lines)
    ]
    return pl.DataFrame(rows, schema=BAD_ROWS_SCHEMA)
