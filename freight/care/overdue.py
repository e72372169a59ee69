"""What should have happened by now and has not: judged from what is told, without asking anybody."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from freight.contracts import LOCAL_ZONE, contract_for, contracts


@dataclass(frozen=True)
class Overdue:
    """Something that is overdue.

    Attributes:
        key: tells it from others, the same as long as it lasts; such as `dataset.transactions`.
        name: what it is, for people.
        reason: the same words as long as it lasts.
    """

    key: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Night:
    """The latest night that is over: from when to when something had to be done."""

    begin: datetime
    end: datetime

    @classmethod
    def before(cls, now: datetime, begin: time, end: time) -> "Night":
        """Return the latest one whose end is not after now; times are those of Douala, and may lie around midnight."""
        end_at = _latest(now, end)
        return cls(_latest(end_at, begin), end_at)


def _latest(now: datetime, wanted: time) -> datetime:
    """Return the latest instant, not after now, at which clocks in Douala show a time."""
    local = now.astimezone(ZoneInfo(LOCAL_ZONE))
    today = local.replace(hour=wanted.hour, minute=wanted.minute, second=wanted.second, microsecond=0)
    return today if today <= local else today - timedelta(days=1)


def stale_datasets(loads: Mapping[str, datetime], limits_s: Mapping[str, float], now: datetime) -> list[Overdue]:
    """Return the datasets whose newest load is older than their contract allows.

    Args:
        loads: when each dataset that should go on was last loaded.
        limits_s: other limits than those of the contracts, by dataset.
        now: the instant that counts.

    Raises:
        ConfigurationError: a limit is given for a dataset that does not exist.
    """
    for dataset in limits_s:
        contract_for(dataset)
    return [
        Overdue(f"dataset.{dataset}", dataset, f"nothing was loaded since {loaded_at:%Y-%m-%d %H:%M} UTC")
        for dataset, contract in contracts().items()
        if (loaded_at := loads.get(dataset))
        and now - loaded_at > timedelta(seconds=limits_s.get(dataset, contract.freshness_s))
    ]
