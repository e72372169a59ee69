"""Spool files: the frames that pass between the steps of a load, as compressed Arrow files on disk.

A step writes its result here and the next one reads it batch by batch. So memory use stays flat, and each step can be
retried or inspected alone.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc

from freight.errors import TransientError

COMPRESSION = ipc.IpcWriteOptions(compression="lz4")


class SpoolWriter:
    """Writes frames of one schema to a spool file; skips empty frames, and creates no file without rows.

    Raises:
        TransientError: The folder cannot be written, for instance because the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._writer: ipc.RecordBatchFileWriter | None = None

    def __enter__(self) -> Self:
        with self._named_faults():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)  # of an earlier try
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer:
            with self._named_faults():
                self._writer.close()

    def write(self, frame: pl.DataFrame) -> None:
        """Append the rows of a frame."""
        if frame.is_empty():
            return
        # One chunk becomes one batch: a multi-threaded filter leaves many small chunks.
        table = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
        with self._named_faults():
            self._writer = self._writer or ipc.new_file(self.path, table.schema, options=COMPRESSION)
            self._writer.write_table(table)
        self.rows += frame.height

    @contextmanager
    def _named_faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(f"the spool folder {self.path.parent} cannot be used: {error}") from error


def write_spool(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    """Write frames of one schema and return the number of rows."""
    with SpoolWriter(path) as writer:
        for frame in frames:
            writer.write(frame)
    return writer.rows


def read_spool(path: Path) -> Iterator[pl.DataFrame]:
    """Read the frames back, one batch in memory at a time."""
    if not path.exists():
        return
    with pa.OSFile(str(path)) as source, ipc.open_file(source) as reader:
        for position in range(reader.num_record_batches):
            yield pl.DataFrame(pl.from_arrow(reader.get_batch(position)))


def remove_spool(folder: Path) -> None:
    """Remove the spool files of a run."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_old_spools(root: Path, before: datetime) -> int:
    """Remove the folders of runs that were last written before an instant; return their number."""
    folders = [folder for folder in root.glob("*") if folder.is_dir() and folder.stat().st_mtime < before.timestamp()]
    for folder in folders:
        remove_spool(folder)
    return len(folders)
