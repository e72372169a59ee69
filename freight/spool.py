"""Spool files: the frames that pass between the steps of a load, as compressed Arrow on disk.

A step writes its result here and the next one reads it batch by batch, so memory stays flat and each step can be
retried or inspected alone.
"""

import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc

from freight.errors import TransientError

COMPRESSION = ipc.IpcWriteOptions(compression="lz4")


def write_spool(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    """Write frames of one schema; return the number of rows. Empty frames are left out; without rows no file is made.

    Raises:
        TransientError: the folder cannot be written, for instance because the disk is full.
    """
    try:
        return _write(path, frames)
    except OSError as error:
        raise TransientError(f"the spool folder {path.parent} cannot be used: {error}") from error


def _write(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of an earlier try
    writer: ipc.RecordBatchFileWriter | None = None
    rows = 0
    try:
        for frame in frames:
            if frame.is_empty():
                continue
            table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or ipc.new_file(path, table.schema, options=COMPRESSION)
            writer.write_table(table)
            rows += frame.height
    finally:
        if writer:
            writer.close()
    return rows


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
    """Remove the folders of runs that have not been written to since an instant; return how many there were."""
    folders = [folder for folder in root.glob("*") if folder.is_dir() and folder.stat().st_mtime < before.timestamp()]
    for folder in folders:
        remove_spool(folder)
    return len(folders)
