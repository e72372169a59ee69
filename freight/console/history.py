"""`dpa history`: what was loaded when, and what failed, from the ledger."""

from collections.abc import Iterator
from dataclasses import asdict

from freight.warehouse.history import HistoryEntry
from freight.words import counted

OUTCOMES = {"loaded": "LOADED", "failed": "FAILED"}


def history_lines(entry: HistoryEntry) -> Iterator[str]:
    """Describe a load or an attempt: a line with the time, and the first bad rows of what was refused."""
    yield f"{entry.at:%Y-%m-%d %H:%M} UTC {OUTCOMES[entry.outcome]} {entry.source}{_cause(entry)}: {_result(entry)}"
    for row in entry.first_bad_rows:
        yield f"  row {row.row}: {row.fault}"


def _cause(entry: HistoryEntry) -> str:
    return f" by {entry.cause}" if entry.cause != "load" else ""


def _result(entry: HistoryEntry) -> str:
    if entry.outcome == "failed":
        released = f"; released {entry.released_at:%Y-%m-%d %H:%M} UTC" if entry.released_at else ""
        return f"{entry.reason}{released}"  # it begins with the location
    counts = asdict(entry.counts)
    read = counts.pop("read")
    ends = " + ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f"{entry.location}: {counted(read, 'row')} read{f' = {ends}' if ends else ''}"
