"""Layout: map the cells of a source to columns, by the contract's policy for a header that has drifted."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import chain

import polars as pl

from freight.contracts.headers import HeaderMatch, listed, match_header
from freight.drift import FirstRows, describe_drift
from freight.errors import SourceError
from freight.frames import BAD_ROWS_SCHEMA, NATIVE, ROW_NUMBER, as_json
from freight.notation.evidence import likely_notation
from freight.pipeline.units import PlannedUnit
from freight.readers import RawBatch, RawTable
from freight.types import DRIFTED


@dataclass(frozen=True)
class Layout:
    """The mapping of a source's cells to columns.

    Attributes:
        match: The comparison of its header with the contract.
        left_out: The headers of columns that are not loaded.
        drift: The reason why all rows go to quarantine; empty if they do not.
    """

    match: HeaderMatch
    left_out: tuple[str, ...] = ()
    drift: str = ""

    def apply(self, batch: RawBatch) -> RawBatch:
        """Name the columns; or quarantine all rows, with unknown columns under their own headers."""
        if self.drift:
            return RawBatch(batch.rows.clear(), pl.concat([batch.faults, self._set_aside(batch.rows)]))
        taken = {str(position): column for position, column in enumerate(self.match.columns) if column}
        rows = batch.rows.select(*taken, ROW_NUMBER, *self._native_numbers(batch.rows)).rename(taken)
        return RawBatch(rows, batch.faults)

    def _native_numbers(self, rows: pl.DataFrame) -> list[pl.Series]:
        """Return the signs of `native_numbers` in the order of the contract's columns; nothing if there are none."""
        if NATIVE not in rows.columns:
            return []
        at = {column: position for position, column in enumerate(self.match.columns) if column}
        order = [at.get(name, -1) for name in self.match.contract.column_names]
        new = {old: "".join("0" if at < 0 else old[at] for at in order) for old in rows[NATIVE].unique()}
        return [rows[NATIVE].replace_strict(new, return_dtype=pl.String)]

    def _set_aside(self, rows: pl.DataFrame) -> pl.DataFrame:
        names = [column or cell for column, cell in zip(self.match.columns, self.match.header, strict=True)]
        named = rows.rename({str(position): name for position, name in enumerate(names)})
        faults = {"missing": self.match.missing, "unknown": self.match.unknown_cells}
        detail = ", ".join(f"{what}: {listed(names)}" for what, names in faults.items() if names)
        set_aside = rows.select(
            pl.col(ROW_NUMBER),
            column_name=pl.lit(next(iter(self.match.missing), None), pl.String),
            reason=pl.lit(DRIFTED, pl.String),
            detail=pl.lit(detail),
            raw=as_json(named, names, names),
            broken_rules=pl.lit(None, pl.String),
        )
        return set_aside.select(BAD_ROWS_SCHEMA.names())


def lay_out(planned: PlannedUnit, table: RawTable) -> tuple[RawTable, Layout]:
    """Compare the header of a table with the contract; return the table, which still gives all of its rows.

    Raises:
        SourceError: The header has drifted, and the contract accepts none of the rows.
    """
    match = match_header(table.header, planned.source.contract)
    if not match.has_drifted:
        return table, Layout(match)
    first = _first(table, match)
    is_set_aside = match.contract.drift == "quarantine" and _keeps_all(match, table)
    rows = first.rows if first else pl.DataFrame()
    locale = planned.source.locale(likely_notation(rows, planned.source.forms))
    sample = FirstRows(rows, locale, planned.unit.as_of)
    command = "dpa replay" if is_set_aside else "dpa retry"
    drift = describe_drift(match, table.passed_over, sample, planned.last_header, command)
    again = replace(table, batches=chain([first] if first else [], table.batches))
    if match.is_taken and drift.fault != "renamed_column":
        return again, Layout(match, left_out=tuple(match.unknown_cells))
    if is_set_aside:
        return again, Layout(match, drift=str(drift))
    if isinstance(table.batches, Generator):
        table.batches.close()  # its input has been open since the first rows
    raise drift


def _first(table: RawTable, match: HeaderMatch) -> RawBatch | None:
    """Return the first rows; None if they cannot be read and the header alone refuses the table."""
    try:
        return next(table.batches, None)
    except SourceError:
        if match.contract.drift == "freeze":
            return None
        raise


def _keeps_all(match: HeaderMatch, table: RawTable) -> bool:
    """Whether quarantined rows, stored by their headers, keep everything that a replay needs."""
    are_distinct = len(set(table.header)) == len(table.header)
    return are_distinct and not (match.missing and table.passed_over)
