"""Limits on reading a unit: bad rows beyond the quarantine limit whatever follows, and processor time by size."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator

import polars as pl

from freight.errors import QuarantineLimitExceeded, SourceError
from freight.frames import ROW_NUMBER, bad_rows
from freight.pipeline.units import PlannedUnit
from freight.readers import SourceFile
from freight.reports.faults import reasons_in_words, remedy_of
from freight.warehouse.ledger import ATTEMPT_ROWS

LOOKED_AT_ROWS = 100_000  # up to this many bad rows are counted in full, even if they exceed the limit earlier
CPU_S, CPU_BYTES_PER_S = 120, 50_000  # of the processor; a machine ten times as slow needs a tenth of it


class BadRows:
    """Counts bad rows by reason, and keeps the first ones."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self.first = bad_rows()

    def note(self, frame: pl.DataFrame) -> None:
        """Count some bad rows."""
        if frame.is_empty():
            return
        self._reasons.update(dict(frame["reason"].value_counts().iter_rows()))
        known = pl.concat([self.first, frame])
        # An inherited parser may give two rows the same number, and the warehouse accepts each number once.
        self.first = known.unique(ROW_NUMBER, keep="first", maintain_order=True).sort(ROW_NUMBER).head(ATTEMPT_ROWS)

    @property
    def reason_counts(self) -> dict[str, int]:
        """Bad rows by reason code, the most frequent first."""
        return dict(self._reasons.most_common())

    def refuse_if_lost(self, planned: PlannedUnit, read_rows: int, most_rows: int) -> None:
        """Check whether the quarantine limit can still be kept.

        Args:
            planned: The unit.
            read_rows: The number of rows read so far, including the bad ones.
            most_rows: The most good rows that the unit can have.

        Raises:
            QuarantineLimitExceeded: The limit is exceeded even if all remaining rows are good.
        """
        limit, bad = planned.source.quarantine_limit, self._reasons.total()
        if bad <= LOOKED_AT_ROWS or bad <= limit * (bad + most_rows):
            return
        reasons = reasons_in_words(planned.source.contract, self.reason_counts, self.first)
        raise QuarantineLimitExceeded(
            f"at least {bad} of the first {read_rows} rows break the contract; the file exceeds the limit of "
            f"{limit:.0%} whatever follows, so the rest was not read: {reasons}",
            location=planned.unit.location,
            read_rows=read_rows,
            reason_counts=self.reason_counts,
            first_bad_rows=self.first,
            remedy=remedy_of(planned.source.contract, self.reason_counts, self.first),
        )


class Time:
    """The processor time that a step may spend on a file, by its size; other units have no size and no limit."""

    def __init__(self, planned: PlannedUnit) -> None:
        item = planned.content.item
        self._limit_s = CPU_S + item.fair_bytes / CPU_BYTES_PER_S if isinstance(item, SourceFile) else None

    def over[T](self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items; the time to produce and to process them counts.

        Raises:
            SourceError: The file takes longer than any file of its size should.
        """
        # Processor time of all threads: other work on a busy machine does not count against a file.
        started_s = time.process_time()
        for item in items:
            yield item
            if self._limit_s is not None and time.process_time() - started_s > self._limit_s:
                raise SourceError(
                    "timed_out",
                    f"it takes more than {self._limit_s:,.0f} s of processor time, the limit for a file of its size",
                    remedy="check its content; deliver the table alone, in parts, or unpacked",
                )
