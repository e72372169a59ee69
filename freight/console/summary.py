"""The words for people about a run, a check or a preview: a line per source, the failures, and the places."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from freight.catalog import Catalog
from freight.contracts import Contract
from freight.contracts.rules import read_broken_rules
from freight.frames import row_in_file
from freight.pipeline import Check, RunReport, UnitOutcome, UnitState, tied_sources
from freight.reports.faults import in_words, options_in_words, texts_of
from freight.terminal import cell
from freight.types import LoadCounts
from freight.words import counted

HEADINGS = ("source", "files", "read", "inserted", "updated", "unchanged", "superseded", "quarantined", "note")
LIKE_TOTALS = re.compile(r"\s*((?:sous-|sub-?|grand )?total|totaux|somme|summe|gesamt|nombre de|signature)\b", re.I)
SHOWN_BAD_ROWS, SHOWN_RAW = 5, 200  # rows of each file; characters of each row

NOTES: dict[UnitState, str] = {
    "unchanged": "loaded before",
    "waiting": "left for the next run",
    "parked": "parked",
    "replaced": "replaced by a fallback",
    "failed": "FAILED",
    "gone": "gone",
}


def summary_rows(report: RunReport) -> list[dict[str, object]]:
    """Return one row per source with the columns of `HEADINGS`; the note counts files that did not load."""
    return [_row(report, source) for source in report.sources]


def _row(report: RunReport, source: str) -> dict[str, object]:
    outcomes = [outcome for outcome in report.outcomes if outcome.source == source]
    states = [outcome.state for outcome in outcomes]
    counts = report.counts(source)
    notes = [f"{states.count(state)} {text}" for state, text in NOTES.items() if state in states]
    return {
        "source": source,
        "files": len(outcomes) - states.count("gone"),
        "read": counts.read,
        "inserted": counts.inserted,
        "updated": counts.updated,
        "unchanged": counts.unchanged,
        "superseded": counts.superseded,
        "quarantined": counts.quarantined,
        "note": ", ".join(notes),
    }


def headline(report: RunReport) -> str:
    """Return the run in one sentence."""
    left = {"parked": report.parked, "replaced": report.replaced, "left for the next run": report.waiting}
    left["gone"] = report.gone
    left_out = "".join(f"; {count} {state}" for state, count in left.items() if count)
    if report.failures:
        failed = f"{len(report.failures)} of {counted(report.files, 'file')} failed"
        return f"{failed}{left_out}; the others are loaded"
    counts = report.counts()
    if counts.read == 0 and report.changed_stats == 0:
        return _nothing_new(report)
    ended = f"{counts.changed:,} changed the warehouse, {counts.quarantined:,} quarantined{left_out}"
    return f"{counted(counts.read, 'row')} read: {ended}"


def _nothing_new(report: RunReport) -> str:
    """Return the run in one sentence if it loaded nothing; broken files come first."""
    broken = {
        "failed before and wait for `dpa retry`": report.parked,
        "cannot be used and have a fallback": report.replaced,
        "failed before and are gone": report.gone,
    }
    files = counted(report.files + report.gone, "file")
    told = [f"{count} of {files} {what}" for what, count in broken.items() if count]
    waiting = f"; {report.waiting} left for the next run" if report.waiting else ""
    if told:
        return f"{', '.join(told)}; no other file is new{waiting}"
    return f"Nothing to do: no file is new, the warehouse is unchanged{waiting}"


def reasons(report: RunReport, *states: UnitState) -> list[str]:
    """Return the reason for each file in one of these states."""
    return [
        f"{outcome.state.upper()} {outcome.source}: {outcome.message}"
        for outcome in report.outcomes
        if outcome.state in states
    ]


def remarks(report: RunReport) -> list[str]:
    """Return the notes for people about loaded files."""
    return [f"NOTE {o.source} {o.location}: {o.message}" for o in report.outcomes if o.state == "loaded" and o.message]


def shortfalls(report: RunReport, degraded_share: float) -> list[str]:
    """List the data that a run left out, and drifts, although nothing failed: see *degraded* in the glossary.

    Args:
        report: The report of the run.
        degraded_share: The share of a source's rows in quarantine above which it is listed.
    """
    by_source = ((source, report.counts(source)) for source in report.sources)
    many = [
        f"QUARANTINE {source}: {counts.quarantined:,} of {counted(counts.read, 'row')}"
        for source, counts in by_source
        if counts.quarantined > degraded_share * counts.read
    ]
    return [*reasons(report, "parked", "replaced", "gone"), *drifts(report), *_unarchived(report), *many]


def drifts(report: RunReport) -> list[str]:
    """Describe how loaded data differs from its contract, or from recent loads."""
    return [f"DRIFT {o.source} {o.location}: {o.drift}" for o in report.outcomes if o.drift]


def _unarchived(report: RunReport) -> list[str]:
    return [f"NOT ARCHIVED {o.source}: {o.unarchived}" for o in report.outcomes if o.unarchived]


# --- Checks ------------------------------------------------------------------------------------------------------


def check_headline(checks: Sequence[Check]) -> str:
    """Return the result of a check of several sources, in one sentence."""
    states = [check.outcome.state for check in checks]
    if failed := states.count("failed"):
        return f"{failed} of {counted(len(checks), 'file')} would fail; nothing was written"
    counts = sum((check.outcome.counts for check in checks), LoadCounts())
    changes = f"{counts.changed:,} of {counted(counts.read, 'row')} would change the warehouse"
    known = f"{states.count('unchanged')} of {counted(len(checks), 'file')} loaded before"
    return f"{changes}, {counts.quarantined:,} be quarantined; {known}; nothing was written"


def check_lines(checks: Sequence[Check], catalog: Catalog) -> Iterator[str]:
    """Describe the files of a check: the number of unchanged ones, each other one with its first bad rows, and ties."""
    unchanged = Counter(check.outcome.source for check in checks if check.outcome.state == "unchanged")
    yield from (f"UNCHANGED {name}: {files} loaded before" for name, files in unchanged.items())
    for check in (check for check in checks if check.outcome.state != "unchanged"):
        yield check_line(check)
        yield from (f"  {row}" for row in bad_row_lines(check))
    yield from tied_sources([check.outcome for check in checks], catalog)


def _without_location(outcome: UnitOutcome) -> str:
    """Return the message of a file without its location, with which the message of a fault begins."""
    return outcome.message.removeprefix(outcome.location).lstrip(":, ") if outcome.location else outcome.message


def check_line(check: Check) -> str:
    """Describe how a file would end, and what it would change."""
    outcome, counts = check.outcome, check.outcome.counts
    text = _without_location(outcome)
    if outcome.state == "loaded":
        parts = [
            f"{counted(counts.read, 'row')}: {counts.inserted:,} new",
            f"{counts.updated:,} changed",
            f"{counts.unchanged:,} unchanged",
            f"{counts.superseded:,} superseded",
            f"{counts.quarantined:,} to quarantine",
        ]
        text = "; ".join([", ".join(parts), *_notes(check)])
    place = f"{outcome.source} {outcome.location}".strip()
    return f"{_check_state(check)} {place}: {text.removeprefix('source: ')}"


def _notes(check: Check) -> list[str]:
    """Return what a check says beside its counts: remarks, and what was decided about the file."""
    read_as = f"read with {check.read_as}" if check.read_as else ""
    speaks_for = f"stands for {check.speaks_for}" if check.speaks_for else ""
    told = [_without_location(check.outcome), check.outcome.drift, read_as, speaks_for, _tie(check)]
    return [*filter(None, told)]


def _tie(check: Check) -> str:
    if not check.ties:
        return ""
    more = f" and {len(check.ties) - 1:,} more" if len(check.ties) > 1 else ""
    return (
        f"TIE with {check.ties[0]}{more}: of rows with the same key, the one with the higher row number wins; write a "
        "time into the names, such as _0800"
    )


def _check_state(check: Check) -> str:
    outcome = check.outcome
    return "DRIFT" if outcome.drift else "OK" if outcome.state == "loaded" else outcome.state.upper()


def bad_row_lines(check: Check) -> list[str]:
    """Show the first rows of a file that would be quarantined, and the option that leaves out those like totals."""
    shown = [f"row {row['row']}: {row['fault']} in {row['text']}" for row in bad_row_cells(check)]
    totals = filter(None, (_of_total(row["raw"]) for row in check.first_bad_rows.iter_rows(named=True)))
    rule = next((json.dumps(rule, ensure_ascii=False) for rule in totals), "")
    return (
        [*shown, f"if such rows are no data, leave them out: `options: {{skip_rows_where: {rule}}}`"] if rule else shown
    )


def _of_total(raw: bytes) -> dict[str, str]:
    """Return the `skip_rows_where` for a record that looks like a total, else nothing."""
    found = ((column, LIKE_TOTALS.match(cell)) for column, cell in texts_of(raw).items())
    return next(({column: f"^{word[1]}"} for column, word in found if word), {})


def bad_row_cells(check: Check) -> list[dict[str, object]]:
    """Return the first rows of a file that would be quarantined: source, file, row, fault and text."""
    return [
        {
            "source": check.outcome.source,
            "file": check.outcome.location,
            "row": row_in_file(row),
            "fault": _fault(row, check.contract),
            "text": row["raw"].decode("utf-8", "backslashreplace")[:SHOWN_RAW],
        }
        for row in check.first_bad_rows.head(SHOWN_BAD_ROWS).iter_rows(named=True)
    ]


def _fault(row: Mapping[str, Any], contract: Contract | None) -> str:
    """Return the fault of a bad row: its code, and what is wrong in words."""
    code = str(row["detail"] or row["reason"])
    rules = read_broken_rules(row["broken_rules"])
    if contract is None or not rules:
        return code
    texts = texts_of(row["raw"])
    words = [in_words(contract, rule, texts) for rule in rules]
    words += options_in_words(contract, rules, texts)
    return f"{code} ({'; '.join(words)})"


def check_rows(checks: Sequence[Check]) -> list[dict[str, object]]:
    """Return one row per file: how it would end, and its differences from the warehouse."""
    return [
        {
            "source": check.outcome.source,
            "file": check.outcome.location,
            "state": _check_state(check),
            "read": check.outcome.counts.read,
            "new": check.outcome.counts.inserted,
            "changed": check.outcome.counts.updated,
            "unchanged": check.outcome.counts.unchanged,
            "superseded": check.outcome.counts.superseded,
            "to quarantine": check.outcome.counts.quarantined,
            "note": "; ".join(_notes(check)),
        }
        for check in checks
    ]


def check_data(checks: Sequence[Check]) -> list[dict[str, object]]:
    """Return one row per file for a program, with the reason of a failure and the first bad rows."""
    rows = zip(check_rows(checks), checks, strict=True)
    return [{**row, "message": check.outcome.message, "bad_rows": bad_row_cells(check)} for row, check in rows]


# --- Previews ----------------------------------------------------------------------------------------------------


def frame_table(frame: pl.DataFrame) -> Table:
    """Return the rows of a frame as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in frame.columns:
        table.add_column(column, no_wrap=True)
    for row in frame.iter_rows():
        table.add_row(*(cell("" if value is None else str(value)) for value in row))
    return table


# --- The terminal ------------------------------------------------------------------------------------------------


def print_summary(
    console: Console,
    report: RunReport,
    *,
    simulated: bool,
    places: Mapping[str, Path | str],
    warnings: Sequence[str] = (),
) -> None:
    """Print the summary of a run: failures first, so that they are seen, and warnings about the machine last."""
    console.print(_table(report))
    for row in summary_rows(report):
        if row["note"]:
            console.print(f"{row['source']}: {row['note']}", markup=False, highlight=False)
    states: tuple[UnitState, ...] = ("failed", "parked", "gone", "replaced", "waiting")
    for reason in [*reasons(report, *states), *drifts(report), *_unarchived(report), *remarks(report)]:
        console.print(reason, markup=False, highlight=False, soft_wrap=True)
    console.print(headline(report), style="bold red" if report.failures else "bold green", highlight=False)
    if simulated:
        console.print("The warehouse holds SIMULATED data. `dpa reset` starts clean.", style="yellow", highlight=False)
    for name, place in places.items():
        console.print(f"  {name:<10} {place}", markup=False, highlight=False, soft_wrap=True)
    for warning in warnings:
        console.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)


def _table(report: RunReport) -> Table:
    """Return the counts of each source; without borders it fits 80 columns, since a truncated number is wrong."""
    table = Table(title=f"Run {report.run_id}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    headings = HEADINGS[:-1]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "source" else "right", no_wrap=True)
    for row in summary_rows(report):
        table.add_row(*(_shown(row[heading]) for heading in headings))
    return table


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
