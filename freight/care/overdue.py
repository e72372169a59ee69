"""Overdue loads: what should have happened by now and has not, judged from the arguments alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from freight.contracts import LOCAL_ZONE, contract_for, contracts


@dataclass(frozen=True)
class Overdue:
    """A load or dataset that is overdue.

    Attributes:
        key: The identifier, stable while it lasts; such as `dataset.transactions`.
        name: The name for people.
        reason: The cause, in the same words while it lasts.
    """

    key: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Night:
    """The latest night that is over: the span in which a load had to run."""

    begin: datetime
    end: datetime

    @classmethod
    def before(cls, now: datetime, begin: time, end: time) -> "Night":
        """Return the latest night that has ended by now; times are local to Douala, and may span midnight."""
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
        loads: The last load of each dataset that should stay fresh.
        limits_s: The limits in place of those of the contracts, by dataset.
        now: The instant to judge by.

    Raises:
        ConfigurationError: A limit names a dataset that does not exist.
    """
    for dataset in limits_s:
        contract_for(dataset)
    return [
        Overdue(f"dataset.{dataset}", dataset, f"nothing was loaded since {loaded_at:%Y-%m-%d %H:%M} UTC")
        for dataset, contract in contracts().items()
        if (loaded_at := loads.get(dataset))
        and now - loaded_at > timedelta(seconds=limits_s.get(dataset, contract.freshness_s))
    ]
