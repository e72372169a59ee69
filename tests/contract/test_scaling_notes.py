"""What scaler and listeners write to each other in the warehouse, on both engines."""

from dataclasses import replace
from datetime import timedelta

import pytest

from freight.types import RunId
from freight.warehouse.connect import reading
from freight.warehouse.scaling import (
    ListenerLife,
    ScalingMemory,
    hand_over,
    note_lost,
    read_listeners,
    remember,
    request_drain,
    take_over,
)
from freight.warehouse.streams import ListenerRef, ListenerSign, Stream, note_listener
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW

STREAM = Stream("transactions", "freight.transactions", "dpa")
SIGN = ListenerSign("listening", 2, 10, 100, NOW, NOW, None, commit_s=0.25)
LATER = NOW + timedelta(seconds=10)
ONE, OTHER = RunId("one"), RunId("other")


def show_life(warehouse: WarehouseUnderTest, name: str, sign: ListenerSign = SIGN, stream: Stream = STREAM) -> bool:
    return note_listener(warehouse.engine, stream, ListenerRef(name, RunId(f"run of {name}")), sign, sign.polled_at)


def lives(warehouse: WarehouseUnderTest) -> dict[str, ListenerLife]:
    with reading(warehouse.engine) as connection:
        return {life.listener_id: life for life in read_listeners(connection, STREAM, NOW)}


def test_the_listeners_of_a_stream_are_those_that_live_and_those_that_ended_of_late(
    warehouse: WarehouseUnderTest,
) -> None:
    show_life(warehouse, "a")
    show_life(warehouse, "ended", replace(SIGN, ended_at=NOW))
    show_life(warehouse, "ended long ago", replace(SIGN, ended_at=NOW - timedelta(seconds=1)))
    show_life(warehouse, "of another group", stream=replace(STREAM, group="other"))
    found = lives(warehouse)
    assert found["a"] == ListenerLife("a", RunId("run of a"), "listening", 2, NOW, NOW, NOW, None, 0.25, None)
    assert set(found) == {"a", "ended"}
    assert found["ended"].ended_at == NOW


def test_a_listener_that_was_asked_to_drain_hears_it_with_each_sign_of_life(warehouse: WarehouseUnderTest) -> None:
    assert not show_life(warehouse, "a")
    assert not show_life(warehouse, "b")
    request_drain(warehouse.engine, "a", NOW)
    request_drain(warehouse.engine, "a", LATER)
    assert [show_life(warehouse, name) for name in ("a", "b", "a")] == [True, False, True]
    assert lives(warehouse)["a"].drain_requested_at == NOW


def test_one_that_is_lost_may_come_back(warehouse: WarehouseUnderTest) -> None:
    show_life(warehouse, "a")
    before = lives(warehouse)["a"]
    show_life(warehouse, "a", replace(SIGN, polled_at=LATER))
    assert not note_lost(warehouse.engine, before, LATER)  # it has shown life meanwhile
    assert note_lost(warehouse.engine, lives(warehouse)["a"], LATER)
    assert (lives(warehouse)["a"].state, lives(warehouse)["a"].ended_at) == ("lost", LATER)
    assert not note_lost(warehouse.engine, lives(warehouse)["a"], LATER)  # once
    show_life(warehouse, "a")
    assert (lives(warehouse)["a"].state, lives(warehouse)["a"].ended_at) == ("listening", None)


def take(warehouse: WarehouseUnderTest, run: RunId, seconds: float, stream: Stream = STREAM) -> ScalingMemory | None:
    now = NOW + timedelta(seconds=seconds)
    return take_over(warehouse.engine, stream, run, now, now - timedelta(seconds=90))


def test_one_run_scales_a_stream_and_another_one_when_that_is_gone(warehouse: WarehouseUnderTest) -> None:
    assert take(warehouse, ONE, 0) == ScalingMemory()
    told = ScalingMemory(2, 1_234.5, NOW, LATER, None, told_lagging=True)
    assert remember(warehouse.engine, STREAM, ONE, told, "2 are enough")
    assert take(warehouse, ONE, 30) == told
    assert take(warehouse, OTHER, 60) is None
    assert not remember(warehouse.engine, STREAM, OTHER, ScalingMemory(), "")
    assert take(warehouse, OTHER, 60, replace(STREAM, topic="another")) == ScalingMemory()
    assert take(warehouse, OTHER, 121) == told
    assert take(warehouse, ONE, 122) is None
    assert not remember(warehouse.engine, STREAM, ONE, ScalingMemory(), "")


def test_a_run_that_ends_lets_the_next_one_scale_at_once(warehouse: WarehouseUnderTest) -> None:
    assert take(warehouse, ONE, 0) is not None
    hand_over(warehouse.engine, STREAM, OTHER)  # not its to give
    assert take(warehouse, OTHER, 1) is None
    hand_over(warehouse.engine, STREAM, ONE)
    assert take(warehouse, OTHER, 1) is not None


@pytest.mark.parametrize("run", [ONE, OTHER])
def test_what_was_never_taken_over_is_not_remembered(warehouse: WarehouseUnderTest, run: RunId) -> None:
    assert not remember(warehouse.engine, STREAM, run, ScalingMemory(target=3), "")
    assert take(warehouse, run, 0) == ScalingMemory()
