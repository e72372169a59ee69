"""The rules that rows must keep, one entry for each kind.

Validation, messages for people and the data dictionary all take a rule from here. A kind of rule over one column is an
entry of `CELL_RULES`, which reads its limits from `Column`. A kind of rule over several columns is a class like
`Ordered`, which contracts list in `Contract.rules`.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import ClassVar, Literal, NamedTuple, override

import orjson
import polars as pl

from freight.contracts.contract import DEFAULT_TEXT_LIMIT, EARLIEST_DAY, LATEST_DAY, Column, Contract, RowRule, Show

# Control characters but tab and line ends, signs without width or of direction, and the sign for lost characters.
UNSEEN_CHARACTERS = (
    r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\u00AD\u061C\u180E\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFE00-\uFE0F"
    r"\uFEFF\uFFF9-\uFFFD]"
)
# Options of a source that may help to read what has not the type of its column.
OPTIONS: Mapping[str, str] = {
    "text": "`null_values`",
    "integer": "`decimal`, `thousands`, `null_values`",
    "number": "`decimal`, `thousands`, `null_values`",
    "instant": "`formats`, `day_first`, `null_values`",
    "date": "`formats`, `day_first`, `null_values`",
    "boolean": "`true_values`, `false_values`, `null_values`",
}
DAY_FIRST = "`day_first` in the catalog, or for a stream to its listener"
CAN_BE_READ_TWICE = {"number": "`decimal` in the catalog", "instant": DAY_FIRST, "date": DAY_FIRST}
UNREADABLE = {
    "integer": "is not a whole number",
    "number": "is not a number with the decimal mark of its file",
    "instant": "is not a date and time such as 2026-03-14 10:30:00",
    "date": "is not a day such as 2026-03-14",
    "boolean": "is neither true nor false",
}


@dataclass(frozen=True)
class Cells:
    """One column of the rows under check.

    Attributes:
        column: The column.
        filled: Whether each cell has content, readable or not.
        has_two_readings: Whether each cell can be read in two ways, of which its file or stream proves none or both.
        falls_in_clock_change: Whether each cell is a local time that the clocks of its zone skip or repeat.
        now: The instant against which dates are judged.
    """

    column: Column
    filled: pl.Expr
    has_two_readings: pl.Expr
    falls_in_clock_change: pl.Expr
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
    """A rule that a row breaks, as stored with the row.

    Attributes:
        reason: The reason code of the rule's kind.
        columns: The names of the rule's columns.
        found: The fault of the one cell, to follow the name of its column; empty where the rule says enough.
    """

    reason: str
    columns: tuple[str, ...]
    found: str = ""

    def __str__(self) -> str:
        return f"{', '.join(self.columns)}: {self.reason}"

    @property
    def as_json(self) -> str:
        """The rule as JSON; `read_broken_rules` reads a list of them."""
        found = {"found": self.found} if self.found else {}
        return orjson.dumps({"columns": self.columns, "reason": self.reason, **found}).decode()

    def is_same_as(self, other: "BrokenRule") -> bool:
        """Whether two cells or rows break the same rule."""
        return self[:2] == other[:2]


def read_broken_rules(text: str | None) -> list[BrokenRule]:
    """Return the broken rules that are stored with a row."""
    rules = orjson.loads(text or "[]")
    return [BrokenRule(rule["reason"], tuple(rule["columns"]), rule.get("found", "")) for rule in rules]


@dataclass(frozen=True)
class Rule:
    """A rule of one contract.

    Attributes:
        key: The reason code and the columns, which identify the rule.
        broken: Takes the cells of its columns and returns whether rows break it; null means that they keep it.
        wrong: Returns the fault of a row that breaks it, with the remedy if that is not obvious.
        stated: The requirement, for the data dictionary; empty if the column's type says it.
        is_misfit: Whether a value that breaks it does not belong in the column at all.
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
    """Return the rule that a row broke; None if the contract no longer has it."""
    return next((rule for rule in rules_of(contract) if rule.key.is_same_as(broken)), None)


# --- Rules over one column -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CellRule:
    """A kind of rule over one column.

    Attributes:
        reason: The reason code of quarantined rows.
        applies: Returns whether a column has such a rule.
        broken: Returns whether cells break it; null means that they keep it.
        wrong: Returns the fault of a cell that breaks it, to follow the name of the column.
        stated: Returns the requirement, for the data dictionary.
        is_misfit: The same as in `Rule`.
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


def _is_time(column: Column) -> bool:
    return column.dtype in ("instant", "date")


def _midnight(column: Column, day: str) -> date:
    """Return a day as the column compares it: as a date, or as its midnight in UTC."""
    first = date.fromisoformat(day)
    return first if column.dtype == "date" else datetime.combine(first, datetime.min.time(), UTC)


def _beyond_days(cells: Cells) -> pl.Expr:
    column = cells.column
    too_early = cells.values < _midnight(column, column.not_before)
    return too_early | (cells.values >= _midnight(column, column.not_after))


def _range_of_days(column: Column) -> str:
    is_given = (column.not_before, column.not_after) != (EARLIEST_DAY, LATEST_DAY)
    return f"from {column.not_before}" if is_given else ""


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
        broken=lambda cells: (
            cells.values.is_null() & cells.filled & ~cells.has_two_readings & ~cells.falls_in_clock_change
        ),
        wrong=lambda column: UNREADABLE[column.dtype],
        is_misfit=True,
    ),
    CellRule(
        "two_readings",
        applies=lambda column: column.dtype in CAN_BE_READ_TWICE,
        broken=lambda cells: cells.has_two_readings,
        wrong=lambda column: f"can be read in two ways: state {CAN_BE_READ_TWICE[column.dtype]}, then `dpa replay`",
    ),
    CellRule(
        "clock_change",
        applies=lambda column: column.dtype == "instant",
        broken=lambda cells: cells.falls_in_clock_change,
        wrong=lambda _: "is a local time that the clocks skip or repeat: write it with its offset",
    ),
    CellRule(
        "not_finite",
        applies=lambda column: column.dtype == "number",
        broken=lambda cells: ~cells.values.is_finite(),
        wrong=lambda _: "is not a finite number",
    ),
    CellRule(
        "control_character",
        applies=lambda column: column.is_free_text,
        broken=lambda cells: cells.values.str.contains(UNSEEN_CHARACTERS),
        wrong=lambda _: "contains a character that cannot be seen, such as U+200B",
    ),
    CellRule(
        "too_long",
        applies=lambda column: column.is_free_text,
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
        wrong=lambda column: f"is not one of {', '.join(column.allowed)}",
        stated=lambda column: f"one of {', '.join(column.allowed)}",
        is_misfit=True,
    ),
    CellRule(
        "pattern",
        applies=lambda column: bool(column.pattern),
        broken=lambda cells: ~cells.values.str.contains(f"^(?:{cells.column.pattern})$"),
        wrong=lambda column: f"is not a code such as {column.example}",
        stated=lambda column: f"such as {column.example} (`{column.pattern}`)",
        is_misfit=True,
    ),
    CellRule(
        "out_of_range",
        applies=_is_time,
        broken=_beyond_days,
        wrong=lambda column: f"is not between {column.not_before} and {column.not_after}",
        stated=_range_of_days,
    ),
    CellRule(
        "future",
        applies=lambda column: column.future_limit_s is not None,
        broken=lambda cells: cells.values > cells.now + _seconds(cells.column.future_limit_s),
        wrong=lambda _: "is in the future",
        stated=lambda column: f"at most {_seconds(column.future_limit_s) // timedelta(hours=1)} h ahead",
    ),
    CellRule(
        "too_old",
        applies=lambda column: column.past_limit_s is not None,
        broken=lambda cells: cells.values < cells.now - _seconds(cells.column.past_limit_s),
        wrong=lambda _: "is too long ago",
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
COMPARABLE = ({"integer", "number"}, {"instant"}, {"date"})  # types within one set compare with each other


@dataclass(frozen=True)
class Ordered(RowRule):
    """The values of two columns must be in order: `Ordered("arrived_at", ">=", "departed_at")`.

    A row keeps the rule if one of the two is empty or cannot be read: other rules check that.
    """

    column: str
    order: Order
    other: str

    reason: ClassVar[str] = "out_of_order"
    remedy: ClassVar[str] = "correct one of them"

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        """The two columns."""
        return (self.column, self.other)

    @override
    def fault(self, columns: Mapping[str, Column]) -> str:
        """Return why the two columns cannot be compared."""
        one, other = (columns[name] for name in self.columns)
        if not any({one.dtype, other.dtype} <= types for types in COMPARABLE):
            return f"{one.dtype} and {other.dtype} have no order"
        return "" if one.unit == other.unit else f"their units differ: {one.unit or 'none'}, {other.unit or 'none'}"

    @override
    def broken(self, cells: Mapping[str, Cells]) -> pl.Expr:
        """Return whether the two values are out of order."""
        return BREAKS[self.order](cells[self.column].comparable, cells[self.other].comparable)

    @override
    def sentence(self, columns: Mapping[str, Column], show: Show) -> str:
        """Return the rule as a sentence, in the words for times or for numbers."""
        words = OF_TIMES if columns[self.column].dtype in ("instant", "date") else OF_NUMBERS
        return f"{show(self.column)} must {words[self.order]} {show(self.other)}"


@dataclass(frozen=True)
class RequiredBy(RowRule):
    """A column must not be empty if another one has a certain value: `RequiredBy("volume_t", "status", ("ERR",))`.

    A row keeps the rule if the other column is empty or has another value, or if the first one has any content:
    whether that can be read is checked by the rule of its type.
    """

    column: str
    other: str
    values: tuple[str, ...]

    reason: ClassVar[str] = "required_by"
    remedy: ClassVar[str] = "fill in the first, or correct the second"

    @property
    @override
    def columns(self) -> tuple[str, ...]:
        """The column that must not be empty, and the one that requires it."""
        return (self.column, self.other)

    @override
    def fault(self, columns: Mapping[str, Column]) -> str:
        """Return why the other column never has such a value."""
        other = columns[self.other]
        if other.dtype != "text" or not self.values:
            return f"{other.name} is not a text" if self.values else f"it names no value of {other.name}"
        never = [value for value in self.values if other.allowed and value not in other.allowed]
        return f"{other.name} is never {never[0]!r}" if never else ""

    @override
    def broken(self, cells: Mapping[str, Cells]) -> pl.Expr:
        """Return whether the column is empty while the other one has one of the values."""
        return ~cells[self.column].filled & cells[self.other].values.is_in(list(self.values))

    @override
    def sentence(self, columns: Mapping[str, Column], show: Show) -> str:
        """Return the rule as a sentence."""
        return f"{show(self.column)} must not be empty if {show(self.other)} is {' or '.join(self.values)}"
