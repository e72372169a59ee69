"""The promise of a dataset: its columns, units, ranges and business key, written once as data."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from freight.errors import ConfigurationError

if TYPE_CHECKING:  # parsers import this module, and must not load polars
    import polars as pl

    from freight.contracts.rules import Cells

type Show = Callable[[str], str]  # shows a column's name in a text for people

Dtype = Literal["text", "integer", "number", "instant", "date", "boolean"]
Drift = Literal["freeze", "allow_added", "quarantine"]

LOCAL_ZONE = "Africa/Douala"  # no daylight saving, so every local time exists exactly once
EARLIEST_DAY, LATEST_DAY = "1900-01-01", "2100-01-01"  # other days stand for "none", or are mistyped
DEFAULT_TEXT_LIMIT = 200  # characters; a longer name or code is a parsing accident, not data


@dataclass(frozen=True)
class Column:
    """One column of a dataset.

    Attributes:
        name: The name in the warehouse, with its unit if it has one (`_t`, `_deg`, `_km`).
        dtype: The type; an `instant` is stored in UTC, and without an offset it is local to the source's time zone.
        description: One sentence for the data dictionary.
        unit: The SI or trade unit; empty for codes and names.
        required: Whether an empty value breaks the contract.
        optional: Whether a source may lack the whole column.
        minimum, maximum: The inclusive range of a number.
        allowed: The only values that a text may have, compared after upper-casing.
        pattern: The regular expression that the whole text must match.
        example: A text that matches the pattern, for messages to people.
        max_length: The longest text, in characters.
        not_before: The earliest day of a date or an instant, as `YYYY-MM-DD`.
        not_after: The day before which it must be, as `YYYY-MM-DD`.
        future_limit_s: The longest time, in seconds, by which an instant may be later than the reading.
        past_limit_s: The longest time, in seconds, by which an instant may be earlier than the reading.
        aliases: Other headers that sources use; case and accents do not matter.
    """

    name: str
    dtype: Dtype
    description: str
    unit: str = ""
    required: bool = False
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    pattern: str | None = None
    example: str = ""
    max_length: int = DEFAULT_TEXT_LIMIT
    not_before: str = EARLIEST_DAY
    not_after: str = LATEST_DAY
    future_limit_s: int | None = None
    past_limit_s: int | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pattern and not re.fullmatch(self.pattern, self.example):
            raise ConfigurationError(f"{self.name}: its example {self.example!r} does not match {self.pattern}")

    @property
    def is_free_text(self) -> bool:
        """Whether it may have any text, such as a name."""
        return self.dtype == "text" and not self.allowed and not self.pattern


class RowRule(ABC):
    """A rule over several columns of a row; `freight.contracts.rules` defines the kinds.

    Attributes:
        reason: The reason code of quarantined rows.
        remedy: The advice for a row that breaks the rule.
    """

    reason: ClassVar[str]
    remedy: ClassVar[str]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the rule's columns."""

    @abstractmethod
    def fault(self, columns: Mapping[str, Column]) -> str:
        """Return why the columns cannot have such a rule; an empty text if they can."""

    @abstractmethod
    def broken(self, cells: Mapping[str, "Cells"]) -> "pl.Expr":
        """Return whether rows break the rule; null means that they keep it."""

    @abstractmethod
    def sentence(self, columns: Mapping[str, Column], show: Show) -> str:
        """Return the rule as a sentence."""


@dataclass(frozen=True)
class Contract:
    """The promise of a dataset.

    Attributes:
        dataset: The slug, the same in every folder.
        version: The version, raised with each change of meaning; files are read again under a new version.
        table: The warehouse table that holds the rows.
        business_key: The columns that identify a row.
        columns: The columns that a source delivers.
        derived: The columns that the transform or the warehouse adds; never read from a source, never part of the
            content hash.
        rules: The rules between several columns of a row.
        freshness_s: The age, in seconds, after which the dataset counts as stale.
        load_order: The position in a load: lower numbers load first (references before facts).
        snapshot: Whether each file lists all keys, so that a missing key is flagged.
        event_time: The column with the instant of a row's event; a dataset without one cannot be streamed.
        immutable: Whether a key never changes its content; a row that differs from the stored one is quarantined.
        retention_days: The number of days that rows are kept, by their event time; None to keep them for ever.
        drift: The reaction to a file or table whose columns no longer match the contract. `freeze`: none of it loads.
            `allow_added`: columns unknown to the contract are left out and reported; otherwise as `freeze`.
            `quarantine`: its rows wait in quarantine, whatever the limit. A message with other fields is always
            quarantined.
    """

    dataset: str
    version: int
    table: str
    business_key: tuple[str, ...]
    columns: tuple[Column, ...]
    freshness_s: int
    load_order: int
    derived: tuple[Column, ...] = ()
    snapshot: bool = False
    event_time: str | None = None
    immutable: bool = False
    retention_days: int | None = None
    drift: Drift = "freeze"
    rules: tuple[RowRule, ...] = ()

    def __post_init__(self) -> None:
        for rule in self.rules:
            if fault := self._fault_of(rule):
                raise ConfigurationError(f"the contract {self.dataset!r} cannot have the rule {rule}: {fault}")

    def _fault_of(self, rule: RowRule) -> str:
        if unknown := [name for name in rule.columns if name not in self.by_name]:
            return f"no source delivers a column {unknown[0]!r}"
        if len(set(rule.columns)) < len(rule.columns):
            return "it names one column twice"
        is_doubled = [(other.reason, other.columns) for other in self.rules].count((rule.reason, rule.columns)) > 1
        return "another rule has the same kind and columns" if is_doubled else rule.fault(self.by_name)

    @property
    def by_name(self) -> dict[str, Column]:
        """The columns that a source delivers, by their names."""
        return {column.name: column for column in self.columns}

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns that a source delivers, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def stored_names(self) -> tuple[str, ...]:
        """The names of all business columns of the table, in order."""
        return self.column_names + tuple(column.name for column in self.derived)
