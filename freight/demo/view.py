"""The view of streams: a live table on a terminal, plain lines elsewhere, and a balance at the end."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from freight.streaming.status import Snapshot
from freight.types import LoadCounts
from freight.words import counted

OUTCOMES = ("inserted", "updated", "unchanged", "superseded", "quarantined")
PLAIN_EVERY_S = 5.0
STATE_CHARS = 24  # the width of a column, so that two topics fit on 80 columns; the log has the full text


@dataclass(frozen=True)
class TopicNow:
    """A topic at an instant: its number of acknowledged messages, and its listener."""

    topic: str
    produced: int
    listener: Snapshot


@dataclass(frozen=True)
class TopicBalance:
    """The outcomes of the messages that were produced to a topic."""

    topic: str
    produced: int
    counts: LoadCounts

    @property
    def missing(self) -> int:
        """The produced messages that are not accounted for; negative if more arrived than were acknowledged."""
        return self.produced - self.counts.accounted


class StreamView:
    """Shows topics repeatedly, as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._said_at = float("-inf")

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, topics: Sequence[TopicNow], title: str) -> None:
        """Redraw the table; without a terminal, print a line for each topic every few seconds."""
        if self._live:
            self._live.update(live_table(topics, title), refresh=True)
        elif time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            for topic in topics:
                self._console.print(plain_line(topic), markup=False, highlight=False, soft_wrap=True)


def live_table(topics: Sequence[TopicNow], title: str) -> Table:
    """Return the current figures, one column per topic: so those of two topics fit on 80 columns."""
    table = _table(title, [topic.topic for topic in topics])
    listeners = [topic.listener for topic in topics]
    table.add_row("state", *(_cut(listener.state) for listener in listeners))
    table.add_row("messages/s", *(f"{listener.rate:,.0f}" for listener in listeners))
    table.add_row("lag", *(f"{listener.lag:,}" for listener in listeners))
    table.add_row("latency", *(_seconds(listener.latency_s) for listener in listeners), end_section=True)
    table.add_row("produced", *(f"{topic.produced:,}" for topic in topics))
    table.add_row("messages", *(f"{listener.messages:,}" for listener in listeners))
    _add_outcomes(table, [listener.counts for listener in listeners])
    return table


def plain_line(topic: TopicNow) -> str:
    """Return a topic in one line."""
    now = topic.listener
    ended = ", ".join(f"{getattr(now.counts, name):,} {name}" for name in OUTCOMES if getattr(now.counts, name))
    pace = f"{now.rate:,.0f}/s, lag {now.lag:,}, latency {_seconds(now.latency_s)}"
    counts = f"{topic.produced:,} produced, {counted(now.messages, 'message')}{': ' if ended else ''}{ended}"
    return f"{topic.topic}: {now.state}; {pace}; {counts}"


def balance_table(balances: Sequence[TopicBalance]) -> Table:
    """Return the produced messages and their outcomes, one column per topic."""
    table = _table("Balance of this session", [balance.topic for balance in balances])
    table.add_row("produced", *(f"{balance.produced:,}" for balance in balances), end_section=True)
    _add_outcomes(table, [balance.counts for balance in balances])
    table.add_row("missing", *(f"{balance.missing:,}" for balance in balances))
    return table


def balance_lines(balances: Sequence[TopicBalance]) -> list[str]:
    """Return a line that the balance holds, or a line for each topic where it does not."""
    broken = [balance for balance in balances if balance.missing]
    if broken:
        return [
            f"NOT BALANCED {b.topic}: {b.produced:,} produced, {b.counts.accounted:,} accounted for" for b in broken
        ]
    produced = sum(balance.produced for balance in balances)
    counts = sum((balance.counts for balance in balances), LoadCounts())
    ended = " + ".join(f"{getattr(counts, name):,} {name}" for name in OUTCOMES)
    return [f"The balance holds: {produced:,} produced = {ended}"]


def _table(title: str, topics: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for topic in topics:
        table.add_column(topic, justify="right", no_wrap=True, min_width=STATE_CHARS)
    return table


def _add_outcomes(table: Table, counts: Sequence[LoadCounts]) -> None:
    for name in OUTCOMES:
        table.add_row(name, *(f"{getattr(part, name):,}" for part in counts))


def _cut(text: str) -> str:
    return text if len(text) <= STATE_CHARS else text[: STATE_CHARS - 1] + "…"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
