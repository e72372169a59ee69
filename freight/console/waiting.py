"""`dpa quarantine list`: the rows that wait in quarantine, by file and reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta

from freight.contracts import contract_for
from freight.notation.evidence import READ_AS_USUAL, ReadAs
from freight.quarantine.book import cells_of
from freight.reports.faults import broken_rules_of, with_value
from freight.types import BatchId
from freight.warehouse.quarantine import QuarantinedRow, WaitingGroup
from freight.words import counted

EXAMPLES, SHOWN_GROUPS = 3, 20  # rows of each group; the largest groups on a terminal
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def waiting_lines(groups: Sequence[WaitingGroup], read_as: Mapping[BatchId, ReadAs], now: datetime) -> Iterator[str]:
    """Describe groups of waiting rows: a line for each, and its first rows.

    Args:
        groups: The groups.
        read_as: How the files of their first rows were read.
        now: The instant at which their age counts.
    """
    for group in groups[:SHOWN_GROUPS]:
        fault = f"{group.column_name}: {group.reason}" if group.column_name else group.reason
        since = f"{group.since:%Y-%m-%d %H:%M} UTC, {_age(now - group.since)}"
        yield f"WAITING {group.source} {group.location}: {counted(group.rows, 'row')}, {fault}, since {since}"
        yield from (f"  row {_place(row, read_as)}: {_wrong(row)}" for row in group.first_rows)
    if (more := len(groups) - SHOWN_GROUPS) > 0:
        yield f"and {counted(more, 'smaller group')}: --json lists them all"
    yield _summary(groups)


def _summary(groups: Sequence[WaitingGroup]) -> str:
    rows, files = sum(group.rows for group in groups), len({(group.source, group.location) for group in groups})
    if not rows:
        return "No row waits in quarantine"
    waiting = f"Waiting rows: {rows:,}, of {counted(files, 'file')}"
    return f"{waiting}. `dpa quarantine export FILE.xlsx` lets people correct them"


def _age(age: timedelta) -> str:
    return f"{age // DAY} days ago" if age >= 2 * DAY else f"{age // HOUR} h ago"


def _place(row: QuarantinedRow, read_as: Mapping[BatchId, ReadAs]) -> int | str:
    return read_as.get(row.batch_id, READ_AS_USUAL).place(row.row_in_file)


def _wrong(row: QuarantinedRow) -> str:
    contract = contract_for(row.dataset)
    texts = cells_of(row, contract)
    return "; ".join(with_value(contract, rule, texts, row.detail) for rule in broken_rules_of(row))


def as_data(group: WaitingGroup, read_as: Mapping[BatchId, ReadAs]) -> dict[str, object]:
    """Return a group for a program: its first rows with their places, faults in words, and texts.

    Args:
        group: The group.
        read_as: How the files of its first rows were read.
    """
    first = [
        {"row": _place(row, read_as), "fault": _wrong(row), "text": row.raw.decode("utf-8", "backslashreplace")}
        for row in group.first_rows
    ]
    return {**asdict(group), "first_rows": first}
