"""Spool files: the frames that pass between the steps of a load, as compressed Arrow on disk.

A step writes its result here and the next one reads it batch by batch, so memory stays flat and each step can be
retried or inspected alone.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.ipc as ipc

COMPRESSION = ipc.IpcWriteOptions(compression="lz4")


def write_spool(path: Path, frames: Iterable[pl.DataFrame]) -> int:
    """Write frames of one schema; return the number of rows. Empty frames are left out; without rows no file is made."""
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
