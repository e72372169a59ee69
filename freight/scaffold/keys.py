"""Finds the key of a sample: the columns whose cells identify each of its rows."""

from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from typing import NamedTuple

import polars as pl

from freight.contracts import Column
from freight.contracts.headers import SHOWN_CHARS, listed, normalise
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER
from freight.scaffold.sample import Sample

CODE_WORDS = {"id", "code", "no", "nr", "num", "numero", "number", "ref", "reference", "matricule", "phone", "tel"}
LOOKED_AT_ROWS = 20_000  # to pass over most candidates quickly
OF_THREE = 16  # the columns of which three are tried together
SHOWN_DIFFERENCES = 5


class _Miss(NamedTuple):
    """Columns that are no key: the number of rows too many, and the columns."""

    rows: int
    names: tuple[str, ...]


def given_key(sample: Sample, columns: Sequence[Column], key: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a key that a person names.

    Args:
        sample: The sample.
        columns: Its columns.
        key: The headers or names of the key's columns.

    Raises:
        ConfigurationError: There is no such column, it is empty in some rows, or two rows have the same key.
    """
    names = {normalise(cell): column.name for cell, column in zip(sample.header, columns, strict=True)}
    names.update({column.name: column.name for column in columns})
    if unknown := next((given for given in key if normalise(given) not in names), None):
        raise ConfigurationError(f"--key {unknown}: the sample has no such column, it has {listed(sample.header)}")
    chosen = tuple(dict.fromkeys(names[normalise(given)] for given in key))
    if empty := next((c.name for c in columns if c.name in chosen and not c.required), None):
        raise ConfigurationError(f"--key {empty}: it is empty in some rows of the sample, but a key must not be empty")
    cells = _cells(sample, columns)
    if _rows_too_many(cells, chosen):
        raise ConfigurationError(
            f"--key {', '.join(key)}: {_told_apart(cells, chosen)}. Name one more column with --key, or correct the "
            "sample: of rows with the same key, only the last is kept"
        )
    return chosen


def guessed_key(sample: Sample, columns: Sequence[Column]) -> tuple[str, ...]:
    """Return the first of the smallest keys, of at most three columns.

    Raises:
        ConfigurationError: There is none; the message names the columns that come nearest.
    """
    cells = _cells(sample, columns)
    looked_at, misses = cells.head(LOOKED_AT_ROWS), []
    for names in _candidates(columns):
        rows = _rows_too_many(looked_at, names) or _rows_too_many(cells, names)
        if not rows:
            return names
        misses.append(_Miss(rows, names))
    nearest = min(misses, key=lambda miss: (miss.rows, len(miss.names)), default=None)
    raise ConfigurationError(
        "no column, and no two or three columns together, identify the rows of the sample"
        + (f"; the nearest are {' + '.join(nearest.names)}: {_told_apart(cells, nearest.names)}" if nearest else "")
        + ". Name the key with --key, once for each column, or correct the sample"
    )


def is_code(name: str) -> bool:
    """Return whether the name of a column says that it holds codes."""
    return name.rpartition("_")[2] in CODE_WORDS


def _cells(sample: Sample, columns: Sequence[Column]) -> pl.DataFrame:
    texts = [pl.col(str(position)).str.strip_chars().alias(column.name) for position, column in enumerate(columns)]
    return sample.rows.select(pl.col(ROW_NUMBER).alias(""), *texts)  # no column of a contract has an empty name


def _rows_too_many(cells: pl.DataFrame, names: Sequence[str]) -> int:
    """Return how many rows have the key of an earlier row."""
    return cells.height - cells.select(names).n_unique()


def _told_apart(cells: pl.DataFrame, names: Sequence[str]) -> str:
    """Describe the first two rows with the same key."""
    doubled = cells.filter(cells.select(names).is_duplicated())
    first, second = doubled.join(doubled.select(names).head(1), on=names).head(2).iter_rows(named=True)
    rows, many = f"rows {first['']} and {second['']}", _rows_too_many(cells, names)
    of_all = f"unique but for {many:,} rows, such as {rows}" if many > 1 else f"unique but for {rows}"
    same = ", ".join(f"{name} {_short(first[name])}" for name in names)
    return f"{of_all}, both with {same}, which {_differences(first, second)}"


def _differences(first: dict[str, str], second: dict[str, str]) -> str:
    differ = [name for name in first if name and first[name] != second[name]]
    told = (f"{name} ({_short(first[name])}, {_short(second[name])})" for name in differ[:SHOWN_DIFFERENCES])
    return f"differ in {', '.join(told)}" if differ else "are equal in every column"


def _short(text: object) -> str:
    whole = str(text)
    return repr(whole if len(whole) <= SHOWN_CHARS else f"{whole[:SHOWN_CHARS]}…")


def _candidates(columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """Yield possible keys: codes, other columns, pairs, times, three columns; measured values are never keys."""
    usable = [column for column in columns if column.required and column.dtype not in ("number", "boolean")]
    ordered = sorted(usable, key=lambda column: (column.dtype in ("instant", "date"), not is_code(column.name)))
    plain = [column.name for column in ordered if column.dtype in ("text", "integer")]
    names = [column.name for column in usable]
    times = ((column.name,) for column in ordered if column.dtype in ("instant", "date"))
    yield from chain(((name,) for name in plain), combinations(names, 2), times, combinations(names[:OF_THREE], 3))
