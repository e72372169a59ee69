"""The figures of a candidate, and their table."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from freight.settings import PROJECT_ROOT


@dataclass(frozen=True)
class Figures:
    """The figures of a candidate.

    Attributes:
        events: The number of events in these seconds.
        seconds: The time from the first event to the last commit, without the start of the process.
        whole_s: The time from the start of the process to its end, or to the last event if it never ends.
        client_cpu_s: The CPU seconds of the candidate's process for these events.
        server_cpu_s: The CPU seconds of PostgreSQL for them.
        peak_mib: The candidate's peak resident memory.
    """

    events: int
    seconds: float
    whole_s: float
    client_cpu_s: float
    server_cpu_s: float
    peak_mib: int

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(
        **{field.name: statistics.median(getattr(f, field.name) for f in rounds) for field in fields(Figures)}
    )


@dataclass(frozen=True)
class OwnFigures:
    """The figures that a candidate's process reports, as the last line of its output."""

    events: int
    seconds: float
    cpu_s: float
    peak_mib: int

    def report(self) -> None:
        """Print it for `run_module`."""
        print(json.dumps(asdict(self)), flush=True)


def run_module(module: str, *arguments: str, server_cpu_s: Callable[[], float]) -> Figures:
    """Run a module of the benchmarks in a process of its own; return its figures and those of the server."""
    cpu_s, started = server_cpu_s(), time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.streaming.{module}", *arguments]
    printed = subprocess.run(command, check=True, cwd=PROJECT_ROOT, stdout=subprocess.PIPE).stdout
    whole_s, used_s = time.perf_counter() - started, server_cpu_s() - cpu_s
    own = OwnFigures(**json.loads(printed.splitlines()[-1]))
    return Figures(own.events, own.seconds, whole_s, own.cpu_s, used_s, own.peak_mib)


HEADINGS = (
    "events/s",
    "against COPY",
    "against Connect",
    "whole process s",
    "CPU µs/event",
    "PostgreSQL CPU µs/event",
    "peak MiB",
)


def print_figures(title: str, by_name: Mapping[str, Figures], limit: str, peer: str) -> None:
    """Print a Markdown table; ratios compare events per second."""
    print(f"\n| {' | '.join((title, *HEADINGS))} |\n|{'---|' * (len(HEADINGS) + 1)}", flush=True)
    for name, figures in by_name.items():
        cells = (
            f"{figures.rate:,.0f}",
            _ratio(figures, by_name.get(limit)),
            _ratio(figures, by_name.get(peer)),
            f"{figures.whole_s:.1f}",
            f"{figures.client_cpu_s / figures.events * 1e6:.1f}",
            f"{figures.server_cpu_s / figures.events * 1e6:.1f}",
            f"{figures.peak_mib:.0f}",
        )
        print(f"| {' | '.join((name, *cells))} |", flush=True)


def _ratio(figures: Figures, other: Figures | None) -> str:
    return f"{figures.rate / other.rate:.2f}" if other else "-"
