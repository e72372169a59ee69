"""Sources of one dataset whose files stand for the same instant: nothing says which of their rows is newer."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import combinations
from typing import NamedTuple

from freight.catalog import Catalog
from freight.pipeline.units import UnitOutcome


class Tie(NamedTuple):
    """Two files of different sources that stand for the same instant."""

    at: datetime
    one: UnitOutcome
    other: UnitOutcome


def tied_sources(outcomes: Iterable[UnitOutcome], catalog: Catalog) -> list[str]:
    """Describe the sources whose rows would mix, each pair once.

    A source and its fallbacks are left out: only one of them is loaded.

    Args:
        outcomes: How the files of the sources ended, or would end.
        catalog: The catalog of the sources.
    """
    ties: defaultdict[tuple[str, str], list[Tie]] = defaultdict(list)
    for tie in _ties(outcomes, catalog):
        ties[tie.one.source, tie.other.source].append(tie)
    return [_told(found, catalog.named(name).dataset) for (name, _), found in ties.items()]


def _ties(outcomes: Iterable[UnitOutcome], catalog: Catalog) -> Iterable[Tie]:
    datasets = {source.name: source.dataset for source in catalog.sources}
    chains = [{source.name for source in catalog.chain_of(head)} for head in catalog.heads]
    alike: defaultdict[tuple[str, datetime], list[UnitOutcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.as_of:
            alike[datasets[outcome.source], outcome.as_of].append(outcome)
    for (_, at), found in alike.items():
        for one, other in combinations(found, 2):
            if one.source != other.source and not any({one.source, other.source} <= chain for chain in chains):
                yield Tie(at, one, other)


def _told(ties: list[Tie], dataset: str) -> str:
    at, one, other = ties[0]
    more = f", the first of {len(ties):,} such pairs of files" if len(ties) > 1 else ""
    return (
        f"TIE {dataset}: {one.source} {one.location} and {other.source} {other.location} both stand for "
        f"{at:%Y-%m-%d %H:%M} UTC{more}. Of a row that is in both, the one with the higher row number wins, so that "
        "rows of the two mix. If they deliver the same rows, make one a fallback of the other"
    )
