"""Reads days and instants, and finds whether a source writes the day or the month first.

`03/02/2026` is the 3rd of February or the 2nd of March: the sign alone does not decide it. The whole file does, if one
of its days can be read in one way only, such as `13/02/2026`. Otherwise nothing is guessed: the catalog must say it.
"""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import reduce
from typing import NamedTuple

import polars as pl

from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.notation.cells import Cells, Place, Read, contradicted, undecided

UTC_TIME = pl.Datetime("us", "UTC")
LOCAL_TIME = pl.Datetime("us")

ISO_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d")
TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p", "%Hh%M")
LOCAL_FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
)
OFFSET_FORMATS = (
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
)
SEPARATORS = "/.-"
MONTH, LATER_DAY, YEAR = "(?:0?[1-9]|1[0-2])", "(?:1[3-9]|2[0-9]|3[01])", r"[/.-][0-9]{4}\b"
SHORT_DAY = rf"^[0-9]{{1,2}}[/.-][0-9]{{1,2}}{YEAR}"  # the order of day and month is unknown
PROVES_DAY_FIRST = rf"^{LATER_DAY}[/.-]{MONTH}{YEAR}"
PROVES_MONTH_FIRST = rf"^{MONTH}[/.-]{LATER_DAY}{YEAR}"
IN_BOTH_ORDERS = rf"^{MONTH}[/.-]{MONTH}{YEAR}"
LONG_DAY = r"^[0-9]{4}-(?:0[1-9]|1[0-2])-"
PROVES_LONG_DAY, LONG_IN_BOTH_ORDERS = rf"{LONG_DAY}(?:1[3-9]|2[0-9]|3[01])", rf"{LONG_DAY}(?:0[1-9]|1[0-2])"
YEAR_DAY_MONTH = r"^[0-9]{4}-(?:1[3-9]|2[0-9]|3[01])-(?:0[1-9]|1[0-2])"
SAME_IN_BOTH = rf"^(?:{'|'.join(f'0?{month}[/.-]0?{month}' for month in range(1, 13))}){YEAR}"
LONG_YEAR = r"(?:^|[/.-])[0-9]{4}(?:[/.\-T h]|$)"
MIDNIGHT = r"[T ]00:00(?::00(?:\.0+)?)?$"  # of days in cells that can hold a time
SIXTIETH_SECOND = ":60"
# Clocks are at most 14 hours ahead of UTC and 12 behind.
SOME_MINUTES = "(?:0[1-9]|[1-5][0-9])"
AHEAD, BEHIND = (
    rf"\+(?:(?:1[5-9]|2\d)(?::?\d\d)?|14:?{SOME_MINUTES})",
    rf"-(?:(?:1[3-9]|2\d)(?::?\d\d)?|12:?{SOME_MINUTES})",
)
NO_OFFSET = rf"[T ]\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?\s?(?:{AHEAD}|{BEHIND})$"
LONGEST_DAY = len("13/02/2026")
FIRST_LONG_YEAR = pl.Series([date(1_000, 1, 1)])
WITH_OFFSET = "%Y-%m-%d %H:%M:%S%:z"
OF_ANOTHER_ZONE = "if the source writes the times of another zone, name that in the catalog, such as `time_zone: UTC`"

# Formats of the catalog that are no text patterns.
EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "excel_days": 86_400_000_000}  # to microseconds each
SOME_DAY = datetime(2026, 3, 14, 13, 45, 30, tzinfo=UTC)
MS_PER_DAY = 86_400_000
EXCEL_EPOCH_DAYS = 25_569  # from 1899-12-30, where the days of workbooks begin, to 1970-01-01

FRENCH_MONTHS = {
    r"\bjanv(?:ier|\.)?": "Jan",
    r"\bf[ée]v(?:rier|r?\.?)?": "Feb",
    r"\bmars\b": "Mar",
    r"\bavr(?:il|\.)?": "Apr",
    r"\bmai\b": "May",
    r"\bjuin\b": "Jun",
    r"\bjuil(?:let|\.)?": "Jul",
    r"\bao[ûu]t\b": "Aug",
    r"\bsept(?:embre|\.)?": "Sep",
    r"\boct(?:obre|\.)?": "Oct",
    r"\bnov(?:embre|\.)?": "Nov",
    r"\bd[ée]c(?:embre|\.)?": "Dec",
}


class DayOrder(NamedTuple):
    """The order of day and month in days such as `03/02/2026`.

    Attributes:
        day_first: Whether the day comes first.
        is_disputed: Whether some days of the source prove the other order, or none proves one; then a day that can be
            read in both orders is refused.
    """

    day_first: bool = True
    is_disputed: bool = False


DAY_FIRST = DayOrder()


def _have_two_readings(text: pl.Series) -> pl.Series:
    return text.str.contains(IN_BOTH_ORDERS) & ~text.str.contains(SAME_IN_BOTH)


def instants(text: pl.Series, zone: str, order: DayOrder, formats: Sequence[str]) -> Read:
    """Read instants, in UTC.

    A local time that does not exist or exists twice is none, and neither is the 60th second of a minute, or a time with
    an offset that no clock has.

    Args:
        text: Cells without outer space.
        zone: The zone of times without an offset.
        order: The order of day and month.
        formats: The formats that the catalog states; empty for those that have one reading.
    """
    text = text.set(text.str.contains(SIXTIETH_SECOND, literal=True).fill_null(value=False), None)
    read = _stated_instants(text, zone, formats) if formats else _unstated_instants(text, zone, order)
    return _with_clock_changes(read, text, zone, order, formats)


def _unstated_instants(text: pl.Series, zone: str, order: DayOrder) -> Read:
    if not _has_offset(text):
        return _undisputed(_any_instants(text, zone, order), text, order)
    # Most likely all have an offset, and trying the other formats first is a waste.
    parsed = _with_offset(text, OFFSET_FORMATS[:1])
    left = parsed.is_null() & text.is_not_null()
    if left.any():
        parsed = parsed.scatter(left.arg_true(), _any_instants(text.filter(left), zone, order))
    return _undisputed(parsed, text, order)


def days(text: pl.Series, order: DayOrder, formats: Sequence[str]) -> Read:
    """Read days; a time is accepted if it is midnight, which is how workbooks and databases store a day.

    Args:
        text: Cells without outer space.
        order: The order of day and month.
        formats: The formats that the catalog states; empty for those that have one reading.
    """
    if formats:
        return _stated_days(text, formats)
    parsed = _iso_days(text)
    if not (parsed.is_null() & text.is_not_null()).any():
        return Read(parsed)
    bare = text.str.replace(MIDNIGHT, "")
    return _undisputed(_first_parsed(bare, [*ISO_DAYS, *_short_days(bare, order)], pl.Date()), text, order)


def _undisputed(values: pl.Series, text: pl.Series, order: DayOrder) -> Read:
    if not order.is_disputed:
        return Read(values)
    disputed = _have_two_readings(text).fill_null(value=False)
    return Read(values.set(disputed, None), disputed)


def _iso_days(text: pl.Series) -> pl.Series:
    return _first_parsed(text, ISO_DAYS, pl.Date())


def _has_offset(text: pl.Series) -> bool:
    """Whether the first instant looks like one with an offset."""
    first = text.drop_nulls().head(1)
    return bool(first.str.contains(r"T.*(?:[Zz]|[+-]\d\d:?\d\d)$").any())


def _any_instants(text: pl.Series, zone: str, order: DayOrder, *, short: bool = True) -> pl.Series:
    local = _local(text, order) if short else _first_parsed(text, LOCAL_FORMATS, LOCAL_TIME)
    utc = _in_utc(local, zone)
    missing = local.is_null() & text.is_not_null()
    if not missing.any():
        return utc
    return utc.scatter(missing.arg_true(), _with_offset(text.filter(missing), OFFSET_FORMATS))


def _local(text: pl.Series, order: DayOrder) -> pl.Series:
    """Return local times; the forms that the first cell has are tried first."""
    forms = [lambda text: _first_parsed(text, LOCAL_FORMATS, LOCAL_TIME), lambda text: _short_instants(text, order)]
    starts_short = text.drop_nulls().head(1).str.contains(SHORT_DAY).any()
    first, then = reversed(forms) if starts_short else forms
    local = first(text)
    left = local.is_null() & text.is_not_null()
    return local.scatter(left.arg_true(), then(text.filter(left))) if left.any() else local


def _in_utc(local: pl.Series, zone: str) -> pl.Series:
    return local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")


def _with_offset(text: pl.Series, formats: Sequence[str]) -> pl.Series:
    return _first_parsed(_without_impossible_offsets(text), formats, UTC_TIME)


def _without_impossible_offsets(text: pl.Series) -> pl.Series:
    return text.set(text.str.contains(NO_OFFSET).fill_null(value=False), None)


def _with_clock_changes(read: Read, text: pl.Series, zone: str, order: DayOrder, formats: Sequence[str]) -> Read:
    """Add the faults of local times that have no instant, or two."""
    left = read.values.is_null() & text.is_not_null()
    if read.disputed is not None:
        left &= ~read.disputed
    if not left.any():
        return read
    faults = _clock_changes(_local_times(text.filter(left), order, formats), zone)
    whole = pl.Series([None], dtype=pl.String).new_from_index(0, text.len()).scatter(left.arg_true(), faults)
    return read._replace(clock_changes=whole) if faults.is_not_null().any() else read


def _local_times(text: pl.Series, order: DayOrder, formats: Sequence[str]) -> pl.Series:
    """Return the local times of cells without an offset; null for all others."""
    if not formats:
        return _local(text, order)
    local = _first_parsed(text, LOCAL_FORMATS, LOCAL_TIME)
    for pattern in formats:
        if pattern == "excel_days":
            local = local.zip_with(local.is_not_null(), _since_epoch(text, pattern))
        elif pattern not in EPOCHS and "z" not in pattern and not pattern.endswith("Z"):
            local = local.zip_with(local.is_not_null(), _parsed(text, pattern, LOCAL_TIME))
    return local


def _clock_changes(local: pl.Series, zone: str) -> pl.Series:
    """Return the faults of local times that the clocks of a zone skip or repeat, to follow the name of their column."""
    times = {
        which: local.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").dt.strftime(WITH_OFFSET)
        for which in ("earliest", "latest")
    }
    first, second = map(pl.col, times)
    none = pl.lit(f"does not exist in {zone}, where the clocks skip it: correct it; {OF_ANOTHER_ZONE}")
    both = f"exists twice in {zone}, as {{}} and as {{}}: write the right one; {OF_ANOTHER_ZONE}"
    twice = pl.when(first != second).then(pl.format(both, first, second))
    fault = pl.when(first.is_null() & pl.col("local").is_not_null()).then(none).otherwise(twice)
    return pl.DataFrame({"local": local, **times}).select(fault).to_series()


def _short_instants(text: pl.Series, order: DayOrder) -> pl.Series:
    formats = [f"{day} {time}" for day in _short_days(text, order) for time in TIMES]
    formats += [f"{day} {time}" for day in ISO_DAYS for time in TIMES]
    plain = text.str.replace(", ", " ", literal=True).str.replace(r"(?i)\s*([ap])\.?m\.?$", " ${1}m")
    return _first_parsed(plain, formats, LOCAL_TIME)


def _short_days(text: pl.Series, order: DayOrder) -> list[str]:
    """Return the formats of days whose order is unknown, first the one that the first cell has."""
    first = "".join(text.drop_nulls().head(1).str.extract(r"^[0-9]{1,2}([/.-])").fill_null("").to_list())
    signs = [*first, *SEPARATORS.replace(first, "")] if first else SEPARATORS
    return [f"%d{sign}%m{sign}%Y" if order.day_first else f"%m{sign}%d{sign}%Y" for sign in signs]


def _first_parsed(text: pl.Series, formats: Sequence[str], dtype: pl.Date | pl.Datetime) -> pl.Series:
    """Parse each value by the first format that fits; a later format only sees the values that are still unparsed."""
    parsed = text.str.strptime(dtype, formats[0], strict=False)
    for pattern in formats[1:]:
        left = parsed.is_null() & text.is_not_null()
        if not left.any():
            break
        parsed = parsed.scatter(left.arg_true(), text.filter(left).str.strptime(dtype, pattern, strict=False))
    return _without_short_years(parsed, text)


def _without_short_years(parsed: pl.Series, text: pl.Series) -> pl.Series:
    """Refuse `98` as a year: the parser would take it for the year 98."""
    early = (parsed < FIRST_LONG_YEAR.cast(parsed.dtype)).fill_null(value=False)
    if not early.any():
        return parsed
    return parsed.set(early & ~text.str.contains(LONG_YEAR), None)


# --- Formats that the catalog states -------------------------------------------------------------------------------


def reads_back(pattern: str) -> bool:
    """Return whether a text is a format that keeps the day: a day that it writes can be read again."""
    if pattern in EPOCHS:
        return True
    if "%Z" in pattern:  # the parser passes over the name of a zone
        return False
    if re.search(r"%M.*%[HIklTRr]", pattern):  # somebody wrote the minute where the month belongs, or swapped them
        return False
    has_time = any(part in pattern for part in ("%H", "%I", "%T", "%R"))
    dtype = UTC_TIME if "z" in pattern else LOCAL_TIME if has_time else pl.Date()
    try:
        written = pl.Series([SOME_DAY]).dt.strftime(pattern.replace(".%f", "%.f"))
        return _parsed(written, pattern, dtype).dt.date().to_list() == [SOME_DAY.date()]
    except pl.exceptions.PolarsError:
        return False


def _of_parser(pattern: str) -> str:
    """Return a format of Python as the parser writes it; it takes `Z` for an offset only in its own form."""
    return pattern.replace(".%f", "%.f").replace("%z", "%#z")


def _agreed(readings: Sequence[pl.Series]) -> Read:
    """Return what the formats of a column read; a cell that two of them read differently is disputed."""
    first, *others = readings
    values = first
    for other in others:
        values = other.zip_with(values.is_null(), values)
    differs = [(reading != values).fill_null(value=False) for reading in readings]
    disputed = reduce(operator.or_, differs)
    return Read(values.set(disputed, None), disputed if disputed.any() else None)


def _stated_instants(text: pl.Series, zone: str, formats: Sequence[str]) -> Read:
    read = _agreed([_stated_instant(text, zone, pattern) for pattern in formats])
    return _with_iso(text, read, lambda left: _any_instants(left, zone, DAY_FIRST, short=False))


def _stated_instant(text: pl.Series, zone: str, pattern: str) -> pl.Series:
    if pattern in EPOCHS:
        at = _since_epoch(text, pattern)
        return _in_utc(at, zone) if pattern == "excel_days" else at.dt.replace_time_zone("UTC")
    if "z" in pattern:
        return _parsed(_without_impossible_offsets(text), pattern, UTC_TIME)
    local = _parsed(text, pattern, LOCAL_TIME)
    return local.dt.replace_time_zone("UTC") if pattern.endswith("Z") else _in_utc(local, zone)


def _stated_days(text: pl.Series, formats: Sequence[str]) -> Read:
    readings = [
        _since_epoch(text, pattern).dt.date() if pattern in EPOCHS else _parsed(text, pattern, pl.Date())
        for pattern in formats
    ]
    return _with_iso(text, _agreed(readings), lambda left: _iso_days(left.str.replace(MIDNIGHT, "")))


def _with_iso(text: pl.Series, read: Read, iso: Callable[[pl.Series], pl.Series]) -> Read:
    """Read what no format reads, but has one reading: native times of a workbook stand beside its texts."""
    left = read.values.is_null() & text.is_not_null()
    if read.disputed is not None:
        left &= ~read.disputed
    return read._replace(values=read.values.scatter(left.arg_true(), iso(text.filter(left)))) if left.any() else read


def _parsed(text: pl.Series, pattern: str, dtype: pl.Date | pl.Datetime) -> pl.Series:
    if "%b" in pattern or "%B" in pattern:
        for french, english in FRENCH_MONTHS.items():
            text = text.str.replace(f"(?i){french}", english)
    parsed = text.str.strptime(dtype, _of_parser(pattern), strict=False)
    return parsed if "%y" in pattern else _without_short_years(parsed, text)


def _since_epoch(text: pl.Series, pattern: str) -> pl.Series:
    numbers = text.cast(pl.Float64, strict=False) - (EXCEL_EPOCH_DAYS if pattern == "excel_days" else 0)
    if pattern == "excel_days":  # a float of days is exact to the millisecond
        numbers = (numbers * MS_PER_DAY).round() / MS_PER_DAY
    return (numbers * EPOCHS[pattern]).round().cast(pl.Int64, strict=False).cast(LOCAL_TIME)


USUAL_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%y", "%d-%b-%Y", "%d %b %Y")
USUAL_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p")
UNSEPARATED = {"instant": ("%Y%m%d%H%M%S", "%Y%m%d%H%M", "%Y%m%d %H%M", "%Y%m%d"), "date": ("%Y%m%d", "%d%m%Y")}
OF_DIGITS = {10: ("epoch_s",), 13: ("epoch_ms",), 5: ("excel_days",)}


def formats_of(text: str, *, has_time: bool) -> list[str]:
    """Return the usual formats that read a day or an instant; none if it is in none of them.

    Args:
        text: The cell, without outer space.
        has_time: Whether it may have a time.
    """
    if text.isascii() and text.isdigit() and has_time and len(text) in OF_DIGITS:
        return [*OF_DIGITS[len(text)]]
    unseparated = UNSEPARATED["instant" if has_time else "date"]
    separated = (day + time for day in USUAL_DAYS for time in USUAL_TIMES if has_time or not time)
    return [pattern for pattern in (*unseparated, *separated) if _reads(text, pattern)]


def _reads(text: str, pattern: str) -> bool:
    if text.count(" ") != pattern.count(" "):  # which the parser passes over
        return False
    dtype = LOCAL_TIME if "%H" in pattern or "%I" in pattern else pl.Date()
    return _parsed(pl.Series([text]), pattern, dtype).is_not_null().all()


# --- Evidence ------------------------------------------------------------------------------------------------------


class DayEvidence:
    """The evidence that the days of a file give about the order of day and month.

    Args:
        stated: Whether the day comes first, as the catalog says; None if it does not say it.
        has_native_days: Whether days of the form 2026-02-03 are those that the program of a workbook has understood.
    """

    def __init__(self, stated: bool | None = None, *, has_native_days: bool = False) -> None:
        self._stated, self._has_native_days = stated, has_native_days
        self._days, self._months, self._both = Cells(), Cells(), Cells()
        self._long, self._sure_long, self._swapped = Cells(), Cells(), Cells()

    def note(self, cells: pl.DataFrame, column: str) -> None:
        """Examine some cells.

        Args:
            cells: `row_number` and `text`.
            column: The name of their column that people know.
        """
        # A file has few days, and many rows of each.
        starts = cells.group_by(pl.col("text").str.head(LONGEST_DAY)).agg(pl.col(ROW_NUMBER).min(), times=pl.len())
        starts = starts.sort(ROW_NUMBER)
        self._long.note(starts.filter(starts["text"].str.contains(LONG_IN_BOTH_ORDERS)), column)
        self._sure_long.note(starts.filter(starts["text"].str.contains(PROVES_LONG_DAY)), column)
        self._swapped.note(starts.drop("times").filter(starts["text"].str.contains(YEAR_DAY_MONTH)), column)
        short = starts.with_columns(pl.col("text").str.extract(f"({SHORT_DAY})")).drop_nulls()
        text = short["text"]
        self._days.note(short.filter(text.str.contains(PROVES_DAY_FIRST)), column)
        self._months.note(short.filter(text.str.contains(PROVES_MONTH_FIRST)), column)
        self._both.note(short.filter(_have_two_readings(text)), column)

    def order(self) -> DayOrder:
        """Return the order that the catalog states, or that the evidence proves.

        Raises:
            SourceError: The evidence contradicts the catalog, or proves nothing while some days have two readings.
        """
        if self._stated is not None:
            return self._as_stated(self._stated)
        if self._days.count and self._months.count:
            return self._disputed()
        is_more_than_a_slip = self._swapped.count > 1
        if self._swapped.first and is_more_than_a_slip and self._long.count and not self._sure_long.count:
            raise _year_first(self._swapped.first)
        if not self._days.count and not self._months.count and self._both.first:
            raise _undecided(self._both.first, "no day of the file proves which")
        if self._has_native_days and self._long.first and self._is_mangled:
            raise _mangled(self._long.first)
        is_proven = bool(self._days.count or self._months.count)
        # A correction that somebody types later proves nothing, either.
        return DayOrder(not self._months.count, is_disputed=not is_proven)

    @property
    def _is_mangled(self) -> bool:
        """Whether a program may have swapped days: it understood all up to the 12th, and left all others as text."""
        return bool(self._days.count + self._months.count) and not (self._both.count or self._sure_long.count)

    @property
    def proven(self) -> bool | None:
        """Whether the day comes first, if days prove it and none proves the opposite; else None."""
        return bool(self._days.count) if bool(self._days.count) != bool(self._months.count) else None

    def words(self, place: Callable[[int], int | str]) -> Iterator[str]:
        """Yield the decision in words, if days were written in an order that had to be found.

        Args:
            place: The way in which people are told the number of a row.
        """
        if proof := self._days.first or self._months.first:
            yield f"{'day' if self._days.first else 'month'} first, as {proof.at(place)} proves"

    def _as_stated(self, day_first: bool) -> DayOrder:
        against, for_it = (self._months, self._days) if day_first else (self._days, self._months)
        if against.first and against.count > for_it.count:
            raise _contradicted(against.first, day_first=day_first)
        return DayOrder(day_first)

    def _disputed(self) -> DayOrder:
        """Refuse each day that has two readings, and those of the rarer order; too many of them refuse the file."""
        most = max(self._days.count, self._months.count)
        if self._both.first and self._both.count > most:
            raise _undecided(self._both.first, "the other days of the file prove both")
        return DayOrder(self._days.count >= self._months.count, is_disputed=True)


def _undecided(cell: Place, why: str) -> SourceError:
    options = (_option(day_first=True), _option(day_first=False))
    return undecided("ambiguous_dates", cell, "can have the day or the month first", why, options)


def _mangled(cell: Place) -> SourceError:
    """Return the refusal of days that a program for another country may have swapped when it opened the file."""
    return SourceError(
        "ambiguous_dates",
        f"{cell.text!r} is a date cell, as are all days up to the 12th, and all later ones are texts: a program for "
        "another country may have swapped day and month of the former",
        row=cell.row,
        column=cell.column,
        remedy="compare some days with the source. If they are right, say `options: {day_first: true}` in the catalog, "
        "then `dpa retry`; if they are swapped, deliver the file as it was before that program opened it",
    )


def _year_first(cell: Place) -> SourceError:
    return SourceError(
        "ambiguous_dates",
        f"{cell.text!r} has the day before the month, and no other day of the file proves that the month comes first",
        row=cell.row,
        column=cell.column,
        remedy="if the source writes year, day and month, say so in the catalog, such as "
        f'`options: {{formats: {{{cell.column}: "%Y-%d-%m %H:%M:%S"}}}}`, then `dpa retry`; else correct this day',
    )


def _contradicted(cell: Place, *, day_first: bool) -> SourceError:
    stated, other = ("day", "month") if day_first else ("month", "day")
    option = _option(day_first=not day_first)
    return contradicted("ambiguous_dates", cell, f"the {stated} comes first", f"the {other} first", option)


def _option(*, day_first: bool) -> str:
    return f"day_first: {str(day_first).lower()}"
