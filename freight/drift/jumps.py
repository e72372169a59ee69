"""Columns that look quite different from how they looked lately: another unit, a category that takes over.

Flagged is only what differs from every unit of lately, and by far: small units and usual changes are not.
"""

from collections.abc import Iterator, Sequence
from statistics import geometric_mean

from freight.drift.profile import EMPTY, ColumnProfile, Profile

LATELY_UNITS = 5
FROM_ROWS = 200  # fewer say little of what is usual
FACTOR = 5  # all quantiles are so many times as large or small; lb for kg (2.2) is not told from a busy season
RARE, MOST = 0.05, 0.5  # a share that was below the first everywhere and is above the second


def jumps(unit: Profile, lately: Sequence[Profile]) -> list[str]:
    """Say which columns of a unit look quite different from how they looked lately.

    Args:
        unit: how it looks.
        lately: units that were loaded from the same source, under the same version of the contract.
    """
    if unit.rows < FROM_ROWS:
        return []
    return [told for name, column in unit.columns.items() for told in _jumps_of(name, column, lately)]


def _jumps_of(name: str, now: ColumnProfile, lately: Sequence[Profile]) -> Iterator[str]:
    before = [unit.columns[name] for unit in lately if unit.rows >= FROM_ROWS and name in unit.columns]
    if not before:
        return
    for value, share in now.shares.items():
        usual = max(column.shares.get(value, 0.0) for column in before)
        if share > MOST and usual < RARE:
            what = "empty" if value == EMPTY else repr(value)
            yield f"{name} is {what} in {share:.0%} of the rows, lately in {usual:.0%}"
    if told := _scaled(now, before):
        yield f"{name} {told}"


def _scaled(now: ColumnProfile, before: Sequence[ColumnProfile]) -> str:
    """Say by which factor values are larger or smaller; nothing unless they are against each unit of lately."""
    known = [column for column in before if column.sized >= FROM_ROWS and column.in_days == now.in_days]
    if now.sized < FROM_ROWS or not known:
        return ""
    factors = [new / old for column in known for new, old in zip(now.sizes, column.sizes, strict=True)]
    is_grown, is_shrunk = min(factors) >= FACTOR, max(factors) <= 1 / FACTOR
    sizes = f"{_span(now.sizes)} (10 % to 90 %), lately {_span(known[0].sizes)}"
    if now.in_days:
        return f"lies days from the day of its file: {sizes}" if is_grown else ""
    times = geometric_mean(factors[: len(now.sizes)])
    if is_grown:
        return f"is about {times:,.0f} times as large: {sizes}; another unit?"
    return f"is about {1 / times:,.0f} times smaller: {sizes}; another unit?" if is_shrunk else ""


def _span(sizes: Sequence[float]) -> str:
    return f"{sizes[0]:,.4g} to {sizes[-1]:,.4g}"
