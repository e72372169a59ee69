"""Types the text of a source by its contract, and separates the rows that keep the contract from those that break it.

No value is coerced silently: it is either typed exactly, or its row is quarantined with a reason code.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import polars as pl

from freight.contracts import LOCAL_ZONE, Column, Contract
from freight.contracts.rules import BrokenRule, Cells, Rule, rules_of
from freight.frames import BAD_ROWS_SCHEMA, NATIVE, ROW_NUMBER, are_native, as_json, bad_rows
from freight.notation import days, numbers
from freight.notation.cells import Read
from freight.notation.days import MIDNIGHT
from freight.notation.evidence import USUAL, Notation
from freight.notation.forms import UNSTATED, Forms
from freight.notation.unreadable import unreadable

WHOLE = r"\.0(?:0|0{3,})?$"  # of 2010.0; 1.000 may be a thousand
A_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
ODD_SPACES = r"[\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]"


@dataclass(frozen=True)
class Locale:
    """How the text of a source is read.

    Attributes:
        notation: How it writes numbers and days.
        zone: The zone of times without an offset.
        forms: What the catalog says about values.
    """

    notation: Notation = USUAL
    zone: str = LOCAL_ZONE
    forms: Forms = UNSTATED


@dataclass(frozen=True)
class Split:
    """The two halves of a frame.

    Attributes:
        valid: The rows that keep the contract: `row_number` and the contract's columns, typed.
        quarantined: The rows that break it, as `BAD_ROWS_SCHEMA`; raw is the row as JSON bytes.
        typed: All rows, typed; a value that does not have its column's type is null.
        filled: The number of values by column.
        misfits: The number of values by column that have another type, or that the column does not allow.
        normalised: The number of texts whose spaces or accents were written in another way than usual.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    typed: pl.DataFrame
    filled: Mapping[str, int]
    misfits: Mapping[str, int]
    normalised: int


def split(rows: pl.DataFrame, contract: Contract, locale: Locale, now: datetime) -> Split:
    """Type rows, and separate the good from the bad.

    Args:
        rows: `row_number` and text columns named as in the contract; optional columns may be absent. The signs of
            `native_numbers`, if there are any, follow the order of the contract's columns.
        contract: The contract that the rows must keep.
        locale: The way in which the source writes numbers and times.
        now: The instant against which future dates are judged.
    """
    cleaned, normalised = _cleaned(rows, contract)
    cleaned = _without_empty(cleaned, contract, locale.forms.null_values)
    texts = [_Texts(column, cleaned[column.name], are_native(rows, at)) for at, column in enumerate(contract.columns)]
    read = {each.column.name: each.read(locale) for each in texts}
    typed = cleaned.select(ROW_NUMBER, *(column.values.alias(name) for name, column in read.items()))
    rules = rules_of(contract)
    cells = {each.column.name: _cells(each, read[each.column.name], now) for each in texts}
    marked = typed.select(rule.broken(cells).fill_null(value=False).alias(str(i)) for i, rule in enumerate(rules))
    failing = marked.select(pl.any_horizontal(pl.all())).to_series()
    filled = {name: cleaned.height - cleaned[name].null_count() for name in contract.column_names}
    if not failing.any():
        return Split(typed, bad_rows(), typed, filled, {}, normalised)
    told = _Told(contract, locale, {name: _those(column.clock_changes, failing) for name, column in read.items()})
    quarantined = _quarantined(rows.filter(failing), marked.filter(failing), [rule.key for rule in rules], told)
    return Split(typed.filter(~failing), quarantined, typed, filled, _misfits(marked, rules), normalised)


def _misfits(marked: pl.DataFrame, rules: Sequence[Rule]) -> dict[str, int]:
    """Count the values that do not belong in their column; a column has at most one rule about that."""
    return {rule.key.columns[0]: int(marked[str(i)].sum()) for i, rule in enumerate(rules) if rule.is_misfit}


def _cleaned(rows: pl.DataFrame, contract: Contract) -> tuple[pl.DataFrame, int]:
    """Strip outer space, upper-case codes, and write spaces and accents in one way.

    Returns:
        The rows with all columns of the contract, and the number of texts that were written in another way.
    """
    odd = _not_ascii(rows, contract)
    cleaned = rows.with_columns(_clean(column, rows, is_odd=column.name in odd) for column in contract.columns)
    if not odd:
        return cleaned, 0
    changed = [pl.col(name).str.strip_chars() != _in_one_way(pl.col(name)) for name in odd]
    return cleaned, rows.select(pl.sum_horizontal(each.sum() for each in changed)).item()


def _not_ascii(rows: pl.DataFrame, contract: Contract) -> list[str]:
    """Return the columns of text with signs that can be written in several ways."""
    texts = [pl.col(c.name) for c in contract.columns if c.dtype == "text" and c.name in rows.columns]
    odd = rows.select((text.str.len_bytes() != text.str.len_chars()).any() for text in texts)
    return [name for name in odd.columns if odd[name].item()]


def _clean(column: Column, rows: pl.DataFrame, *, is_odd: bool) -> pl.Expr:
    if column.name not in rows.columns:
        return pl.lit(None, pl.String).alias(column.name)
    text = _in_one_way(pl.col(column.name)) if is_odd else pl.col(column.name).str.strip_chars()
    return text.str.to_uppercase() if column.allowed else text


def _in_one_way(text: pl.Expr) -> pl.Expr:
    """Write each space as a plain one and each accent with its letter: else two keys may look alike and differ."""
    return text.str.strip_chars().str.replace_all(ODD_SPACES, " ").str.normalize("NFC")


def _without_empty(rows: pl.DataFrame, contract: Contract, null_values: Sequence[str]) -> pl.DataFrame:
    """Replace cells by null that are empty, or that the catalog calls empty."""
    is_empty = _called_empty(null_values) if null_values else lambda text: text == ""
    return rows.with_columns(
        pl.when(~is_empty(pl.col(name))).then(pl.col(name)).alias(name) for name in contract.column_names
    )


def _called_empty(null_values: Sequence[str]) -> Callable[[pl.Expr], pl.Expr]:
    texts = ["", *(value.strip().lower() for value in null_values)]
    nights = "|".join(value for value in texts if A_DAY.fullmatch(value)) or "$^"
    return lambda text: text.str.to_lowercase().is_in(texts) | text.str.contains(f"^(?:{nights}){MIDNIGHT}")


class _Texts(NamedTuple):
    """The cleaned cells of a column; `native` tells which are numbers in their source, if it has any."""

    column: Column
    text: pl.Series
    native: pl.Series | None

    def read(self, locale: Locale) -> Read:
        """Return the values; null where the text does not have the column's type."""
        notation, forms = locale.notation, locale.forms
        formats = forms.formats.get(self.column.name, ())
        match self.column.dtype:
            case "integer":
                return Read(self._plain(notation).values.str.replace(WHOLE, "").cast(pl.Int64, strict=False))
            case "number":
                plain = self._plain(notation)
                return plain._replace(values=plain.values.cast(pl.Float64, strict=False))
            case "instant":
                return days.instants(self.text, locale.zone, notation.days, formats)
            case "date":
                return days.days(self.text, notation.days, formats)
            case "boolean":
                values = {**dict.fromkeys(forms.true_values, True), **dict.fromkeys(forms.false_values, False)}
                return Read(self.text.str.to_lowercase().replace_strict(values, default=None, return_dtype=pl.Boolean))
            case "text":
                return Read(self.text)

    def _plain(self, notation: Notation) -> Read:
        """Return numbers as programs write them, which is how a source stores its own."""
        plain = numbers.plain_numbers(self.text, notation.numbers)
        if self.native is None:
            return plain
        disputed = plain.disputed if plain.disputed is None else plain.disputed & ~self.native
        return Read(self.text.zip_with(self.native, plain.values), disputed)


def _cells(texts: _Texts, read: Read, now: datetime) -> Cells:
    return Cells(
        texts.column,
        filled=pl.lit(texts.text.is_not_null()),
        has_two_readings=_marks(read.disputed),
        falls_in_clock_change=_marks(None if read.clock_changes is None else read.clock_changes.is_not_null()),
        now=now,
    )


def _marks(cells: pl.Series | None) -> pl.Expr:
    return pl.lit(value=False) if cells is None else pl.lit(cells)


def _those(cells: pl.Series | None, marks: pl.Series) -> pl.Series | None:
    return None if cells is None else cells.filter(marks)


class _Told(NamedTuple):
    """What is known about the faults of bad rows; `clock_changes` are those of their cells by column."""

    contract: Contract
    locale: Locale
    clock_changes: Mapping[str, pl.Series | None]

    def as_json(self, rule: BrokenRule) -> pl.Expr:
        """Return a rule that rows break, with what was found in their cells."""
        name = rule.columns[0]
        if rule.reason == "clock_change" and (faults := self.clock_changes[name]) is not None:
            return pl.lit(pl.Series([rule._replace(found=fault or "").as_json for fault in faults]))
        is_unread = rule.reason == "wrong_type"
        return pl.lit((rule._replace(found=self._unreadable(name)) if is_unread else rule).as_json)

    def _unreadable(self, name: str) -> str:
        forms = self.locale.forms
        dtype = self.contract.by_name[name].dtype
        return unreadable(dtype, self.locale.notation, forms, forms.formats.get(name, ()))


def _quarantined(raw: pl.DataFrame, marked: pl.DataFrame, rules: Sequence[BrokenRule], told: _Told) -> pl.DataFrame:
    """Describe bad rows: the first broken rule gives the column and the reason, the others are kept beside it."""
    names = [name for name in raw.columns if name not in (ROW_NUMBER, NATIVE)]
    rows = raw.select(ROW_NUMBER, raw=as_json(raw, names, told.contract.column_names))

    def broken(text: Callable[[BrokenRule], pl.Expr]) -> list[pl.Expr]:
        return [pl.when(pl.col(str(i))).then(text(rule)) for i, rule in enumerate(rules)]

    def listed(text: Callable[[BrokenRule], pl.Expr], separator: str) -> pl.Expr:
        return pl.concat_str(broken(text), separator=separator, ignore_nulls=True)

    described = marked.select(
        column_name=pl.coalesce(broken(lambda rule: pl.lit(rule.columns[0]))),
        reason=pl.coalesce(broken(lambda rule: pl.lit(rule.reason))),
        detail=listed(lambda rule: pl.lit(str(rule)), "; "),
        broken_rules=pl.format("[{}]", listed(told.as_json, ",")),
    )
    return rows.hstack(described).select(BAD_ROWS_SCHEMA.names())
