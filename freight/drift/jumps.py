"""Finds columns that look very different from recent ones: another unit of measure, a category that takes over.

Only columns that differ from every recent load unit, and by far, are flagged: small units and usual changes are not.
"""

from collections.abc import Iterator, Sequence
from statistics import geometric_mean

from freight.drift.profile import EMPTY, ColumnProfile, Profile

LATELY_UNITS = 5
FROM_ROWS = 200  # fewer rows say little about the usual content
FACTOR = 5  # of all quantiles, up or down; pounds for kg (2.2) cannot be distinguished from a busy season
RARE, MOST = 0.05, 0.5  # a share jumps from below the first in every recent unit to above the second


def jumps(unit: Profile, lately: Sequence[Profile]) -> list[str]:
    """Return descriptions of the columns of a load unit that look very different from recent ones.

    Args:
        unit: The profile of the unit.
        lately: The profiles of recent units from the same source, under the same version of the contract.
    """
    if unit.rows < FROM_ROWS:
        return []
    return [jump for name, column in unit.columns.items() for jump in _jumps_of(name, column, lately)]


def _jumps_of(name: str, now: ColumnProfile, lately: Sequence[Profile]) -> Iterator[str]:
    before = [unit.columns[name] for unit in lately if unit.rows >= FROM_ROWS and name in unit.columns]
    if not before:
        return
    for value, share in now.shares.items():
        usual = max(column.shares.get(value, 0.0) for column in before)
        if share > MOST and usual < RARE:
            what = "empty" if value == EMPTY else repr(value)
            yield f"{name} is {what} in {share:.0%} of the rows, lately in {usual:.0%}"
    if change := _scaled(now, before):
        yield f"{name} {change}"


def _scaled(now: ColumnProfile, before: Sequence[ColumnProfile]) -> str:
    """Describe the factor by which values are larger or smaller than in every recent unit; empty if they are not."""
    known = [column for column in before if column.sized >= FROM_ROWS and column.in_days == now.in_days]
    if now.sized < FROM_ROWS or not known:
        return ""
    factors = [new / old for column in known for new, old in zip(now.sizes, column.sizes, strict=True)]
    is_grown, is_shrunk = min(factors) >= FACTOR, max(factors) <= 1 / FACTOR
    sizes = f"{_span(now.sizes)} (10 % to 90 %), lately {_span(known[0].sizes)}"
    if now.in_days:
        return f"is days away from the day of its file: {sizes}" if is_grown else ""
    times = geometric_mean(factors[: len(now.sizes)])
    if is_grown:
        return f"is about {times:,.0f} times as large: {sizes}; another unit?"
    return f"is about {1 / times:,.0f} times smaller: {sizes}; another unit?" if is_shrunk else ""


def _span(sizes: Sequence[float]) -> str:
    return f"{sizes[0]:,.4g} to {sizes[-1]:,.4g}"
