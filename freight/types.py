"""Small types that cross module borders."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Literal, NewType, Protocol, Self

RunId = NewType("RunId", str)
BatchId = NewType("BatchId", int)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Cause = Literal["load", "replay", "import"]

GapKind = Literal["retention", "recreated", "truncated"]

ReasonCode = Literal[
    "tombstone",
    "not_json",
    "not_object",
    "unknown_field",
    "missing_field",
    "doubled_field",
    "schema_version",
    "ragged_row",
    "bad_encoding",
    "control_character",
    "nested_value",
    "excel_error",
    "no_text",
    "required",
    "wrong_type",
    "not_finite",
    "out_of_range",
    "not_allowed",
    "pattern",
    "too_long",
    "future",
    "too_old",
    "conflicting_event",
    "refused_by_warehouse",
    "schema_drift",
]
DRIFTED: ReasonCode = "schema_drift"  # of rows that are kept with what the contract does not know


class PasswordSource(Protocol):
    """Gives a password each time that a connection is made, so that it may change meanwhile."""

    def __call__(self, *, fresh: bool = False) -> str:
        """Return the password; `fresh` after the one that was known has been refused."""
        ...


@dataclass(frozen=True)
class Position:
    """What was last loaded from a place of a source.

    Attributes:
        file_hash: tells its content from others.
        contract_version: by which it was validated.
        size_bytes, modified_us: of a file.
        origin_us: the instant it spoke for, in microseconds since 1970 UTC.
        batch_id: that brought it.
        watermark: up to where the source had been read, as its reader notes it; None where the hash says all.
    """

    file_hash: str
    contract_version: int
    size_bytes: int
    modified_us: int
    origin_us: int
    batch_id: BatchId
    watermark: str | None = None


@dataclass(frozen=True)
class LoadCounts:
    """How the rows read from a load unit ended; the five outcomes always add up to `read`."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    quarantined: int = 0

    def __add__(self, other: "LoadCounts") -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        return ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self))

    @property
    def accounted(self) -> int:
        """Rows whose outcome is known."""
        return self.inserted + self.updated + self.unchanged + self.superseded + self.quarantined

    @property
    def balanced(self) -> bool:
        """Whether every row read is accounted for."""
        return self.read == self.accounted

    @property
    def changed(self) -> int:
        """Rows that changed the content of the warehouse."""
        return self.inserted + self.updated


def instant_of(origin_us: int) -> datetime:
    """Return the instant of an origin, in microseconds since 1970 UTC."""
    return EPOCH + timedelta(microseconds=origin_us)


def origin_us_of(instant: datetime) -> int:
    """Return an instant in microseconds since 1970 UTC, exactly: a float of seconds would round."""
    return (instant - EPOCH) // timedelta(microseconds=1)
