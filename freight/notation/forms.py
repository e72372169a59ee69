"""What the catalog says about the way in which a source writes values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DecimalMark = Literal[".", ","]
GroupSign = Literal[".", ",", " ", "'"]


@dataclass(frozen=True)
class Forms:
    """What the catalog says about values; None or empty where it says nothing.

    Attributes:
        decimal: The sign before the decimals.
        thousands: The sign between thousands; a space stands for any space, an apostrophe for any apostrophe.
        day_first: Whether the day comes before the month.
        formats: The formats of days and instants, by the name of their column in the contract.
        true_values, false_values: The texts of a boolean, in lower case.
        null_values: The texts that mean an empty cell.
    """

    decimal: DecimalMark | None = None
    thousands: GroupSign | None = None
    day_first: bool | None = None
    formats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    true_values: tuple[str, ...] = ("true",)
    false_values: tuple[str, ...] = ("false",)
    null_values: tuple[str, ...] = ()


UNSTATED = Forms()
