"""Decides how many listeners a stream needs, and what to do about it: a pure policy without a clock or a broker.

The terms are those that KEDA has made standard: lag threshold, minimum and maximum, activation, cooldown. In addition,
the observed reading rate shows how many listeners are needed to keep up and to catch up; and a slow warehouse gets no
more of them, since they would not help it.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil

from freight.warehouse.scaling import ScalingMemory

WELL_USED = 0.7  # the share of their capacity that listeners should use: the rest is for the next peak


@dataclass(frozen=True)
class ScalingLimits:
    """The limits of a scaler.

    Attributes:
        minimum: The least number of listeners; with 0 an idle stream has none.
        maximum: The most listeners; never more than partitions.
        lag_threshold: The number of messages that may wait per listener.
        activation_lag: The number of messages that may wait before the first listener starts, with a minimum of 0.
        cooldown_s: The seconds for which fewer listeners must have been enough before one is drained.
        settle_s: The seconds between two steps up, in which the group distributes its partitions.
        catch_up_s: The seconds within which a backlog should be gone.
        commit_limit_s: The longest commit, in seconds, at which listeners are still added.
        restarts: The number of failed starts in an hour after which no more are tried.
        lag_limit: The number of waiting messages above which an alert is sent; None for that of all listeners.
        lag_limit_s: The seconds for which more may wait before an alert is sent.
    """

    minimum: int = 1
    maximum: int | None = None
    lag_threshold: int = 50_000
    activation_lag: int = 0
    cooldown_s: float = 300.0
    settle_s: float = 60.0
    catch_up_s: float = 60.0
    commit_limit_s: float = 2.0
    restarts: int = 3
    lag_limit: int | None = None
    lag_limit_s: float = 600.0


@dataclass(frozen=True)
class StreamState:
    """The observed state of a stream.

    Attributes:
        now: The instant of the look.
        partitions: The number of partitions of the topic.
        lag: The number of messages that wait.
        lag_before: The lag at the previous look; None without one.
        produced: The messages per second that arrived since then.
        read: The messages per second that were read since then.
        live, starting, draining: The numbers of listeners.
        are_same: True if the listeners are those of the previous look.
        commit_s: The duration of commits; None if unknown.
        failures: The number of failed starts.
    """

    now: datetime
    partitions: int
    lag: int
    live: int
    starting: int = 0
    draining: int = 0
    lag_before: int | None = None
    produced: float = 0.0
    read: float = 0.0
    are_same: bool = False
    commit_s: float | None = None
    failures: int = 0


@dataclass(frozen=True)
class Decision:
    """The decision about a stream.

    Attributes:
        start, drain: The numbers of listeners to start and to drain.
        why: The reason, for people; the words stay the same while only figures change.
        memory: The memory for the next look.
        is_lagging, is_stopped: True to send an alert, once each time that it happens.
    """

    start: int
    drain: int
    why: str
    memory: ScalingMemory
    is_lagging: bool = False
    is_stopped: bool = False


def decide(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState) -> Decision:
    """Decide which listeners a stream has to start or drain."""
    bounds = _bounds(limits, seen)
    memory = replace(memory, capacity=_capacity(limits, memory, seen))
    memory, why = _aim(limits, memory, seen, bounds)
    memory = _lagging(limits, memory, seen, bounds)
    return _steps(limits, memory, seen, bounds, why)


@dataclass(frozen=True)
class _Bounds:
    least: int
    most: int

    def hold(self, number: int) -> int:
        return max(self.least, min(number, self.most))


def _bounds(limits: ScalingLimits, seen: StreamState) -> _Bounds:
    most = max(1, min(seen.partitions, limits.maximum or seen.partitions))
    return _Bounds(min(limits.minimum, most), most)


def _capacity(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState) -> float | None:
    """Return the messages per second of one listener, measured while all had enough to read and none came or went."""
    had_enough = seen.lag_before is not None and min(seen.lag, seen.lag_before) >= limits.lag_threshold
    if had_enough and seen.are_same and _is_settled(limits, memory, seen) and seen.live and seen.read > 0:
        return seen.read / seen.live
    return memory.capacity


def _is_settled(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState) -> bool:
    return memory.changed_at is None or _since(memory.changed_at, seen) >= limits.settle_s


def _since(instant: datetime, seen: StreamState) -> float:
    return (seen.now - instant).total_seconds()


def _to_keep_up(limits: ScalingLimits, capacity: float | None, seen: StreamState) -> int:
    """Return the listeners that incoming messages keep well used; without a backlog no reason for more."""
    if seen.lag <= limits.activation_lag and limits.minimum == 0 and seen.produced == 0:
        return 0
    return max(1, ceil(seen.produced / (WELL_USED * capacity)) if capacity else 0)


def _to_catch_up(limits: ScalingLimits, capacity: float | None, seen: StreamState) -> int:
    """Return the listeners that a backlog needs: by its size, but no more than can finish it in time."""
    by_lag = ceil(max(0, seen.lag - limits.activation_lag) / limits.lag_threshold)
    if capacity:
        return min(by_lag, ceil((seen.produced + seen.lag / limits.catch_up_s) / capacity))
    is_in_time = (seen.read - seen.produced) * limits.catch_up_s >= seen.lag
    return min(by_lag, seen.live) if is_in_time else by_lag


def _aim(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState, bounds: _Bounds) -> tuple[ScalingMemory, str]:
    """Set the target; listeners that others have started are kept until they are too many."""
    there = seen.live + seen.starting
    target = bounds.hold(max(memory.target or 0, there))
    backlog = bounds.hold(_to_catch_up(limits, memory.capacity, seen))
    keep_up = bounds.hold(_to_keep_up(limits, memory.capacity, seen))
    if target != memory.target:
        memory = replace(memory, target=target, changed_at=seen.now)
    if backlog > target:
        return _grow(limits, memory, seen, backlog)
    if max(backlog, keep_up) < target:
        return _shrink(limits, memory, seen, target)
    return replace(memory, quiet_since=None), f"{target} {'is' if target == 1 else 'are'} enough"


def _grow(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState, needed: int) -> tuple[ScalingMemory, str]:
    memory, target = replace(memory, quiet_since=None), memory.target or 0
    are_at_work = seen.live >= target and seen.are_same and not seen.draining
    if target and not (are_at_work and _is_settled(limits, memory, seen)):
        return memory, f"{needed} are needed; the previous {target} have to settle first"
    if seen.commit_s is not None and seen.commit_s > limits.commit_limit_s:
        return memory, f"{needed} are needed, but the warehouse is slow: more than {target} would not help it"
    target = min(needed, max(1, 2 * target))
    return replace(memory, target=target, changed_at=seen.now), f"{needed} are needed: the target is now {target}"


def _shrink(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState, target: int) -> tuple[ScalingMemory, str]:
    quiet_since = memory.quiet_since or seen.now
    is_calm = seen.live == target and not seen.draining
    if not is_calm or _since(quiet_since, seen) < limits.cooldown_s:
        return replace(memory, quiet_since=quiet_since), f"fewer than {target} would be enough, if that lasts"
    fewer = replace(memory, target=target - 1, changed_at=seen.now, quiet_since=seen.now)
    return fewer, f"fewer than {target} were enough for {limits.cooldown_s:g} s: the target is now {target - 1}"


def _lagging(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState, bounds: _Bounds) -> ScalingMemory:
    limit = limits.lag_threshold * bounds.most if limits.lag_limit is None else limits.lag_limit
    if seen.lag <= limit:
        return replace(memory, lagging_since=None, told_lagging=False)
    return replace(memory, lagging_since=memory.lagging_since or seen.now)


def _steps(limits: ScalingLimits, memory: ScalingMemory, seen: StreamState, bounds: _Bounds, why: str) -> Decision:
    """Compare the listeners with the target."""
    there, target = seen.live + seen.starting, memory.target or 0
    start = max(0, min(target - there, bounds.most - there - seen.draining))
    is_stopped = start > 0 and seen.failures >= limits.restarts
    if is_stopped:
        start, why = 0, f"{limits.restarts} starts within an hour failed: no more are tried for now"
    drain = 1 if seen.live > target and not seen.draining else 0
    is_lagging = memory.lagging_since is not None and _since(memory.lagging_since, seen) >= limits.lag_limit_s
    memory_after = replace(
        memory,
        told_lagging=memory.told_lagging or is_lagging,
        told_stopped=is_stopped or (memory.told_stopped and seen.failures >= limits.restarts),
    )
    return Decision(
        start, drain, why, memory_after, is_lagging and not memory.told_lagging, is_stopped and not memory.told_stopped
    )
