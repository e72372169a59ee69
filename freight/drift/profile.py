"""Profiles the columns of a load unit in a few numbers, which are stored with its lineage."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson
import polars as pl
from pydantic import TypeAdapter

from freight.contracts import Column, Contract
from freight.frames import ROW_NUMBER

SAMPLE_ROWS = 10_000  # enough for any share or quantile to within a hundredth
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
EMPTY, ZERO = "", "0"
NEAR_DAYS = 18  # nearer instants count as this far from the day of their file, so that they never cause a jump
DIGITS = 6
DAY_S = 86_400


@dataclass(frozen=True)
class ColumnProfile:
    """The profile of a column.

    Attributes:
        shares: The shares of the cells that are empty (``), are zero (`0`), or have each value that the contract
            allows.
        sizes: The quantiles of its numbers without sign and zeros; empty if there are none. For instants, of their
            distance in days from the day that the unit stands for, if its name contains that day.
        sized: The approximate number of values behind the quantiles.
        in_days: Whether the quantiles are days.
    """

    shares: Mapping[str, float]
    sizes: tuple[float, ...] = ()
    sized: int = 0
    in_days: bool = False


@dataclass(frozen=True)
class Profile:
    """The profile of a load unit.

    Attributes:
        rows: The number of rows.
        header: The header as its source wrote it.
        left_out: The headers of columns that were not loaded.
        columns: The profiles of the columns by name, without the business key, whose values are new each time.
    """

    rows: int
    header: tuple[str, ...]
    left_out: tuple[str, ...]
    columns: Mapping[str, ColumnProfile]


_PROFILES = TypeAdapter(Profile)


def written(profile: Profile) -> str:
    """Return a profile as a text."""
    return orjson.dumps(profile).decode()


def read_profile(text: str) -> Profile:
    """Return a profile from its text."""
    return _PROFILES.validate_json(text)


class Profiler:
    """Examines rows as they pass, and keeps a sample of limited size.

    The hash of a row's number decides whether it is in the sample, so the same unit always has the same profile.

    Args:
        contract: The contract of the rows.
        day: The day that the unit stands for by its name; None if the name has no day.
    """

    def __init__(self, contract: Contract, day: datetime | None = None) -> None:
        self._day = day
        self._columns = [column for column in contract.columns if column.name not in contract.business_key]
        self._sampled = [column.name for column in self._columns if self._is_sampled(column)]
        self._sample = pl.DataFrame()
        self._one_in = 1

    def note(self, typed: pl.DataFrame) -> None:
        """Examine some rows, whether they keep the contract or not."""
        if self._sampled:
            self._sample = pl.concat([self._sample, self._thinned(typed.select(ROW_NUMBER, *self._sampled))])
        while self._sample.height > SAMPLE_ROWS:
            self._one_in *= 2
            self._sample = self._thinned(self._sample)

    def _is_sampled(self, column: Column) -> bool:
        return bool(column.allowed or _is_numeric(column) or (column.dtype == "instant" and self._day))

    def _thinned(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame if self._one_in == 1 else frame.filter(pl.col(ROW_NUMBER).hash(seed=0) % self._one_in == 0)

    def columns(self, rows: int, filled: Mapping[str, int]) -> dict[str, ColumnProfile]:
        """Return the profiles of the columns.

        Args:
            rows: The number of rows that were examined.
            filled: The number of values by column.
        """
        return {c.name: self._profile(c, rows, filled.get(c.name, 0)) for c in self._columns} if rows else {}

    def _profile(self, column: Column, rows: int, filled: int) -> ColumnProfile:
        shares = {EMPTY: _rounded(1 - filled / rows)}
        if column.name not in self._sampled:
            return ColumnProfile(shares)
        values = self._sample[column.name]
        if column.allowed:
            return ColumnProfile({**shares, **{text: _share(values == text) for text in column.allowed}})
        if not _is_numeric(column):
            days = ((values - self._day).dt.total_seconds() / DAY_S).abs().drop_nulls()
            return self._sized(shares, days.clip(lower_bound=NEAR_DAYS), in_days=True)
        sizes = values.abs().filter(values.is_finite() & (values != 0))
        return self._sized({**shares, ZERO: _share(values == 0)}, sizes)

    def _sized(self, shares: Mapping[str, float], sizes: pl.Series, *, in_days: bool = False) -> ColumnProfile:
        quantiles = tuple(_rounded(sizes.quantile(q)) for q in QUANTILES) if sizes.len() else ()
        return ColumnProfile(shares, quantiles, sizes.len() * self._one_in, in_days)


def _is_numeric(column: Column) -> bool:
    return column.dtype in ("number", "integer")


def _share(hits: pl.Series) -> float:
    return _rounded(hits.fill_null(value=False).mean())


def _rounded(value: object) -> float:
    assert isinstance(value, float)
    return float(f"{value:.{DIGITS}g}")
