"""Type the text of a source by its contract, and part the rows that keep it from those that break it.

Nothing is coerced silently: a value is either typed exactly or its row is quarantined with a reason code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl

from freight.contracts import LOCAL_ZONE, Column, Contract
from freight.frames import BAD_ROWS_SCHEMA, ROW_NUMBER, DecimalMark
from freight.types import ReasonCode

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

SPACE = r"[ \u00A0\u202F]"
THOUSANDS_BY_SPACE = rf"^-?[0-9]{{1,3}}(?:{SPACE}[0-9]{{3}})+(?:,[0-9]+)?$"  # 1 234,5 but not 1 2
MISFITS: tuple[ReasonCode, ...] = ("wrong_type", "not_allowed", "pattern")
CONTROL_CHARACTERS = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]"


@dataclass(frozen=True)
class Locale:
    """How a source writes numbers and local times."""

    decimal: DecimalMark = "."
    zone: str = LOCAL_ZONE


@dataclass(frozen=True)
class Split:
    """The two halves of a frame.

    Attributes:
        valid: `row_number` and the contract's columns, typed.
        quarantined: `row_number, column_name, reason, detail, raw`; raw is the row's text as JSON bytes.
        typed: all rows, typed; a value that is none of its column's type is null.
        filled: number of values by column.
        misfits: how many of them are of another type than the column's, or none that it knows.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    typed: pl.DataFrame
    filled: Mapping[str, int]
    misfits: Mapping[str, int]


@dataclass(frozen=True)
class _Check:
    column: str
    reason: ReasonCode
    fails: pl.Expr


def split(rows: pl.DataFrame, contract: Contract, locale: Locale, now: datetime) -> Split:
    """Type rows and part them.

    Args:
        rows: `row_number` and text columns named as in the contract; optional columns may be absent.
        contract: what the rows must keep.
        locale: how the source writes numbers and times.
        now: the instant against which future dates are judged.
    """
    cleaned = _without_empty(rows.with_columns(_clean(column, rows) for column in contract.columns), contract)
    typed = cleaned.select(ROW_NUMBER, *(_typed(cleaned[c.name], c, locale) for c in contract.columns))
    checks = [check for column in contract.columns for check in _checks(column, cleaned[column.name], now)]
    marked = typed.select(check.fails.alias(str(i)) for i, check in enumerate(checks))
    failing = marked.select(pl.any_horizontal(pl.all())).to_series()
    filled = {name: cleaned.height - cleaned[name].null_count() for name in contract.column_names}
    if not failing.any():
        return Split(typed, pl.DataFrame(schema=BAD_ROWS_SCHEMA), typed, filled, {})
    bad_rows = _quarantined(rows.filter(failing), marked.filter(failing), checks)
    return Split(typed.filter(~failing), bad_rows, typed, filled, _misfits(marked, checks))


def _misfits(marked: pl.DataFrame, checks: Sequence[_Check]) -> dict[str, int]:
    """Count the values that are none of their column; a column has one check that tells."""
    telling = [(str(i), check.column) for i, check in enumerate(checks) if check.reason in MISFITS]
    return {column: int(marked[number].sum()) for number, column in telling}


def _clean(column: Column, rows: pl.DataFrame) -> pl.Expr:
    """Strip outer space, and upper-case codes."""
    if column.name not in rows.columns:
        return pl.lit(None, pl.String).alias(column.name)
    text = pl.col(column.name).str.strip_chars()
    return text.str.to_uppercase() if column.allowed else text


def _without_empty(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Read an empty cell as no value."""
    return rows.with_columns(pl.when(pl.col(name) != "").then(pl.col(name)) for name in contract.column_names)


def _typed(text: pl.Series, column: Column, locale: Locale) -> pl.Series:
    match column.dtype:
        case "integer":
            return text.cast(pl.Int64, strict=False)
        case "number":
            return _plain_numbers(text, locale).cast(pl.Float64, strict=False)
        case "instant":
            return _instants(text, locale.zone)
        case "date":
            return _first_parsed(text, DATE_FORMATS, pl.Date())
        case "boolean":
            return text.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
        case "text":
            return text


def _plain_numbers(text: pl.Series, locale: Locale) -> pl.Series:
    """Rewrite `1 234,5` as `1234.5` under a decimal comma; a point is refused there, since it could mean thousands."""
    if locale.decimal == ".":
        return text
    grouped = text.str.contains(THOUSANDS_BY_SPACE).fill_null(value=False)
    bare = text.str.replace_all(SPACE, "").zip_with(grouped, text)
    return bare.set(bare.str.contains(".", literal=True), None).str.replace(",", ".", literal=True)


def _instants(text: pl.Series, zone: str) -> pl.Series:
    utc = pl.Datetime("us", "UTC")
    if _has_offset(text):  # most likely all have; the other formats would each be tried in vain before
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
    """Parse by the first format that fits each value; later formats only see what the earlier ones left."""
    parsed = text.str.strptime(dtype, formats[0], strict=False)
    for pattern in formats[1:]:
        left = parsed.is_null() & text.is_not_null()
        if not left.any():
            break
        parsed = parsed.scatter(left.arg_true(), text.filter(left).str.strptime(dtype, pattern, strict=False))
    return parsed


def _checks(column: Column, text: pl.Series, now: datetime) -> list[_Check]:
    """Return the checks of a column on the typed frame; each is never null."""
    value = pl.col(column.name)
    checks: list[tuple[ReasonCode, pl.Expr]] = []
    if column.required:
        checks.append(("required", pl.lit(text.is_null())))
    if column.dtype != "text":
        checks.append(("wrong_type", value.is_null() & pl.lit(text.is_not_null())))
    if column.dtype == "number":
        checks.append(("not_finite", ~value.is_finite()))
    if column.dtype == "text" and not column.allowed and not column.pattern:
        checks.append(("control_character", value.str.contains(CONTROL_CHARACTERS)))
        checks.append(("too_long", value.str.len_chars() > column.max_length))
    if column.minimum is not None:
        checks.append(("out_of_range", value < column.minimum))
    if column.maximum is not None:
        checks.append(("out_of_range", value > column.maximum))
    if column.allowed:
        checks.append(("not_allowed", ~value.is_in(list(column.allowed))))
    if column.pattern:
        checks.append(("pattern", ~value.str.contains(f"^(?:{column.pattern})$")))
    if column.not_before:
        first = datetime.combine(date.fromisoformat(column.not_before), datetime.min.time(), UTC)
        checks.append(("out_of_range", value < first))
    if column.future_limit_s is not None:
        checks.append(("future", value > now + timedelta(seconds=column.future_limit_s)))
    if column.past_limit_s is not None:
        checks.append(("too_old", value < now - timedelta(seconds=column.past_limit_s)))
    return [_Check(column.name, reason, fails.fill_null(value=False)) for reason, fails in checks]


def _quarantined(raw: pl.DataFrame, marked: pl.DataFrame, checks: Sequence[_Check]) -> pl.DataFrame:
    """Describe bad rows: the first broken rule gives column and reason, the detail lists all of them."""
    rows = raw.select(
        ROW_NUMBER,
        raw=pl.struct(name for name in raw.columns if name != ROW_NUMBER).struct.json_encode().cast(pl.Binary),
    )

    def broken(texts: Sequence[str]) -> list[pl.Expr]:
        return [pl.when(pl.col(str(i))).then(pl.lit(text)) for i, text in enumerate(texts)]

    described = marked.select(
        column_name=pl.coalesce(broken([check.column for check in checks])),
        reason=pl.coalesce(broken([check.reason for check in checks])),
        detail=pl.concat_str(broken([f"{c.column}: {c.reason}" for c in checks]), separator="; ", ignore_nulls=True),
    )
    return rows.hstack(described).select(ROW_NUMBER, "column_name", "reason", "detail", "raw")
