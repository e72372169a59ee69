"""Fallbacks: load the first working source of several with the same data, and report the others."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from freight.catalog import Source
from freight.pipeline.units import UnitOutcome

log = logging.getLogger("freight")

DOES_NOT_SERVE = ("failed", "parked")


def load_first_that_serves(
    chain: Sequence[Source], attempt: Callable[[Source], list[UnitOutcome]]
) -> list[UnitOutcome]:
    """Load the first source of a chain that has no failures; if every source has some, they stay failed.

    Args:
        chain: A source and its fallbacks, in order.
        attempt: Loads one source.

    Returns:
        The outcomes of all sources that were tried; failures before the one that serves are `replaced`.
    """
    tried: list[UnitOutcome] = []
    for source in chain:
        outcomes = attempt(source)
        if not any(outcome.state in DOES_NOT_SERVE for outcome in outcomes):
            return [*(_replaced(outcome, source) for outcome in tried), *outcomes]
        tried += outcomes
    return tried


def _replaced(outcome: UnitOutcome, served: Source) -> UnitOutcome:
    if outcome.state not in DOES_NOT_SERVE:
        return outcome
    log.warning("%s cannot be used; its fallback %s takes its place", outcome.source, served.name)
    return replace(outcome, state="replaced", message=f"{outcome.message}; its fallback {served.name} takes its place")
