"""Columns that the catalog leaves out, by their headers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from freight.contracts.headers import normalise
from freight.frames import NATIVE, ROW_NUMBER
from freight.readers.raw import RawBatch, RawTable


def without_ignored(table: RawTable, names: Sequence[str]) -> RawTable:
    """Return a table without the columns of some headers, in any case, with or without accents."""
    unwanted = {normalise(name) for name in names}
    kept = [position for position, cell in enumerate(table.header) if normalise(cell) not in unwanted]
    if len(kept) == len(table.header):
        return table
    return replace(
        table,
        header=tuple(table.header[position] for position in kept),
        ignored=(*table.ignored, *(cell for position, cell in enumerate(table.header) if position not in kept)),
        batches=_kept(table.batches, kept),
    )


def _kept(batches: Iterator[RawBatch], positions: Sequence[int]) -> Iterator[RawBatch]:
    new = {str(old): str(position) for position, old in enumerate(positions)}
    native = pl.concat_str(pl.col(NATIVE).str.slice(old, 1) for old in positions)
    for batch in batches:
        signs = [native.alias(NATIVE)] if NATIVE in batch.rows.columns else []
        yield replace(batch, rows=batch.rows.select(*new, *signs, ROW_NUMBER).rename(new))
