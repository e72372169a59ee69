"""Reshape: let a source's own function make other rows of the rows of a file, and count what it drops and adds."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import polars as pl

from freight.ahead import ahead
from freight.errors import SourceError
from freight.frames import ROW_NUMBER, bad_rows
from freight.notation.numbers import stated_reading
from freight.pipeline.bounds import Time
from freight.pipeline.units import PlannedUnit, Reshaping
from freight.readers import RawBatch, RawTable, reader_for
from freight.readers.raw import no_rows
from freight.spool import SpoolWriter, read_spool
from freight.types import Reshaped


def read_unit(planned: PlannedUnit, folder: Path) -> tuple[RawTable, Reshaped | None]:
    """Read a unit, and let the function of its source reshape it.

    Args:
        planned: The unit.
        folder: The folder of its spool files.

    Returns:
        The table, and what the function did with its rows; None if the source has no function.

    Raises:
        SourceError: The unit cannot be used, or the function fails.
    """
    source, reshaping = planned.source, planned.reshaping
    reader = reader_for(source.reader)
    if reshaping is None:
        return reader(planned.content.item, source.contract, source.options), None
    table = reader.whole(planned.content.item, source.contract, source.options)
    return _reshaped(planned, reshaping, table, folder)


def _reshaped(
    planned: PlannedUnit, reshaping: Reshaping, table: RawTable, folder: Path
) -> tuple[RawTable, Reshaped | None]:
    before, uncut, after = (folder / f"{name}.arrow" for name in ("before", "uncut", "after"))
    notes = list[tuple[int, str]]()
    with SpoolWriter(before) as rows, SpoolWriter(uncut) as faults:
        for batch in Time(planned).over(ahead(table.batches)):
            rows.write(batch.rows)
            faults.write(batch.faults)
            if batch.skipped or batch.remark:
                notes.append((batch.skipped, batch.remark))
    if rows.rows == 0:  # nothing to call it with; the faults, or that there are none, say the rest
        header = planned.source.contract.column_names
        batches = chain(_uncut_batches(uncut, len(header), 1), _noted(notes, len(header)))
        return replace(table, header=header, batches=batches, passed_over=(), most_rows=None), None
    header, numbers = _call(planned, reshaping, table.header, before, after)
    numbered, numbers_per_row = _numbered(numbers)
    reshaped = _counted(reshaping, rows.rows, numbers, numbers_per_row)
    batches = chain(_batches(after, uncut, numbered, len(header), numbers_per_row), _noted(notes, len(header)))
    return replace(table, header=header, batches=batches, passed_over=(), most_rows=None), reshaped


def _call(
    planned: PlannedUnit, reshaping: Reshaping, header: tuple[str, ...], before: Path, after: Path
) -> tuple[tuple[str, ...], pl.Series]:
    """Call the function; return the header of its rows, which are written to a file, and their row numbers."""
    function, location = reshaping.function, planned.unit.location
    numbers = [pl.Series(ROW_NUMBER, [], pl.Int64)]
    try:
        stated = stated_reading(planned.source.forms)
        table = function(before, header, reshaping.lookups(), stated.decimal if stated else None, location)
        with SpoolWriter(after) as rows:
            for batch in table.batches:
                rows.write(batch.rows)
                numbers.append(batch.rows[ROW_NUMBER])
    except SourceError as error:
        raise function.named_in(error) from None
    if rows.rows == 0:
        raise SourceError(
            "transform_failed",
            f"the function {function.name} returns none of the rows",
            location=location,
            remedy="look at the file and the function; a file without rows needs no delivery",
        )
    return table.header, pl.concat(numbers)


def _numbered(numbers: pl.Series) -> tuple[pl.Series, int]:
    """Return a number for each row, and how many numbers each row of the file has.

    As long as the function makes at most one row of each, that is the row's own number. Otherwise a row has the first
    power of ten that suffices: the rows that come from row 7 are 701, 702, ...; so they stay in their order, and the
    number leads to the row.
    """
    nth = numbers.to_frame().select(pl.int_range(1, pl.len() + 1).over(ROW_NUMBER)).to_series()
    most = int(nth.max())  # type: ignore[arg-type]
    if most == 1:
        return numbers, 1
    numbers_per_row = 10 ** len(str(most))
    return (numbers * numbers_per_row + nth).alias(ROW_NUMBER), numbers_per_row


def _counted(reshaping: Reshaping, rows_in: int, numbers: pl.Series, numbers_per_row: int) -> Reshaped:
    kept = numbers.n_unique()
    return Reshaped(
        function=reshaping.function.name,
        version=reshaping.function.version,
        rows_in=rows_in,
        rows_out=numbers.len(),
        dropped=rows_in - kept,
        added=numbers.len() - kept,
        numbers_per_row=numbers_per_row,
    )


def _batches(after: Path, uncut: Path, numbered: pl.Series, width: int, numbers_per_row: int) -> Iterator[RawBatch]:
    yield from _uncut_batches(uncut, width, numbers_per_row)
    first = 0
    for rows in read_spool(after):
        yield RawBatch(rows.with_columns(numbered.slice(first, rows.height)), bad_rows())
        first += rows.height


def _noted(notes: Sequence[tuple[int, str]], width: int) -> Iterator[RawBatch]:
    """Yield batches without rows: what was skipped, and what the reader says of the file."""
    for skipped, remark in notes:
        yield RawBatch(no_rows(width), bad_rows(), skipped, remark)


def _uncut_batches(uncut: Path, width: int, numbers_per_row: int) -> Iterator[RawBatch]:
    for faults in read_spool(uncut):
        yield RawBatch(no_rows(width), faults.with_columns(pl.col(ROW_NUMBER) * numbers_per_row))
