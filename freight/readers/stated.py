"""The instant that a file stands for: the day and time in its name or path, else the time of its last change.

A day is a local day of the source's time zone and begins at its midnight. A location with `{day:…}` tells where the day
is; without one, the last date in the name counts. Deliveries that state the same instant are ordered by their last
change.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from fsspec.utils import glob_translate

from freight.contracts import LOCAL_ZONE
from freight.errors import SourceError
from freight.readers.locations import SourceFile
from freight.types import EPOCH, instant_of, origin_us_of

NameTells = Literal["time", "day", "nothing"]

# The day in a location, such as {day:%Y%m%d}, and the number of digits of each part.
DAY = re.compile(r"\{day:([^{}]*)\}")
DAY_PARTS = {"%Y": 4, "%m": 2, "%d": 2}

DATE_IN_NAME = re.compile(r"(?<!\d)(20\d{2})[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
# 0800, 080000, 08h00, 8h00, 08:00, 08-00-00; an offset follows only a T, as in ISO 8601. Two numbers with a sign in
# between, such as 01_02, are no time: part 1 of 2 looks the same.
TIME_AFTER_DAY = re.compile(
    r"""(?:[ _.-]|(?P<iso>T))
    (?P<time>(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?
    |(?:[01]?\d|2[0-3])[hH:][0-5]\d(?:[mM:][0-5]\d)?
    |(?:[01]\d|2[0-3])(?P<sign>[-_.])[0-5]\d(?P=sign)[0-5]\d)
    (?P<offset>(?(iso)(?:Z|[+-]\d\d:?[0-5]\d)?))(?![0-9A-Za-z])""",
    re.VERBOSE,
)
# Stand for the parts of a day while a location becomes a regular expression.
MARKS = {"%Y": "\ue001", "%m": "\ue002", "%d": "\ue003"}
GROUPS = {"%Y": "year", "%m": "month", "%d": "day"}
FROM_ELSEWHERE = re.compile(r"^(?:\.{0,2}/|~[^/]*/)+")  # the beginning of a location that an address does not have

# A file can be named after the day on which it will be used. A later day is a slip, or digits that are no day, and its
# rows would win against every other delivery until that day.
MOST_AHEAD = timedelta(days=1)

# The last change of a file orders deliveries that state the same minute. It is counted from the day before the stated
# instant, the finer the closer: a span of time and its step. All steps together stay below a minute of microseconds.
SECOND_US, DAY_US = 1_000_000, 86_400_000_000
STEPS = ((9 * DAY_US, SECOND_US // 20), (365 * DAY_US, SECOND_US), (24 * 365 * DAY_US, 60 * SECOND_US))


@dataclass(frozen=True)
class FileNames:
    """What the names of a source's files tell.

    Attributes:
        source: The name of the source.
        zone: The time zone of its days and times.
        by_name: How much of a name counts.
        location: The location of its files, possibly with `{day:…}`.
    """

    source: str = ""
    zone: str = LOCAL_ZONE
    by_name: NameTells = "time"
    location: str = ""


@dataclass(frozen=True)
class Spoken:
    """The instant that a file stands for.

    Attributes:
        instant: The instant, in UTC; below the minute it orders deliveries that state the same minute.
        evidence: What it follows from, for people.
        tells_day: Whether the name or path of the file states the day.
    """

    instant: datetime
    evidence: str
    tells_day: bool = False


def spoken_by(file: SourceFile, names: FileNames, now: datetime) -> Spoken:
    """Return the instant that a file stands for.

    Args:
        file: The file.
        names: What the names of its source's files tell.
        now: The instant of the run.

    Raises:
        SourceError: The path has digits that are no day where the location has the day, or states a day far ahead.
    """
    found = None if names.by_name == "nothing" else _day_of(file, names.location)
    if found is None:
        return Spoken(instant_of(file.modified_us), "the time of its last change")
    day, rest = found
    clock = TIME_AFTER_DAY.match(rest) if names.by_name == "time" else None
    numbers = [int(number) for number in re.findall(r"\d\d?", clock["time"])] if clock else []
    stated = _at(day, numbers, clock["offset"] if clock else "", names.zone)
    _refuse_ahead(file, stated, now, names)
    instant = as_delivered(stated, file.modified_us, to_the_second=len(numbers) == 3)
    return Spoken(instant, f"the day{' and the time' * bool(clock)} in its name", tells_day=True)


def as_delivered(stated: datetime, modified_us: int, *, to_the_second: bool = False) -> datetime:
    """Return a stated instant in UTC, moved on by less than a minute: the more, the later the file was changed.

    Args:
        stated: The instant that the file states.
        modified_us: The last change of the file, in microseconds since 1970 UTC.
        to_the_second: Whether the file states the second, too; then the instant moves on by less than one of them.
    """
    left_us = modified_us - origin_us_of(stated) + DAY_US
    steps = 0
    for span_us, step_us in STEPS:
        steps += min(max(left_us, 0), span_us) // step_us
        left_us -= span_us
    return stated.astimezone(UTC) + timedelta(microseconds=steps // 60 if to_the_second else steps)


def _day_of(file: SourceFile, location: str) -> tuple[date, str] | None:
    """Return the day that a path states, and what follows it; in a `.zip`, the date of the member's own name counts."""
    if not DAY.search(location):
        return _last_date(file.name)
    _, _, member = file.name.partition("/")
    return _last_date(member) or _day_at_its_place(file, location) or _last_date(file.name)


def _last_date(name: str) -> tuple[date, str] | None:
    for found in reversed([*DATE_IN_NAME.finditer(name)]):
        if day := _date(*found.groups()):
            return day, name[found.end() :]
    return None  # also where digits look like a date but are none, such as 20260230


def _day_at_its_place(file: SourceFile, location: str) -> tuple[date, str] | None:
    found = _pattern(location).search(file.address)
    if not found:
        return None
    day = _date(*(found[name] for name in GROUPS.values()))
    if day is None:
        raise SourceError(
            "no_day",
            f"the digits in its path are no day, and the location {location!r} has a day there",
            location=file.path,
            remedy="rename the file; or, if these digits are no day, write * for {day:…} in the catalog",
        )
    return day, file.address[max(found.end(name) for name in GROUPS.values()) :]


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day)) if int(year) >= EPOCH.year else None
    except ValueError:
        return None


@cache
def _pattern(location: str) -> re.Pattern[str]:
    """Return what the address of a file of a location looks like, with the parts of the day as groups."""
    path = FROM_ELSEWHERE.sub("", location.partition("://")[2] or location)
    marked = with_days(path, lambda part: MARKS[part])
    whole = glob_translate(marked).removesuffix(r"\Z")
    for part, mark in MARKS.items():
        whole = whole.replace(mark, rf"(?P<{GROUPS[part]}>\d{{{DAY_PARTS[part]}}})", 1)
        whole = whole.replace(mark, f"(?P={GROUPS[part]})")
    return re.compile(rf"(?:^|/){whole}\Z")


def with_days(location: str, of_part: Callable[[str], str]) -> str:
    """Return a location with each part of a day, such as `%Y`, replaced."""
    return DAY.sub(lambda field: re.sub("%.", lambda part: of_part(part[0]), field[1]), location)


def _at(day: date, clock: Sequence[int], offset: str, zone: str) -> datetime:
    """Return the instant of a local day and time; of two that a change of the clocks makes alike, the earlier."""
    hour, minute, second = (*clock, 0, 0, 0)[:3]
    local = datetime.combine(day, time(hour, minute, second))
    return datetime.fromisoformat(local.isoformat() + offset) if offset else local.replace(tzinfo=ZoneInfo(zone))


def _refuse_ahead(file: SourceFile, stated: datetime, now: datetime, names: FileNames) -> None:
    if stated - now <= MOST_AHEAD:
        return
    raise SourceError(
        "dated_ahead",
        f"its name states {stated:%Y-%m-%d %H:%M}, more than a day ahead; until then its rows would supersede those of "
        "every other file",
        location=file.path,
        remedy="rename the file, or correct the clock of this machine; if these digits are no day, add "
        f"`name_tells: nothing` to the source {names.source} in the catalog",
    )
