"""What is measured of a candidate, and the table of it."""

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
    """How a candidate did.

    Attributes:
        events: that the seconds count for.
        seconds: from the first event to the last commit, without the start of the process.
        whole_s: from the start of the process to its end, or to the last event where it never ends.
        client_cpu_s: CPU seconds of the candidate's process for these events.
        server_cpu_s: CPU seconds of PostgreSQL for them.
        peak_mib: peak of the candidate's resident memory.
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
class Told:
    """What a candidate's own process tells of its work; it is the last line that the process prints."""

    events: int
    seconds: float
    cpu_s: float
    peak_mib: int

    def tell(self) -> None:
        """Print it for `run_module`."""
        print(json.dumps(asdict(self)), flush=True)


def run_module(module: str, *arguments: str, server_cpu_s: Callable[[], float]) -> Figures:
    """Run a module of the benchmarks in a process of its own; return what it tells, and what the server used."""
    cpu_s, started = server_cpu_s(), time.perf_counter()
    command = [sys.executable, "-m", f"benchmarks.streaming.{module}", *arguments]
    printed = subprocess.run(command, check=True, cwd=PROJECT_ROOT, stdout=subprocess.PIPE).stdout
    whole_s, used_s = time.perf_counter() - started, server_cpu_s() - cpu_s
    told = Told(**json.loads(printed.splitlines()[-1]))
    return Figures(told.events, told.seconds, whole_s, told.cpu_s, used_s, told.peak_mib)


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
    """Print a Markdown table; ratios are those of the events a second."""
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
