"""The rules that rows have to keep, one entry for each kind.

Validation, the words for people and the data dictionary read a rule here, and nowhere else. A kind of rule over one
column is an entry of `CELL_RULES`, which reads its limits from `Column`. A kind of rule over several columns is a class
like `Ordered`, which contracts state in `Contract.rules`.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import ClassVar, Literal, NamedTuple, override

import orjson
import polars as pl

from freight.contracts.contract import DEFAULT_TEXT_LIMIT, Column, Contract, RowRule, Show

CONTROL_CHARACTERS = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"
UNREADABLE = {
    "integer": "is no whole number",
    "number": "is no number as its file writes them",
    "instant": "is no date and time such as 2026-03-14 10:30:00",
    "date": "is no day such as 2026-03-14",
    "boolean": "is neither true nor false",
}


@dataclass(frozen=True)
class Cells:
    """A column of the rows that are checked.

    Attributes:
        column: The column.
        filled: Whether a cell holds anything, readable or not.
        now: The instant against which dates are judged.
    """

    column: Column
    filled: pl.Expr
    now: datetime

    @property
    def values(self) -> pl.Expr:
        """The typed values; null where a cell is empty or cannot be read."""
        return pl.col(self.column.name)

    @property
    def comparable(self) -> pl.Expr:
        """The values that can be compared: NaN is neither more nor less than a number."""
        return self.values.fill_nan(None) if self.column.dtype == "number" else self.values


class BrokenRule(NamedTuple):
    """A rule that a row breaks, as it is kept with the row.

    Attributes:
        reason: The code of its kind.
        columns: The names of its columns.
    """

    reason: str
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.columns)}: {self.reason}"

    @property
    def as_json(self) -> str:
        """The rule as text; a list of such texts is what `read_broken_rules` reads."""
        return orjson.dumps({"columns": self.columns, "reason": self.reason}).decode()


def read_broken_rules(text: str | None) -> list[BrokenRule]:
    """Return the rules that are kept with a row; none where no rule was broken."""
    return [BrokenRule(rule["reason"], tuple(rule["columns"])) for rule in orjson.loads(text or "[]")]


@dataclass(frozen=True)
class Rule:
    """A rule of one contract.

    Attributes:
        key: Its code and its columns, by which it is found.
        broken: Whether rows break it, by the cells of their columns; null means that they keep it.
        wrong: What is wrong with a row that breaks it, and what to do where that is not plain.
        stated: What it asks for, in the data dictionary; empty where the type of the column says it.
        is_misfit: Whether a value that breaks it is none of its column, rather than a bad one.
    """

    key: BrokenRule
    broken: Callable[[Mapping[str, Cells]], pl.Expr]
    wrong: Callable[[Show], str]
    stated: str
    is_misfit: bool = False


@cache
def rules_of(contract: Contract) -> tuple[Rule, ...]:
    """Return the rules of a contract: column by column, then those over several columns."""
    of_cells = (rule for column in contract.columns for rule in cell_rules(column))
    return (*of_cells, *row_rules(contract))


def rule_of(contract: Contract, broken: BrokenRule) -> Rule | None:
    """Return the rule that a row broke; None where the contract has it no more."""
    return next((rule for rule in rules_of(contract) if rule.key == broken), None)


# --- Rules over one column -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CellRule:
    """A kind of rule over one column.

    Attributes:
        reason: The code that quarantined rows get.
        applies: Whether a column has such a rule.
        broken: Whether cells break it; null means that they keep it.
        wrong: What is wrong with a cell that breaks it, behind the name of the column.
        stated: What it asks for, in the data dictionary.
        is_misfit: As in `Rule`.
    """

    reason: str
    applies: Callable[[Column], bool]
    broken: Callable[[Cells], pl.Expr]
    wrong: Callable[[Column], str]
    stated: Callable[[Column], str] = lambda _: ""
    is_misfit: bool = False

    def rule(self, column: Column) -> Rule:
        """Return the rule of a column."""
        name = column.name
        return Rule(
            key=BrokenRule(self.reason, (name,)),
            broken=lambda cells: self.broken(cells[name]),
            wrong=lambda show: f"{show(name)} {self.wrong(column)}",
            stated=self.stated(column),
            is_misfit=self.is_misfit,
        )


def cell_rules(column: Column) -> list[Rule]:
    """Return the rules over one column."""
    return [kind.rule(column) for kind in CELL_RULES if kind.applies(column)]


def _is_free_text(column: Column) -> bool:
    return column.dtype == "text" and not column.allowed and not column.pattern


def _has_range(column: Column) -> bool:
    return column.minimum is not None or column.maximum is not None


def _beyond_range(cells: Cells) -> pl.Expr:
    low, high = cells.column.minimum, cells.column.maximum
    below = [] if low is None else [cells.values < low]
    above = [] if high is None else [cells.values > high]
    return pl.any_horizontal(below + above)


def _beyond_range_in_words(column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    match column.minimum, column.maximum:
        case low, None:
            return f"is less than {low:g}{unit}"
        case None, high:
            return f"is more than {high:g}{unit}"
        case low, high:
            return f"is not between {low:g} and {high:g}{unit}"


def _range(column: Column) -> str:
    match column.minimum, column.maximum:
        case low, None:
            return f"at least {low:g}"
        case None, high:
            return f"at most {high:g}"
        case low, high:
            return f"{low:g} to {high:g}"


def _first_instant(column: Column) -> datetime:
    return datetime.combine(date.fromisoformat(column.not_before or ""), datetime.min.time(), UTC)


def _seconds(limit_s: int | None) -> timedelta:
    return timedelta(seconds=limit_s or 0)


CELL_RULES = (
    CellRule(
        "required",
        applies=lambda column: column.required,
        broken=lambda cells: ~cells.filled,
        wrong=lambda _: "must not be empty",
        stated=lambda _: "required",
    ),
    CellRule(
        "wrong_type",
        applies=lambda column: column.dtype != "text",
        broken=lambda cells: cells.values.is_null() & cells.filled,
        wrong=lambda column: UNREADABLE[column.dtype],
        is_misfit=True,
    ),
    CellRule(
        "not_finite",
        applies=lambda column: column.dtype == "number",
        broken=lambda cells: ~cells.values.is_finite(),
        wrong=lambda _: "is no finite number",
    ),
    CellRule(
        "control_character",
        applies=_is_free_text,
        broken=lambda cells: cells.values.str.contains(CONTROL_CHARACTERS),
        wrong=lambda _: "holds a character that cannot be shown",
    ),
    CellRule(
        "too_long",
        applies=_is_free_text,
        broken=lambda cells: cells.values.str.len_chars() > cells.column.max_length,
        wrong=lambda column: f"is longer than {column.max_length} characters",
        stated=lambda column: (
            f"at most {column.max_length} characters" if column.max_length != DEFAULT_TEXT_LIMIT else ""
        ),
    ),
    CellRule(
        "out_of_range",
        applies=_has_range,
        broken=_beyond_range,
        wrong=_beyond_range_in_words,
        stated=_range,
    ),
    CellRule(
        "not_allowed",
        applies=lambda column: bool(column.allowed),
        broken=lambda cells: ~cells.values.is_in(list(cells.column.allowed)),
        wrong=lambda column: f"is none of {', '.join(column.allowed)}",
        stated=lambda column: f"one of {', '.join(column.allowed)}",
        is_misfit=True,
    ),
    CellRule(
        "pattern",
        applies=lambda column: bool(column.pattern),
        broken=lambda cells: ~cells.values.str.contains(f"^(?:{cells.column.pattern})$"),
        wrong=lambda column: f"does not look like {column.pattern}",
        stated=lambda column: f"like `{column.pattern}`",
        is_misfit=True,
    ),
    CellRule(
        "out_of_range",
        applies=lambda column: column.not_before is not None,
        broken=lambda cells: cells.values < _first_instant(cells.column),
        wrong=lambda column: f"is before {column.not_before}",
        stated=lambda column: f"from {column.not_before}",
    ),
    CellRule(
        "future",
        applies=lambda column: column.future_limit_s is not None,
        broken=lambda cells: cells.values > cells.now + _seconds(cells.column.future_limit_s),
        wrong=lambda _: "lies in the future",
        stated=lambda column: f"at most {_seconds(column.future_limit_s) // timedelta(hours=1)} h ahead",
    ),
    CellRule(
        "too_old",
        applies=lambda column: column.past_limit_s is not None,
        broken=lambda cells: cells.values < cells.now - _seconds(cells.column.past_limit_s),
        wrong=lambda _: "lies too long ago",
        stated=lambda column: f"at most {_seconds(column.past_limit_s).days} days old",
    ),
)


# --- Rules over several columns ------------------------------------------------------------------------------------


def row_rules(contract: Contract) -> list[Rule]:
    """Return the rules of a contract over several columns."""
    return [_row_rule(rule, contract.by_name) for rule in contract.rules]


def _row_rule(rule: RowRule, columns: Mapping[str, Column]) -> Rule:
    return Rule(
        key=BrokenRule(rule.reason, rule.columns),
        broken=rule.broken,
        wrong=lambda show: f"{rule.sentence(columns, show)}: {rule.remedy}",
        stated=rule.sentence(columns, lambda name: f"`{name}`"),
    )


type Order = Literal["<", "<=", ">=", ">"]
BREAKS: dict[Order, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "<": operator.ge,
    "<=": operator.gt,
    ">=": operator.lt,
    ">": operator.le,
}
OF_TIMES: dict[Order, str] = {"<": "be before", "<=": "not be after", ">=": "not be before", ">": "be after"}
OF_NUMBERS: dict[Order, str] = {
    "<": "be less than",
    "<=": "not be more than",
    ">=": "not be less than",
    ">": "be more than",
}
COMPARABLE = ({"integer", "number"}, {"instant"}, {"date"})  # the types whose values compare with each other


@dataclass(frozen=True)
class Ordered(RowRule):
    """The values of two columns have an order: `Ordered("arrived_at", ">=", "departed_at")`.

    A row keeps it where one of the two is empty or cannot be read: other rules judge that.
    """

    column: str
    order: Order
    other: str

    reason: ClassVar[str] = "out_of_order"
    remedy: ClassVar[str] = "correct one of them"

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        """The two."""
        return (self.column, self.other)

    @override
    def fault(self, columns: Mapping[str, Column]) -> str:
        """Say why the two cannot be compared."""
        one, other = (columns[name] for name in self.columns)
        if not any({one.dtype, other.dtype} <= types for types in COMPARABLE):
            return f"{one.dtype} and {other.dtype} have no order"
        return "" if one.unit == other.unit else f"their units differ: {one.unit or 'none'}, {other.unit or 'none'}"

    @override
    def broken(self, cells: Mapping[str, Cells]) -> pl.Expr:
        """Return whether the two are the other way round."""
        return BREAKS[self.order](cells[self.column].comparable, cells[self.other].comparable)

    @override
    def sentence(self, columns: Mapping[str, Column], show: Show) -> str:
        """Say it as people say it of times, or of numbers."""
        words = OF_TIMES if columns[self.column].dtype in ("instant", "date") else OF_NUMBERS
        return f"{show(self.column)} must {words[self.order]} {show(self.other)}"


@dataclass(frozen=True)
class RequiredBy(RowRule):
    """A column must not be empty where another one says so: `RequiredBy("volume_t", "status", ("ERR",))`.

    A row keeps it where the other column is empty or has another value, and where the first one holds anything at all:
    whether that can be read is for the rule of its type to judge.
    """

    column: str
    other: str
    values: tuple[str, ...]

    reason: ClassVar[str] = "required_by"
    remedy: ClassVar[str] = "fill in the first, or correct the second"

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        """The column that must not be empty, and the one that says so."""
        return (self.column, self.other)

    @override
    def fault(self, columns: Mapping[str, Column]) -> str:
        """Say why the other column never has such a value."""
        other = columns[self.other]
        if other.dtype != "text" or not self.values:
            return f"{other.name} is no text" if self.values else f"it names no value of {other.name}"
        never = [value for value in self.values if other.allowed and value not in other.allowed]
        return f"{other.name} is never {never[0]!r}" if never else ""

    @override
    def broken(self, cells: Mapping[str, Cells]) -> pl.Expr:
        """Return whether the column is empty where the other one has one of the values."""
        return ~cells[self.column].filled & cells[self.other].values.is_in(list(self.values))

    @override
    def sentence(self, columns: Mapping[str, Column], show: Show) -> str:
        """Say when it must not be empty."""
        return f"{show(self.column)} must not be empty where {show(self.other)} is {' or '.join(self.values)}"
