"""Transform: type the text by the contract, separate good rows from bad ones, and keep the last row of each key."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl

from freight.ahead import ahead
from freight.contracts import Contract
from freight.drift import Profile, Profiler, retyped_column
from freight.frames import ROW_NUMBER
from freight.pipeline.bounds import BadRows, Time
from freight.pipeline.units import ConformedSpool, PlannedUnit, RawSpool
from freight.spool import SpoolWriter, read_spool, write_spool
from freight.transforms import derive
from freight.transforms.versions import with_content_hash
from freight.validation import Split, split


def transform_unit(planned: PlannedUnit, raw: RawSpool, now: datetime) -> ConformedSpool:
    """Type, validate and derive rows into the spool, without those that a later row of the file supersedes."""
    contract, locale = planned.source.contract, planned.source.locale(raw.read_as.notation)
    spool, keys, bad = ConformedSpool(raw), _KeyVersions(contract.business_key), BadRows()
    look = _Look(contract, planned.unit.as_of if planned.content.tells_day else None)
    for faults in read_spool(raw.faults_path):
        bad.note(faults)
    halves = (split(rows, contract, locale, now) for rows in read_spool(raw.rows_path))
    with SpoolWriter(spool.conformed_path) as conformed, SpoolWriter(spool.quarantined_path) as quarantined:
        for half in Time(planned).over(ahead(halves)):
            conformed.write(with_content_hash(derive(half.valid, contract), contract))
            quarantined.write(half.quarantined)
            keys.note(half.valid)
            bad.note(half.quarantined)
            look.note(half)
    outdated = keys.outdated(lambda: read_spool(spool.conformed_path))
    return replace(
        spool,
        rows=_drop_rows(spool.conformed_path, outdated) if outdated.len() else conformed.rows,
        superseded=outdated.len(),
        quarantined=raw.faults + quarantined.rows,
        reason_counts=bad.reason_counts,
        first_bad_rows=raw.with_places(bad.first),
        profile=look.profile(raw),
        normalised=look.normalised,
        retyped=look.retyped,
    )


class _Look:
    """Profiles the columns of a unit."""

    def __init__(self, contract: Contract, day: datetime | None) -> None:
        self._contract = contract
        self._profiler = Profiler(contract, day)
        self._filled: Counter[str] = Counter()
        self._misfits: Counter[str] = Counter()
        self.normalised = 0

    def note(self, half: Split) -> None:
        """Take in some rows."""
        self._profiler.note(half.typed)
        self._filled.update(half.filled)
        self._misfits.update(half.misfits)
        self.normalised += half.normalised

    def profile(self, raw: RawSpool) -> Profile:
        """Return the profile of the columns."""
        return Profile(raw.rows, raw.header, raw.left_out, self._profiler.columns(raw.rows, self._filled))

    @property
    def retyped(self) -> str:
        """See `ConformedSpool`."""
        column = retyped_column(self._contract, self._filled, self._misfits)
        return column.name if column else ""


class _KeyVersions:
    """Finds keys that occur more than once in a file, with 8 bytes of memory per row, however long the keys are."""

    def __init__(self, business_key: tuple[str, ...]) -> None:
        self._key = list(business_key)
        self._hashes: list[pl.Series] = []

    def note(self, frame: pl.DataFrame) -> None:
        """Record the keys of some rows."""
        self._hashes.append(self._hash(frame))

    def outdated(self, frames: Callable[[], Iterator[pl.DataFrame]]) -> pl.Series:
        """Return the row numbers that a later row of the same key supersedes."""
        hashes = pl.concat([pl.Series([], dtype=pl.UInt64), *self._hashes]).sort()  # a hash table takes ten times more
        repeated = hashes.filter(hashes == hashes.shift()).unique()
        if repeated.is_empty():
            return pl.Series(ROW_NUMBER, [], dtype=pl.Int64)
        columns = [*self._key, ROW_NUMBER]
        suspects = pl.concat(f.filter(self._hash(f).is_in(repeated.implode())).select(columns) for f in frames())
        return suspects.filter(pl.col(ROW_NUMBER) < pl.col(ROW_NUMBER).max().over(self._key))[ROW_NUMBER]

    def _hash(self, frame: pl.DataFrame) -> pl.Series:
        return frame.select(pl.struct(self._key).hash()).to_series()


def _drop_rows(path: Path, row_numbers: pl.Series) -> int:
    kept = path.with_suffix(".kept")
    without = (f.filter(~f[ROW_NUMBER].is_in(row_numbers.implode())) for f in read_spool(path))
    rows = write_spool(kept, without)
    kept.replace(path)
    return rows
