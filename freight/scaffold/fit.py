"""Finds the existing dataset that a sample belongs to, by an equal or similar header."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from freight.contracts import Column, Contract
from freight.contracts.headers import known_headers, likeness, normalise
from freight.scaffold.infer import keeps
from freight.scaffold.sample import Sample
from freight.validation import Locale

KNOWN_SHARE = 0.5  # of a dataset's required columns; a sample that has fewer belongs to another one
LIKE = 0.6  # the likeness that a header needs to be taken for an optional column


@dataclass(frozen=True)
class Fit:
    """The fit of a header to a contract.

    Attributes:
        contract: The dataset's contract.
        aliases: The likely header of a column, by column, for headers that the contract does not know.
        missing: The columns without a header.
        unknown: The headers without a column.
        share: The share of the required columns whose header the contract knows.
    """

    contract: Contract
    aliases: Mapping[str, str]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    share: float

    @property
    def amended(self) -> Contract:
        """The contract with the aliases added."""
        columns = (replace(c, aliases=(*c.aliases, *self._alias(c.name))) for c in self.contract.columns)
        return replace(self.contract, columns=tuple(columns))

    def _alias(self, column: str) -> tuple[str, ...]:
        return (self.aliases[column],) if column in self.aliases else ()


def best_fit(sample: Sample, known: Iterable[Contract], zone: str, now: datetime) -> Fit | None:
    """Return the fit of the best-matching dataset; None if no dataset matches the whole header."""
    fits = [fit_to(sample, contract, zone, now) for contract in known]
    whole = [fit for fit in fits if not fit.missing and not fit.unknown and fit.share >= KNOWN_SHARE]
    return max(whole, key=lambda fit: fit.share, default=None)


def fit_to(sample: Sample, contract: Contract, zone: str, now: datetime) -> Fit:
    """Return the fit of a sample to a dataset.

    Args:
        sample: The sample.
        contract: The dataset's contract.
        zone: The time zone of times without an offset.
        now: The instant against which dates are judged.
    """
    known = known_headers(contract)
    matched = {known[normalise(cell)] for cell in sample.header if normalise(cell) in known}
    needed = [column for column in contract.columns if not column.optional]
    strangers = [position for position, cell in enumerate(sample.header) if normalise(cell) not in known]
    aliases: dict[str, str] = {}
    for column in (column for column in contract.columns if column.name not in matched):
        position = _likeliest(sample, column, strangers, Locale(sample.notation, zone), now)
        if position is not None:
            strangers.remove(position)
            aliases[column.name] = sample.header[position]
    missing = tuple(c.name for c in needed if c.name not in matched and c.name not in aliases)
    unknown = tuple(sample.header[position] for position in strangers)
    share = sum(column.name in matched for column in needed) / len(needed)
    return Fit(contract, aliases, missing, unknown, share)


def _likeliest(sample: Sample, column: Column, positions: Iterable[int], locale: Locale, now: datetime) -> int | None:
    """Return the position whose values a column accepts; of several, the one with the most similar header."""
    fitting = [
        position
        for position in positions
        if keeps(sample.texts(position), column, locale, now)
        and (not column.optional or likeness(sample.header[position], column) >= LIKE)
    ]
    return max(fitting, key=lambda position: likeness(sample.header[position], column), default=None)
