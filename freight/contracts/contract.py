"""What a dataset promises: its columns, units, ranges and business key, written once as data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from freight.errors import ConfigurationError

if TYPE_CHECKING:  # parsers import this module, and do without polars
    import polars as pl

    from freight.contracts.rules import Cells

type Show = Callable[[str], str]  # how a text for people shows a column

Dtype = Literal["text", "integer", "number", "instant", "date", "boolean"]
Drift = Literal["freeze", "allow_added", "quarantine"]

LOCAL_ZONE = "Africa/Douala"  # no daylight saving, so every local time exists exactly once
DEFAULT_TEXT_LIMIT = 200  # characters; a name or code longer than this is a parsing accident, not data


@dataclass(frozen=True)
class Column:
    """One column of a dataset.

    Attributes:
        name: warehouse name; carries the unit where there is one (`_t`, `_deg`, `_km`).
        dtype: `instant` is stored in UTC; a source value without an offset is local to the source's time zone.
        description: one sentence for the data dictionary.
        unit: SI or trade unit, empty for codes and names.
        required: whether an empty value breaks the contract.
        optional: whether a source may lack the column altogether.
        minimum, maximum: inclusive range of a number.
        allowed: the only values a text may have, compared after upper-casing.
        pattern: regular expression that the whole text matches.
        max_length: longest text, in characters.
        not_before: first day that an instant may lie on, as `YYYY-MM-DD`.
        future_limit_s: how far after the time of reading an instant may lie, in seconds.
        past_limit_s: how far before the time of reading an instant may lie, in seconds.
        aliases: further headers that sources use, in any case and with or without accents.
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
    max_length: int = DEFAULT_TEXT_LIMIT
    not_before: str | None = None
    future_limit_s: int | None = None
    past_limit_s: int | None = None
    aliases: tuple[str, ...] = ()


class RowRule(ABC):
    """A rule over several columns of a row; `freight.contracts.rules` has its kinds.

    Attributes:
        reason: The code that quarantined rows get.
        remedy: What to do about a row that breaks it.
    """

    reason: ClassVar[str]
    remedy: ClassVar[str]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""

    @abstractmethod
    def fault(self, columns: Mapping[str, Column]) -> str:
        """Say why its columns cannot have such a rule; return nothing where they can."""

    @abstractmethod
    def broken(self, cells: Mapping[str, "Cells"]) -> "pl.Expr":
        """Return whether rows break it; null means that they keep it."""

    @abstractmethod
    def sentence(self, columns: Mapping[str, Column], show: Show) -> str:
        """Say what rows must keep."""


@dataclass(frozen=True)
class Contract:
    """The promise of a dataset.

    Attributes:
        dataset: slug, the same in every folder.
        version: raised with each change of meaning; files are read again under a new version.
        table: warehouse table that holds the rows.
        business_key: columns that identify a row.
        columns: what a source delivers.
        derived: what the transform or the warehouse adds; never read from a source, never part of the content hash.
        rules: what must hold between several columns of a row.
        freshness_s: age after which the dataset counts as stale, in seconds.
        load_order: datasets with a lower number load first (references before facts).
        snapshot: whether a file states all keys, so that a key that is absent from it is worth a flag.
        event_time: the instant at which what a row tells happened; a dataset without one cannot be streamed.
        immutable: whether a key never changes its content; a row that differs from the stored one is quarantined.
        retention_days: how long rows are kept, by their event time; None for ever.
        drift: what becomes of a file or table whose columns are no more those of the contract. `freeze`: nothing of it
            loads. `allow_added`: columns that the contract does not know are left out, and told; else as `freeze`.
            `quarantine`: its rows wait in quarantine, whatever the limit. A message that has other fields is always
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
        return "another one is of the same kind and columns" if is_doubled else rule.fault(self.by_name)

    @property
    def by_name(self) -> dict[str, Column]:
        """The columns that a source delivers, by their names."""
        return {column.name: column for column in self.columns}

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns that a source delivers, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def stored_names(self) -> tuple[str, ...]:
        """Names of all business columns of the table, in order."""
        return self.column_names + tuple(column.name for column in self.derived)
