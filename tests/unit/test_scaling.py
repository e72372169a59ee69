"""The policy of scaling, on cases and on a model of a stream that is pressed in many ways."""

import itertools
from dataclasses import replace
from datetime import date, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freight.simulator import Corridor
from freight.streaming.scaling import ScalingLimits, StreamState, decide
from freight.warehouse.scaling import ScalingMemory
from tests.lib.examples import examples
from tests.lib.stream_model import BEGIN, PERIOD_S, StreamModel

LIMITS = ScalingLimits(lag_threshold=10_000)
HOUR = 3_600 // PERIOD_S
DAY_ROWS = 20_000


def simulated_day(peak: float) -> list[float]:
    """Messages a second of a day of the corridor from look to look, scaled to a peak."""
    rows = Corridor(machines=20).transactions(date(2026, 2, 20), DAY_ROWS)
    at = rows.select(pl.col("date").str.strptime(pl.Datetime("ms"), "%Y-%m-%d %H:%M:%S").dt.epoch("s") // 600)
    counts = at.to_series().value_counts().sort("date")["count"].to_list()
    return [peak * count / max(counts) for count in counts for _ in range(600 // PERIOD_S)]


def noisy(level: float, looks: int, seed: int, noise: float = 0.2) -> list[float]:
    chance = Random(seed)
    return [level * chance.uniform(1 - noise, 1 + noise) for _ in range(looks)]


def test_a_burst_is_read_by_more_listeners_and_then_by_one_again() -> None:
    model = StreamModel(LIMITS).run([100] * 20 + [20_000] + [100] * 5 * HOUR)
    assert max(model.targets) == 4
    assert (model.targets[10], model.targets[-1], model.lag) == (1, 1, 0)
    assert model.turns(len(model.targets)) == 1
    assert max(model.listeners) <= 4
    downs = [i for i, decision in enumerate(model.decisions) if decision.drain]
    assert {model.decisions[i].drain for i in downs} == {1}
    assert all((b - a) * PERIOD_S >= LIMITS.cooldown_s for a, b in itertools.pairwise(downs))


def test_steps_up_at_most_double_and_wait_for_the_last_ones() -> None:
    model = StreamModel(replace(LIMITS, maximum=16), partitions=32).run([100] * 5 + [100_000] * 40)
    ups = [target for i, target in enumerate(model.targets) if i == 0 or target != model.targets[i - 1]]
    assert ups == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("peak", [200, 900, 2_000, 3_500, 10_000])
def test_over_a_day_of_the_corridor_the_number_follows_the_load_and_never_flaps(peak: float) -> None:
    model = StreamModel(LIMITS).run(simulated_day(peak))
    assert max(model.listeners) <= 4
    assert model.turns(len(model.targets)) <= 3
    assert model.turns(6 * HOUR) == 0
    if peak < 4_000:
        assert model.lag < LIMITS.lag_threshold


@given(
    levels=st.lists(st.tuples(st.floats(0, 6_000), st.integers(1, HOUR)), min_size=1, max_size=6),
    last=st.floats(0, 3_600),
    partitions=st.integers(1, 6),
    minimum=st.integers(0, 2),
    seed=st.integers(0, 1_000),
)
@examples(40)
def test_whatever_the_load_limits_hold_and_a_load_that_lasts_settles(
    levels: list[tuple[float, int]], last: float, partitions: int, minimum: int, seed: int
) -> None:
    limits = replace(LIMITS, minimum=minimum, maximum=5)
    model = StreamModel(limits, partitions, seed=seed)
    for level, looks in levels:
        model.run(noisy(level, looks, seed))
    model.run(noisy(last, 5 * HOUR, seed, noise=0.1))
    most = min(5, partitions)
    assert max(model.listeners) <= most
    assert all(min(minimum, most) <= target <= most for target in model.targets)
    assert model.turns(3 * HOUR) <= 1
    for hour in range(0, len(model.targets), HOUR):
        targets = model.targets[hour : hour + HOUR]
        assert sum(b < a for a, b in itertools.pairwise(targets)) <= 3_600 / limits.cooldown_s


def test_a_slow_warehouse_gets_no_more_listeners() -> None:
    pressed = {"warehouse": 1_500.0, "commit_s": 1.6}
    model = StreamModel(replace(LIMITS, maximum=8), partitions=8, **pressed).run([100] * 5 + [5_000] * 2 * HOUR)  # type: ignore[arg-type]
    assert max(model.targets) == 2
    assert "the warehouse is slow: more than 2 would not help it" in model.decisions[-1].why
    assert model.turns(2 * HOUR) == 0


def test_a_listener_that_dies_is_replaced_once() -> None:
    model = StreamModel(LIMITS).run([3_500] * 20 + noisy(1_200, 2 * HOUR, 1))
    target = model.targets[-1]
    assert target > 1
    model.live -= 1
    before = len(model.decisions)
    model.run(noisy(1_200, 20, 2))
    assert sum(decision.start for decision in model.decisions[before:]) == 1
    assert (model.live, model.targets[-1]) == (target, target)


def test_all_that_die_at_once_are_replaced() -> None:
    model = StreamModel(LIMITS).run([3_500] * 20 + noisy(1_200, 2 * HOUR, 1))
    target, model.live = model.targets[-1], 0
    before = len(model.decisions)
    model.run(noisy(1_200, 20, 2))
    assert model.decisions[before].start == target
    assert model.live >= target


def test_starts_that_come_to_nothing_are_given_up_for_a_while_and_told_once() -> None:
    model = StreamModel(LIMITS, start_s=(10**6, 10**6))
    for failures in range(6):
        model.failures, model.starting = failures, []
        model.run([100])
    assert [decision.start for decision in model.decisions] == [1, 1, 1, 0, 0, 0]
    assert [decision.is_stopped for decision in model.decisions] == [False] * 3 + [True, False, False]
    assert model.decisions[-1].why == "3 starts within an hour failed: no more are tried for now"
    model.failures = 2
    assert model.run([100]).decisions[-1].start == 1


def test_a_lag_that_lasts_is_told_once_until_it_is_over() -> None:
    limits = replace(LIMITS, maximum=1)
    model = StreamModel(limits, rate=50).run([1_000] * 60 + [0] * 3 * HOUR * 20 + [1_000] * 60)
    told = [i for i, decision in enumerate(model.decisions) if decision.is_lagging]
    assert len(told) == 2
    assert limits.lag_limit_s / PERIOD_S <= told[0] < 40


def test_without_a_minimum_an_idle_stream_has_no_listener_and_the_first_messages_start_one() -> None:
    limits = replace(LIMITS, minimum=0, activation_lag=50)
    model = StreamModel(limits).run([10] * 20 + [0] * HOUR)
    assert model.live == 0
    assert model.targets[-1] == 0
    model.run([1] + [0] * 10)  # 30 messages wait, and no more come
    assert model.run([0]).live == 0 or model.lag == 0
    model.run([10] * 10)
    assert model.live == 1


def seen(**what: int | float | None) -> StreamState:
    return StreamState(**{"now": BEGIN, "partitions": 4, "lag": 0, "live": 1, **what})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "target", "start", "drain"),
    [
        ({"live": 0}, 1, 1, 0),
        ({"live": 0, "starting": 1}, 1, 0, 0),
        ({"live": 3}, 3, 0, 0),
        ({"live": 6}, 4, 0, 1),
        ({"live": 6, "draining": 1}, 4, 0, 0),
        ({"live": 0, "draining": 4}, 1, 0, 0),
        ({"live": 2, "partitions": 1}, 1, 0, 1),
    ],
    ids=["none", "one comes", "by hand", "too many", "one at a time", "no room", "too many for the partitions"],
)
def test_at_the_first_look_what_is_there_is_kept_within_the_limits(
    what: dict[str, int], target: int, start: int, drain: int
) -> None:
    decision = decide(LIMITS, ScalingMemory(), seen(**what))
    assert (decision.memory.target, decision.start, decision.drain) == (target, start, drain)


def test_a_backlog_that_will_be_gone_in_time_needs_nobody() -> None:
    memory = ScalingMemory(target=1, changed_at=BEGIN - timedelta(hours=1))
    falling = seen(lag=30_000, lag_before=60_000, read=1_000.0, are_same=True)
    assert decide(LIMITS, memory, falling).memory.target == 1
    assert decide(LIMITS, memory, replace(falling, read=400.0)).memory.target == 2
