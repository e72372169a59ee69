"""Errors, named by what to do about them.

    DpaError
    ├── ConfigurationError        fail at once: a person has to change a setting
    ├── TransientError            retry: the same call may succeed later
    │   └── SourceAway            retry; then this input fails, the others go on
    ├── SourceError               this input fails, the others go on
    │   └── QuarantineLimitExceeded   too many bad rows: nothing of the unit loads
    ├── PositionFenced            another run has loaded this input: roll back and look again
    ├── RowsRefused               the warehouse refuses rows that keep their contract: find and quarantine them
    ├── OffsetGap                 messages are gone that were never read: a person has to accept that
    └── InvariantViolated         crash: the warehouse contradicts itself

Errors carry ids as attributes, never secrets. A `SourceError` always names a remedy.
"""

from collections.abc import Mapping
from typing import Any, Literal

from freight.outward import plain

SourceFault = Literal[
    "ambiguous_numbers",
    "ambiguous_dates",
    "ambiguous_sheets",
    "missing",
    "gone",
    "unreadable",
    "empty",
    "header_only",
    "corrupt",
    "encrypted",
    "unsupported",
    "too_large",
    "timed_out",
    "changed_while_reading",
    "unknown_encoding",
    "missing_column",
    "doubled_column",
    "rows_above_header",
    "second_header",
    "other_unit",
    "unknown_column",
    "renamed_column",
    "retyped_column",
    "distribution_jump",
    "quarantine_limit",
    "no_day",
    "dated_ahead",
    "transform_failed",
]


class DpaError(Exception):
    """Base of every error that DPA raises on purpose; its words are safe to show in a terminal."""

    def __str__(self) -> str:
        return plain(super().__str__())


class ConfigurationError(DpaError):
    """A setting, catalog entry or environment is wrong; retrying cannot help."""


class TransientError(DpaError):
    """The outside world failed in a way that usually passes: lost connection, deadlock, locked file.

    Attributes:
        retry_after_s: The pause that the other side asks for.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceAway(TransientError):
    """A source does not answer, or the connection broke; if it stays away, only this source fails."""


class SourceError(DpaError):
    """One input cannot be used; the message names the file, the place, the fault and the remedy."""

    def __init__(
        self,
        fault: SourceFault,
        message: str,
        *,
        remedy: str,
        location: str = "",
        row: int | str | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(fault, message, remedy, location, row, column)
        self.fault = fault
        self.message = message
        self.remedy = remedy
        self.location = location
        self.row = row
        self.column = column

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                self.location,
                f"row {self.row}" if self.row is not None else "",
                f"column {self.column!r}" if self.column else "",
            )
            if part
        )
        return plain(f"{place or 'source'}: {self.message} [{self.fault}]. Remedy: {self.remedy}")

    def at(self, location: str) -> "SourceError":
        """Return the same error with the location filled in, for faults found below the level that knows it."""
        if not self.location:
            self.location = location
        return self


class QuarantineLimitExceeded(SourceError):
    """Too many rows of a load unit broke the contract; nothing was loaded.

    Attributes:
        read_rows: The number of rows in the unit.
        reason_counts: The numbers of bad rows by reason code.
        first_bad_rows: The frame of the first bad rows, as the validation returns it.
    """

    def __init__(
        self,
        message: str,
        *,
        location: str,
        read_rows: int,
        reason_counts: Mapping[str, int],
        first_bad_rows: Any,
        remedy: str,
        fault: SourceFault = "quarantine_limit",
        column: str | None = None,
    ) -> None:
        super().__init__(fault, message, remedy=remedy, location=location, column=column)
        self.read_rows = read_rows
        self.reason_counts = reason_counts
        self.first_bad_rows = first_bad_rows


class PositionFenced(DpaError):
    """The stored position moved since it was read: another run has committed this input."""


class RowsRefused(DpaError):
    """The warehouse refuses some of the rows, because of a constraint or of their values."""


class OffsetGap(DpaError):
    """Offsets are gone before they were read; the message names them and how to accept the gap."""


class InvariantViolated(DpaError):
    """The warehouse or the ledger contradicts itself; continuing could destroy evidence."""
