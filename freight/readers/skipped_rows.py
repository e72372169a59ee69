"""Rows that the catalog leaves out by `skip_rows_where`, such as totals and signatures, whatever reader reads them.

A row that is not cut into the cells of the header, such as `Nombre de lignes: 123`, has its cells from the left.
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import polars as pl

from freight.contracts import Contract
from freight.contracts.headers import known_headers, listed, normalise
from freight.errors import SourceError
from freight.readers.raw import RawBatch, RawTable

Rule = Mapping[str, str]


def without_skipped(table: RawTable, contract: Contract, rules: Sequence[Rule]) -> RawTable:
    """Return a table without the rows to leave out; its batches count them.

    Args:
        table: The table.
        contract: The contract, whose column names the rules may use.
        rules: For each rule its patterns, by the header or the name of their column.

    Raises:
        SourceError: A rule names a column that the table lacks.
    """
    if not rules:
        return table
    is_skipped = reduce(operator.or_, [_matches(rule, table.header, contract) for rule in rules])
    return replace(table, batches=_kept(table, is_skipped))


def _matches(rule: Rule, header: Sequence[str], contract: Contract) -> pl.Expr:
    cells = {str(_position(name, header, contract)): pattern for name, pattern in rule.items()}
    return pl.all_horizontal(pl.col(cell).str.strip_chars().str.contains(pattern) for cell, pattern in cells.items())


def _position(name: str, header: Sequence[str], contract: Contract) -> int:
    cells, known, wanted = [*map(normalise, header)], known_headers(contract), normalise(name)
    if wanted in cells:
        return cells.index(wanted)
    meanings, meaning = [known.get(cell) for cell in cells], known.get(wanted)
    if meaning and meaning in meanings:
        return meanings.index(meaning)
    raise SourceError(
        "missing_column",
        f"skip_rows_where in the catalog names {name!r}, but the header reads {listed(header)}",
        remedy="name a header of the file, or a column of the contract that the file has; if it has the column under "
        "another header, add that to the column's aliases in the contract; then `dpa retry`",
    )


def _kept(table: RawTable, is_skipped: pl.Expr) -> Iterator[RawBatch]:
    for batch in table.batches:
        rows = batch.rows.filter(~is_skipped)
        faults = batch.faults.filter(~_of_faults(batch.faults, table, is_skipped))
        skipped = batch.rows.height - rows.height + batch.faults.height - faults.height
        yield replace(batch, rows=rows, faults=faults, skipped=skipped)


def _of_faults(faults: pl.DataFrame, table: RawTable, is_skipped: pl.Expr) -> pl.Series:
    """Return which rows that cannot be used are left out."""
    width = len(table.header)
    cells = ([*table.cells_of_fault(raw or b""), *[""] * width][:width] for raw in faults["raw"])
    schema = {str(position): pl.String for position in range(width)}
    return pl.DataFrame(list(cells), schema=schema, orient="row").select(is_skipped).to_series()
