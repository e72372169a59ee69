"""The faults of rows in words, for the people who correct them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from freight.contracts import Contract
from freight.contracts.rules import BrokenRule, read_broken_rules, rule_of
from freight.frames import BadRow, row_in_file
from freight.notation.unreadable import options_for
from freight.reports.cells import visible
from freight.types import Number
from freight.warehouse.quarantine import QuarantinedRow

SHOWN_CHARS = 80  # of a value
FAULTS: dict[str, str] = {
    "tombstone": "the message has no value, and messages delete nothing",
    "not_json": "the message is not JSON",
    "not_object": "the message is not a JSON object",
    "unknown_field": "the message has a field that the contract does not know",
    "missing_field": "the message lacks a field",
    "doubled_field": "the message has a field twice",
    "schema_version": "the message keeps another version of the contract",
    "sent_at_out_of_range": "the message states that it was sent more than a day ahead",
    "unprocessable": "the product fails over the message",
    "ragged_row": "the row has more or fewer cells than the header",
    "bad_encoding": "the text is damaged: its encoding is wrong",
    "nested_value": "a list or an object stands where a value belongs",
    "row_too_large": "the row is larger than a row of a table may be",
    "excel_error": "the cell holds an error, or a formula without a result",
    "shown_otherwise": (
        "the cell shows something else than it holds: a unit, a day made of a code, or characters that are struck out, "
        "raised or lowered"
    ),
    "merged_cells": "the value of merged cells may belong to several columns",
    "no_text": "the cell holds a value that is not text",
    "conflicting_event": "an event with this key is stored with different content, and events never change",
    "schema_drift": "its file has other columns than the contract",
    "refused_by_warehouse": "the warehouse refuses the row by a rule of its own",
}


def broken_rules_of(row: QuarantinedRow | BadRow) -> Sequence[BrokenRule]:
    """Return each rule that a row breaks; for a row that failed before the rules, its one fault."""
    fault = BrokenRule(row.reason, (row.column_name,) if row.column_name else ())
    return read_broken_rules(row.broken_rules) or [fault]


def faults_of(row: QuarantinedRow | BadRow, contract: Contract, texts: Mapping[str, str | None] | None) -> str:
    """Return all faults of a row in words.

    Args:
        row: The row.
        contract: The contract of its dataset.
        texts: The cells by column; None to name the columns alone, without their values.
    """
    return "; ".join(in_words(contract, broken, texts, row.detail) for broken in broken_rules_of(row))


def in_words(
    contract: Contract, broken: BrokenRule, texts: Mapping[str, str | None] | None, detail: str | None = None
) -> str:
    """Return the fault of a row in words.

    Args:
        contract: The contract of its dataset.
        broken: The rule that it breaks, or its fault.
        texts: The cells by column; a rule over several columns shows those that it compares. None shows none.
        detail: The reader's explanation of a fault; a fault of one column does not need it.
    """
    if rule := rule_of(contract, broken):
        if broken.found:
            return f"{broken.columns[0]} {broken.found}"
        if texts is None or len(broken.columns) == 1:
            return rule.wrong(lambda name: name)
        return rule.wrong(lambda name: _shown(name, texts.get(name)))
    known = ", ".join(name for name in broken.columns if name in contract.by_name)
    words = FAULTS.get(broken.reason, f"{broken.reason}, a rule that the contract no longer has: replay the row")
    return f"{known}: {words}" if known else f"{words} ({detail})" if detail else words


def with_value(
    contract: Contract, broken: BrokenRule, texts: Mapping[str, str | None], detail: str | None = None
) -> str:
    """Return the fault of a row in words, with the cell; the words of a rule over several columns contain theirs."""
    text = texts.get(broken.columns[0]) if len(broken.columns) == 1 else None
    return in_words(contract, broken, texts, detail) + (f": {shown_value(text)}" if text else "")


def reasons_in_words(contract: Contract, counts: Mapping[str, int], bad: pl.DataFrame) -> str:
    """Return why the rows of a file are bad: the number of each reason, and the first row of the commonest in words.

    Args:
        contract: The contract of the rows.
        counts: The number of bad rows by the code of their reason, the most frequent first.
        bad: The first bad rows: `BAD_ROWS_SCHEMA`, and their places if they have some.
    """
    told = ", ".join(f"{reason} {count}" for reason, count in counts.items())
    row = _commonest(counts, bad)
    return f"{told}; row {row_in_file(row)}: {_fault(contract, row)}" if row else told


def remedy_of(contract: Contract, counts: Mapping[str, int], bad: pl.DataFrame) -> str:
    """Return the remedy for a file with too many bad rows; see `reasons_in_words`."""
    row = _commonest(counts, bad)
    rules = read_broken_rules(row["broken_rules"]) if row else []
    state = _option(contract, rules[0], texts_of(row["raw"])) if row and rules else ""
    first = f"if the file is right, say in the catalog {state}; else " if state else ""
    return f"{first}correct the file or the contract; then `dpa retry`; `dpa history` shows the first bad rows"


def _option(contract: Contract, broken: BrokenRule, texts: Mapping[str, str | None]) -> str:
    """Return the options that may read the cell of a row; nothing if it is readable."""
    if broken.reason != "wrong_type":
        return ""
    (name,) = broken.columns
    return options_for(contract.by_name[name], texts.get(name) or "")


def options_in_words(contract: Contract, broken: Sequence[BrokenRule], texts: Mapping[str, str | None]) -> list[str]:
    """Return the options that may read the cells of a row, one text for each cell that cannot be read."""
    found = filter(None, (_option(contract, rule, texts) for rule in broken))
    return [f"options of the source that may help: {option}" for option in found]


def _commonest(counts: Mapping[str, int], bad: pl.DataFrame) -> dict[str, Any] | None:
    """Return the first row of the commonest reason, or else the first one."""
    return min(bad.iter_rows(named=True), key=lambda row: row["reason"] != next(iter(counts)), default=None)


def _fault(contract: Contract, row: Mapping[str, Any]) -> str:
    """Return the first fault of a bad row, with its cell unless that is free text: it may be about a person."""
    rules = read_broken_rules(row["broken_rules"])
    if not rules:
        return f"column {row['column_name']!r}: {row['detail']}" if row["column_name"] else str(row["detail"])
    is_private = contract.by_name[rules[0].columns[0]].is_free_text
    return (in_words if is_private else with_value)(contract, rules[0], texts_of(row["raw"]))


def texts_of(raw: bytes) -> dict[str, str]:
    """Return the texts of a bad row by column, numbers with all their digits; nothing if the row is not a record."""
    try:
        record = json.loads(raw, parse_int=Number, parse_float=Number)
    except (ValueError, RecursionError):
        return {}
    return {name: str(text) for name, text in record.items() if text is not None} if isinstance(record, dict) else {}


def _shown(column: str, text: str | None) -> str:
    return f"{column} ({shown_value(text) if text else 'empty'})"


def shown_value(text: str) -> str:
    """Return the text of a cell for a message."""
    return repr(visible(text)[:SHOWN_CHARS])
