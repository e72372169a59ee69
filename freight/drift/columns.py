"""Reports added, dropped and renamed columns, with the old header, the new one, and the remedy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from freight.contracts import Column, Contract
from freight.contracts.headers import (
    FEW_CELLS,
    SHOWN_CELLS,
    HeaderMatch,
    is_like_a_name,
    is_unnamed,
    likeness,
    listed,
    name_in,
    normalise,
    option_to_ignore,
    place_of,
    shown,
)
from freight.contracts.rules import cell_rules
from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.validation import Locale, split

SAMPLE_ROWS, TELLING_ROWS = 1_000, 5  # the most values to examine, and the fewest that are conclusive
GUESSED_CELLS = 200  # a limit, since each cell is compared with each column
ALIKE = 0.6  # difflib's default for a close match
FITS, CONTRADICTS = 0.9, 0.5  # shares of the values that keep the contract


@dataclass(frozen=True)
class FirstRows:
    """The first rows of drifted content.

    Attributes:
        rows: The text columns named by their position; there may be no rows.
        locale: The way in which numbers and times are written.
        as_of: The instant that the content stands for.
    """

    rows: pl.DataFrame
    locale: Locale
    as_of: datetime


@dataclass(frozen=True)
class _Rename:
    """A cell that may be the new header of a column; the most likely one has the highest rank."""

    cell: str
    column: str
    why: str
    rank: float


def describe_drift(
    match: HeaderMatch, passed_over: Sequence[str], sample: FirstRows, last: Sequence[str], command: str
) -> SourceError:
    """Describe how a header differs from its contract, with the remedy.

    Args:
        match: The drifted header.
        passed_over: The other columns of the source, which its reader does not read.
        sample: The first rows.
        last: The last header that was loaded from the source; empty if there was none.
        command: The command that loads the content once the contract knows the header.
    """
    headers = _headers(match, passed_over, last)
    if renames := _renames(match, passed_over, sample):
        return _renamed(match, renames, headers, command)
    module = _module(match.contract)
    if match.missing:
        return SourceError(
            "missing_column",
            f"the header lacks {listed(match.missing)}; {headers}",
            column=match.missing[0],
            remedy=f"deliver the column, or add its new header to the aliases of {match.missing[0]!r} in {module}, "
            f"then `{command}`",
        )
    unknown = listed([place_of(at) if is_unnamed(match.header[at]) else match.header[at] for at in match.unknown])
    return SourceError(
        "unknown_column",
        f"the header has {unknown}, which the contract {match.contract.dataset!r} does not know; {headers}",
        column=name_in(match.unknown_cells[0]),
        remedy=f"leave it out in the catalog: {option_to_ignore(match.unknown_cells)}; or add it to {module}, as an "
        f'alias or a column, or set drift="allow_added" there to leave out all such columns; then `{command}`',
    )


def _renamed(match: HeaderMatch, renames: Sequence[_Rename], headers: str, command: str) -> SourceError:
    changes = [f"{shown(r.cell)} seems to be the new header of {r.column!r}, by {r.why}" for r in renames]
    if gone := [name for name in match.missing if all(name != rename.column for rename in renames)]:
        changes.append(f"the header lacks {listed(gone)}")
    aliases = {rename.column: normalise(rename.cell) for rename in renames if is_like_a_name(rename.cell)}
    added = ", ".join(f"{_alias(aliases, r.column)} to the aliases of {r.column!r}" for r in renames)
    remedy = (
        f"have the header corrected; or, if it is the same column in the same unit, add {added} in "
        f"{_module(match.contract)}, then `{command}`"
    )
    return SourceError("renamed_column", "; ".join([*changes, headers]), column=name_in(renames[0].cell), remedy=remedy)


def _alias(aliases: Mapping[str, str], column: str) -> str:
    return repr(aliases[column]) if column in aliases else "the new header"


def _headers(match: HeaderMatch, passed_over: Sequence[str], last: Sequence[str]) -> str:
    """Describe the new header and the old one."""
    was = f"the last one loaded read {listed(last)}" if last else f"expected {listed(match.contract.column_names)}"
    there = f", and the source also has {listed(passed_over)}" if passed_over else ""
    most = SHOWN_CELLS if any(match.columns) else FEW_CELLS
    return f"it reads {listed(match.header, most)}{there}; {was}"


def _module(contract: Contract) -> str:
    return f"freight/contracts/{contract.dataset}.py"


def _renames(match: HeaderMatch, passed_over: Sequence[str], sample: FirstRows) -> list[_Rename]:
    """Return the most likely new header of each missing column, in order of likelihood."""
    if not any(match.columns) or len(match.unknown) > GUESSED_CELLS:
        return []  # this is not a header, or it belongs to another table
    found = sorted([*_by_values(match, sample), *_by_name(match, passed_over, sample)], key=lambda r: -r.rank)
    renames: list[_Rename] = []
    for rename in found:
        if not any(rename.column == other.column or rename.cell == other.cell for other in renames):
            renames.append(rename)
    return renames


def _by_name(match: HeaderMatch, passed_over: Sequence[str], sample: FirstRows) -> Iterator[_Rename]:
    """Yield cells that read like a column, unless their values contradict it."""
    cells = [(match.header[position], _texts(sample, position)) for position in match.unknown]
    for cell, texts in [*cells, *((cell, None) for cell in passed_over[:GUESSED_CELLS])]:
        for column in match.lacking:
            alike = likeness(cell, column)
            share = _fitting(texts, column, sample)
            if alike >= ALIKE and (share is None or share >= CONTRADICTS):
                yield _Rename(cell, column.name, "its name", 1 + alike)


def _by_values(match: HeaderMatch, sample: FirstRows) -> Iterator[_Rename]:
    """Yield cells whose values fit exactly one missing column, if no other cell's values fit it."""
    fits = [
        (position, column)
        for position in match.unknown
        for column in match.lacking
        if (_fitting(_texts(sample, position), column, sample) or 0) >= FITS
    ]
    for position, column in fits:
        if sum(position == p or column == c for p, c in fits) == 1:
            yield _Rename(match.header[position], column.name, "its values", 1)


def _texts(sample: FirstRows, position: int) -> pl.Series | None:
    name = str(position)
    return sample.rows[name] if name in sample.rows.columns else None


def _fitting(texts: pl.Series | None, column: Column, sample: FirstRows) -> float | None:
    """Return the share of values that keep the contract of a column; None if that is not conclusive."""
    takes_any_text = not any(rule.is_misfit for rule in cell_rules(column))
    if texts is None or takes_any_text:
        return None
    filled = texts.filter(texts.str.strip_chars() != "").head(SAMPLE_ROWS)
    if filled.len() < TELLING_ROWS:
        return None
    alone = _contract_of(replace(column, future_limit_s=None, past_limit_s=None))
    rows = pl.DataFrame({ROW_NUMBER: pl.int_range(filled.len(), eager=True), column.name: filled})
    return split(rows, alone, sample.locale, sample.as_of).valid.height / filled.len()


def _contract_of(column: Column) -> Contract:
    return Contract("", 0, "", (column.name,), (column,), freshness_s=0, load_order=0)
