"""Types the text of a source by its contract, and separates the rows that keep the contract from those that break it.

No value is coerced silently: it is either typed exactly, or its row is quarantined with a reason code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from freight.contracts import LOCAL_ZONE, Column, Contract
from freight.contracts.rules import BrokenRule, Cells, Rule, rules_of
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER, bad_rows
from freight.numbers import AS_PROGRAMS_WRITE, Reading, plain_numbers

NAIVE_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
)
OFFSET_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y")


@dataclass(frozen=True)
class Locale:
    """How a source writes numbers and local times."""

    numbers: Reading = AS_PROGRAMS_WRITE
    zone: str = LOCAL_ZONE


@dataclass(frozen=True)
class Split:
    """The two halves of a frame.

    Attributes:
        valid: The rows that keep the contract: `row_number` and the contract's columns, typed.
        quarantined: The rows that break it, as `BAD_ROWS_SCHEMA`; raw is the row's text as JSON bytes.
        typed: All rows, typed; a value that does not have its column's type is null.
        filled: The number of values by column.
        misfits: The number of values by column that have another type, or that the column does not allow.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    typed: pl.DataFrame
    filled: Mapping[str, int]
    misfits: Mapping[str, int]


def split(rows: pl.DataFrame, contract: Contract, locale: Locale, now: datetime) -> Split:
    """Type rows, and separate the good from the bad.

    Args:
        rows: `row_number` and text columns named as in the contract; optional columns may be absent.
        contract: The contract that the rows must keep.
        locale: The way in which the source writes numbers and times.
        now: The instant against which future dates are judged.
    """
    cleaned = _without_empty(rows.with_columns(_clean(column, rows) for column in contract.columns), contract)
    typed = cleaned.select(ROW_NUMBER, *(_typed(cleaned[c.name], c, locale) for c in contract.columns))
    rules = rules_of(contract)
    cells = {c.name: Cells(c, pl.lit(cleaned[c.name].is_not_null()), now) for c in contract.columns}
    marked = typed.select(rule.broken(cells).fill_null(value=False).alias(str(i)) for i, rule in enumerate(rules))
    failing = marked.select(pl.any_horizontal(pl.all())).to_series()
    filled = {name: cleaned.height - cleaned[name].null_count() for name in contract.column_names}
    if not failing.any():
        return Split(typed, bad_rows(), typed, filled, {})
    quarantined = _quarantined(rows.filter(failing), marked.filter(failing), [rule.key for rule in rules])
    return Split(typed.filter(~failing), quarantined, typed, filled, _misfits(marked, rules))


def _misfits(marked: pl.DataFrame, rules: Sequence[Rule]) -> dict[str, int]:
    """Count the values that do not belong in their column; a column has at most one rule about that."""
    return {rule.key.columns[0]: int(marked[str(i)].sum()) for i, rule in enumerate(rules) if rule.is_misfit}


def _clean(column: Column, rows: pl.DataFrame) -> pl.Expr:
    """Strip outer space, and upper-case codes."""
    if column.name not in rows.columns:
        return pl.lit(None, pl.String).alias(column.name)
    text = pl.col(column.name).str.strip_chars()
    return text.str.to_uppercase() if column.allowed else text


def _without_empty(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Replace empty cells by null."""
    return rows.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in contract.column_names)


def _typed(text: pl.Series, column: Column, locale: Locale) -> pl.Series:
    match column.dtype:
        case "integer":
            return text.cast(pl.Int64, strict=False)
        case "number":
            return plain_numbers(text, locale.numbers).cast(pl.Float64, strict=False)
        case "instant":
            return _instants(text, locale.zone)
        case "date":
            return _first_parsed(text, DATE_FORMATS, pl.Date())
        case "boolean":
            return text.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
        case "text":
            return text


def _instants(text: pl.Series, zone: str) -> pl.Series:
    utc = pl.Datetime("us", "UTC")
    if _has_offset(text):  # then most likely all have one, and trying the other formats first is a waste
        parsed = text.str.strptime(utc, OFFSET_FORMATS[0], strict=False)
        left = parsed.is_null() & text.is_not_null()
        return parsed.scatter(left.arg_true(), _any_instants(text.filter(left), zone)) if left.any() else parsed
    return _any_instants(text, zone)


def _has_offset(text: pl.Series) -> bool:
    """Whether the first instant looks like one with an offset."""
    first = text.drop_nulls().head(1)
    return bool(first.str.contains(r"T.*(?:[Zz]|[+-]\d\d:?\d\d)$").any())


def _any_instants(text: pl.Series, zone: str) -> pl.Series:
    local = _first_parsed(text, NAIVE_FORMATS, pl.Datetime("us"))
    utc = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    missing = utc.is_null() & text.is_not_null()
    if not missing.any():
        return utc
    with_offset = _first_parsed(text.filter(missing), OFFSET_FORMATS, pl.Datetime("us", "UTC"))
    return utc.scatter(missing.arg_true(), with_offset)


def _first_parsed(text: pl.Series, formats: Sequence[str], dtype: pl.Date | pl.Datetime) -> pl.Series:
    """Parse each value by the first format that fits; a later format only sees the values that are still unparsed."""
    parsed = text.str.strptime(dtype, formats[0], strict=False)
    for pattern in formats[1:]:
        left = parsed.is_null() & text.is_not_null()
        if not left.any():
            break
        parsed = parsed.scatter(left.arg_true(), text.filter(left).str.strptime(dtype, pattern, strict=False))
    return parsed


def _quarantined(raw: pl.DataFrame, marked: pl.DataFrame, rules: Sequence[BrokenRule]) -> pl.DataFrame:
    """Describe bad rows: the first broken rule gives the column and the reason, the others are kept beside it."""
    rows = raw.select(
        ROW_NUMBER,
        raw=pl.struct(name for name in raw.columns if name != ROW_NUMBER).struct.json_encode().cast(pl.Binary),
    )

    def broken(text: Callable[[BrokenRule], str]) -> list[pl.Expr]:
        return [pl.when(pl.col(str(i))).then(pl.lit(text(rule))) for i, rule in enumerate(rules)]

    def listed(text: Callable[[BrokenRule], str], separator: str) -> pl.Expr:
        return pl.concat_str(broken(text), separator=separator, ignore_nulls=True)

    described = marked.select(
        column_name=pl.coalesce(broken(lambda rule: rule.columns[0])),
        reason=pl.coalesce(broken(lambda rule: rule.reason)),
        detail=listed(str, "; "),
        broken_rules=pl.format("[{}]", listed(lambda rule: rule.as_json, ",")),
    )
    return rows.hstack(described).select(BAD_ROWS_SCHEMA.names())
