"""What a person sees of streams."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from freight.demo.view import (
    StreamView,
    TopicBalance,
    TopicNow,
    balance_lines,
    balance_table,
    live_table,
    plain_line,
)
from freight.streaming.status import Snapshot
from freight.types import LoadCounts

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
MILLIONS = LoadCounts(read=7_654_321, inserted=7_000_000, updated=54_321, unchanged=500_000, superseded=90_000)
MILLIONS = replace(MILLIONS, quarantined=10_000)
BUSY = Snapshot(
    NOW, NOW, "listening", messages=7_654_321, counts=MILLIONS, lag=1_234_567, rate=19_999.6, latency_s=0.1234
)
TOPICS = [TopicNow("freight.transactions", 8_888_888, BUSY), TopicNow("freight.terminal-events", 9_999_999, BUSY)]


def drawn(table: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_every_figure_of_two_topics_is_whole_on_a_terminal_of_80_columns() -> None:
    text = drawn(live_table(TOPICS, "Kafka"))
    assert "…" not in text
    shown = {line.split()[0]: line.split()[1:] for line in text.splitlines()[2:]}
    assert shown["state"] == ["listening"] * 2
    assert shown["messages/s"] == ["20,000"] * 2
    assert shown["lag"] == ["1,234,567"] * 2
    assert shown["latency"] == ["0.12", "s"] * 2
    assert shown["produced"] == ["8,888,888", "9,999,999"]
    assert shown["messages"] == ["7,654,321"] * 2
    assert shown["superseded"] == ["90,000"] * 2


def test_a_long_state_is_cut_and_moves_nothing() -> None:
    waiting = replace(BUSY, state="waiting: the warehouse sqlite:///database/supply_chain_dwh.sqlite is not ready")
    text = drawn(live_table([TOPICS[0], replace(TOPICS[1], listener=waiting)], "Kafka"))
    assert "waiting: the warehouse …" in text
    assert len(text.splitlines()) == len(drawn(live_table(TOPICS, "Kafka")).splitlines())


def test_a_plain_line_tells_what_happened_and_leaves_out_what_did_not() -> None:
    counts = LoadCounts(read=10, inserted=9, quarantined=1)
    topic = TopicNow("t", 12, replace(BUSY, messages=10, counts=counts, lag=2, rate=3.2))
    expected = "t: listening; 3/s, lag 2, latency 0.12 s; 12 produced, 10 messages: 9 inserted, 1 quarantined"
    assert plain_line(topic) == expected
    assert plain_line(TopicNow("t", 0, Snapshot(NOW, NOW))) == (
        "t: starting; 0/s, lag 0, latency -; 0 produced, 0 messages"
    )


def test_without_a_terminal_lines_come_every_few_seconds() -> None:
    console = Console(file=io.StringIO())
    with StreamView(console) as view:
        view.show(TOPICS, "Kafka")
        view.show(TOPICS, "Kafka")
    assert isinstance(console.file, io.StringIO)
    assert re.findall(r"^(\S+): listening", console.file.getvalue(), re.MULTILINE) == [now.topic for now in TOPICS]


@pytest.mark.parametrize("outcome", ["inserted", "updated", "unchanged", "superseded", "quarantined"])
def test_a_balance_holds_when_each_message_has_an_outcome(outcome: str) -> None:
    balance = TopicBalance("t", 5, LoadCounts(read=5, **{outcome: 5}))
    assert balance.missing == 0
    (line,) = balance_lines([balance, balance])
    assert line.startswith("The balance holds: 10 produced = ")
    assert f"10 {outcome}" in line


@pytest.mark.parametrize(("produced", "missing"), [(1_008, "8"), (996, "-4")])
def test_a_balance_that_does_not_hold_is_told_of_its_topic(produced: int, missing: str) -> None:
    good = TopicBalance("good", 5, LoadCounts(read=5, inserted=5))
    bad = TopicBalance("bad", produced, LoadCounts(read=1_000, inserted=999, quarantined=1))
    assert balance_lines([good, bad]) == [f"NOT BALANCED bad: {produced:,} produced, 1,000 accounted for"]
    assert re.search(rf"^missing +0 +{missing} *$", drawn(balance_table([good, bad])), re.MULTILINE)
