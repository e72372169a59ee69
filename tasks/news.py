"""News about runs: what people hear of a failed or degraded run, how often, and that it is well again.

Each run decides by itself at its end: it compares itself with the earlier runs that Prefect remembers, and sends an
event for an alert only if it has news. A run that crashes cannot: Prefect's own event raises that alert.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import Flow, State
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event
from prefect.exceptions import PrefectException

from tasks.api import impatient_client
from tasks.run_names import DEGRADED, OVERDUE

log = logging.getLogger("freight")

Kind = Literal["failed", "degraded", "overdue", "well"]

EVENT = "dpa.run."  # and the kind
EPISODE = "dpa.episode"  # the label by which the server recognizes the same news of runs that end together
TAG = "dpa"
AGAIN = timedelta(hours=6)  # the pause before the same news is repeated
REMEMBERED = 100  # runs
SHOWN = 600  # characters of a reason
WELL_S = 60.0  # a listener that has listened for so long is well
ENDS = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED]
KINDS: dict[str, Kind] = {"Completed": "well", DEGRADED: "degraded", OVERDUE: "overdue"}

_VOLATILE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # an id
    r"|\b0x[0-9a-f]+\b"
    r"|(?<![\w/\\.:-])\d+([.,:T-]\d+)*(?![\w/\\]|[.:-]\w)",  # a count or a time, not a part of a name, path or address
    re.I,
)
_ADDRESS = re.compile(r"\d+(\.\d+){3}")


@dataclass(frozen=True)
class Ended:
    """A run that has ended, or a listener that works.

    Attributes:
        name: The name of its state.
        reason: The message of its state.
        is_same_work: Whether it has the parameters of the run that asks.
        was_well: Whether it worked before it failed, as a listener does that has listened for a while.
    """

    run_id: str
    name: str
    reason: str
    at: datetime
    is_same_work: bool = True
    was_well: bool = False

    @property
    def kind(self) -> Kind:
        """What the state means to people."""
        return KINDS.get(self.name, "failed")


@dataclass(frozen=True)
class News:
    """What people should hear.

    Attributes:
        episode: The same text for the same news of runs that end at the same time.
        reason: The text for people.
    """

    kind: Kind
    episode: str
    reason: str


def fingerprint(reason: str) -> str:
    """Return a short text that is equal for equal causes: counts, times and ids do not matter, names and paths do."""
    return _short(_VOLATILE.sub(lambda found: found[0] if _ADDRESS.fullmatch(found[0]) else "#", reason))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shortened(text: str, limit: int = SHOWN) -> str:
    """Cut a text after a whole line, and say how many lines are missing."""
    lines = text.splitlines()
    shown = next((n for n in range(len(lines), 0, -1) if len("\n".join(lines[:n])) <= limit), 1)
    kept = "\n".join(lines[:shown])
    kept = kept if len(kept) <= limit else f"{kept[: limit - 1]}…"
    return f"{kept}\nand {len(lines) - shown} more" if shown < len(lines) else kept


@dataclass
class _Memory:
    """What people know after some runs."""

    told: dict[str, datetime] = field(default_factory=dict)
    unsaid: Counter[str] = field(default_factory=Counter)
    bad: list[Ended] = field(default_factory=list)
    kind: Kind = "well"
    turns: int = 0
    well_id: str = ""

    def note(self, run: Ended) -> News | None:
        """Take note of a run; return the news that it brings."""
        if run.kind == "well":
            return self._recover(run) if run.is_same_work else None
        if run.was_well:
            self._recover(run)
        return self._suffer(run)

    def _recover(self, run: Ended) -> News | None:
        bad = self.bad
        self.told, self.unsaid, self.bad, self.kind, self.well_id = {}, Counter(), [], "well", run.run_id
        if not bad:
            return None
        before = f"Runs that did not end well since {bad[0].at:%Y-%m-%d %H:%M} UTC: {len(bad)}, the last one with:"
        reason = f"{shortened(run.reason)}\n{before} {shortened(bad[-1].reason, SHOWN // 2)}"
        return News("well", _short(f"well {bad[0].run_id}"), reason)

    def _suffer(self, run: Ended) -> News | None:
        if run.is_same_work:
            self.bad.append(run)
            self._turn(run.kind)
        same = fingerprint(f"{run.name} {run.reason}")
        if same in self.told and run.at - self.told[same] < AGAIN:
            self.unsaid[same] += 1
            return None
        self.told[same] = run.at
        more = self.unsaid.pop(same, 0)
        since = f"\n{more} more since the last message about it" if more else ""
        return News(run.kind, _short(f"{same} {self.well_id} {self.turns}"), shortened(run.reason) + since)

    def _turn(self, kind: Kind) -> None:
        """Forget what was said about another kind of state: a load that is degraded again after it failed is news."""
        if self.kind not in ("well", kind):
            self.told, self.turns = {}, self.turns + 1
        self.kind = kind


def news_of(run: Ended, earlier: Sequence[Ended]) -> News | None:
    """Decide what people should hear of a run.

    A failure is told at once, and again only after hours, with the number of those in between. Another reason or state
    is news; so is the first run that is well.

    Args:
        run: The run.
        earlier: The earlier runs of its deployment, oldest first.
    """
    memory = _Memory()
    for one in earlier:
        memory.note(one)
    return memory.note(run)


# --- Prefect -----------------------------------------------------------------------------------------------------


def told[F: Flow[..., Any]](flow: F) -> F:
    """Make the runs of a flow tell people how they end. Put it above `@flow`."""
    flow.on_failure(_tell_end)
    flow.on_completion(_tell_end)
    return flow


def _tell_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect's signature
    ended = Ended(str(flow_run.id), state.name or "", state.message or "", datetime.now(UTC))
    tell(flow_run, replace(ended, was_well=_was_well(flow_run)))


def tell_listening(run_id: UUID) -> None:
    """Tell that a listener works, if an earlier one failed."""
    with impatient_client() as prefect:
        run = prefect.read_flow_run(run_id)
    tell(run, Ended(str(run_id), "Completed", "it listens", datetime.now(UTC)))


def tell(run: FlowRun, ended: Ended) -> None:
    """Send an event if a run of a deployment of ours has news."""
    if TAG not in run.tags:
        return
    try:
        with impatient_client() as prefect:
            earlier, source = _earlier(prefect, run), _source(prefect, run)
    except (httpx.HTTPError, PrefectException, OSError) as error:  # told once too often is better than never
        log.warning("the earlier runs of %s are unknown: %s: %s", run.name, type(error).__name__, error)
        earlier, source = [], run.name
    if news := news_of(ended, earlier):
        _emit(run, ended, news, source)


def _emit(run: FlowRun, ended: Ended, news: News, source: str) -> None:
    resource = {
        "prefect.resource.id": f"dpa.run.{run.deployment_id or run.flow_id}",
        "prefect.resource.name": source,
        EPISODE: news.episode,
    }
    related = {
        "prefect.resource.id": f"prefect.flow-run.{run.id}",
        "prefect.resource.role": "flow-run",
        "prefect.resource.name": run.name,
    }
    payload = {"state": ended.name, "headline": news.reason.partition("\n")[0], "reason": news.reason}
    emit_event(EVENT + news.kind, resource, related=[related], payload=payload)


def _source(prefect: SyncPrefectClient, run: FlowRun) -> str:
    known = prefect.read_deployment(run.deployment_id) if run.deployment_id else prefect.read_flow(run.flow_id)
    stream = run.parameters.get("topic") or run.parameters.get("dataset")
    return f"{known.name}, {stream}" if stream else known.name


def _earlier(prefect: SyncPrefectClient, run: FlowRun) -> list[Ended]:
    """Return the runs of the same deployment that have ended, oldest first; without a deployment, those of the flow."""
    wanted: dict[str, Any] = {"state": {"type": {"any_": ENDS}}, "tags": {"all_": [TAG]}}
    if not run.deployment_id:
        wanted["deployment_id"] = {"is_null_": True}
    found = prefect.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"id": {"any_": [run.flow_id]}}),
        deployment_filter=_deployment(run.deployment_id),
        flow_run_filter=FlowRunFilter.model_validate(wanted),
        sort=FlowRunSort.END_TIME_DESC,
        limit=REMEMBERED,
    )
    return [_ended(one, run) for one in reversed(found) if one.id != run.id]


def _deployment(deployment_id: UUID | None) -> DeploymentFilter | None:
    return DeploymentFilter.model_validate({"id": {"any_": [deployment_id]}}) if deployment_id else None


def _ended(one: FlowRun, asks: FlowRun) -> Ended:
    assert one.state is not None  # the filter is by states
    name, reason, at = one.state.name or "", one.state.message or "", one.end_time or one.state.timestamp
    return Ended(str(one.id), name, reason, at, one.parameters == asks.parameters, _was_well(one))


def _was_well(run: FlowRun) -> bool:
    """Whether a listener had listened for a while; runs of other flows are well only at their end."""
    began, ended = run.start_time, run.end_time or datetime.now(UTC)
    return run.name.startswith("listen ") and began is not None and (ended - began).total_seconds() >= WELL_S
