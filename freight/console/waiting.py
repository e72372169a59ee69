"""`dpa quarantine list`: the rows that wait in quarantine, by file and reason."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from freight.contracts import contract_for
from freight.quarantine.book import cells_of
from freight.reports.faults import broken_rules_of, with_value
from freight.warehouse.quarantine import QuarantinedRow, WaitingGroup

EXAMPLES, SHOWN_GROUPS = 3, 20  # rows of each group; the largest groups on a terminal
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def waiting_lines(groups: Sequence[WaitingGroup], now: datetime) -> Iterator[str]:
    """Describe groups of waiting rows: a line for each, and its first rows.

    Args:
        groups: The groups.
        now: The instant at which their age counts.
    """
    for group in groups[:SHOWN_GROUPS]:
        fault = f"{group.column_name}: {group.reason}" if group.column_name else group.reason
        since = f"{group.since:%Y-%m-%d %H:%M} UTC, {_age(now - group.since)}"
        yield f"WAITING {group.source} {group.location}: {group.rows:,} rows, {fault}, since {since}"
        yield from (f"  row {row.row_in_file}: {_wrong(row)}" for row in group.first_rows)
    if (more := len(groups) - SHOWN_GROUPS) > 0:
        yield f"and {more:,} smaller groups: --json lists them all"
    yield _summary(groups)


def _summary(groups: Sequence[WaitingGroup]) -> str:
    rows, files = sum(group.rows for group in groups), len({(group.source, group.location) for group in groups})
    if not rows:
        return "No row waits in quarantine"
    return f"Waiting rows: {rows:,}, of {files:,} files. `dpa quarantine export FILE.xlsx` lets people correct them"


def _age(age: timedelta) -> str:
    return f"{age // DAY} days ago" if age >= 2 * DAY else f"{age // HOUR} h ago"


def _wrong(row: QuarantinedRow) -> str:
    contract = contract_for(row.dataset)
    texts = cells_of(row, contract)
    return "; ".join(with_value(contract, rule, texts, row.detail) for rule in broken_rules_of(row))


def as_data(group: WaitingGroup) -> dict[str, object]:
    """Return a group for a program: its first rows with number, fault in words, and text."""
    first = [
        {"row": row.row_in_file, "fault": _wrong(row), "text": row.raw.decode("utf-8", "backslashreplace")}
        for row in group.first_rows
    ]
    return {**asdict(group), "first_rows": first}
