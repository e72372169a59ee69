"""Repeats measurements in turns, so that a noisy minute does not hit one of them alone, and prints their medians."""

import os
import statistics
import time
from collections.abc import Callable, Mapping

Timed = Callable[[], float | None]
"""Does the work once; returns its seconds if only a part of the call counts."""


def medians(candidates: Mapping[str, Timed], repeat: int, settle: Callable[[], object] = os.sync) -> dict[str, float]:
    """Return the median seconds of each candidate over some rounds.

    `settle` is called before each measurement, so that none pays for the pending disk writes of the previous one.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeat):
        for name, work in candidates.items():
            settle()
            times[name].append(_seconds(work))
    return {name: statistics.median(taken) for name, taken in times.items()}


def _seconds(work: Timed) -> float:
    started = time.perf_counter()
    counted = work()
    return time.perf_counter() - started if counted is None else counted


def print_ratios(title: str, seconds: Mapping[str, float], limit: str) -> None:
    """Print a Markdown table: the seconds, the speed against the limit, and DPA's speed-up."""
    print(f"\n| {title} | seconds | speed against {limit} | DPA is faster by |\n|---|---|---|---|", flush=True)
    for name, taken in seconds.items():
        print(f"| {name} | {taken:.2f} | {seconds[limit] / taken:.2f} | {taken / seconds['DPA']:.1f} x |", flush=True)
