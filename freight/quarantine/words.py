"""The reasons for quarantine in words, for the people who correct rows."""

from collections.abc import Mapping, Sequence

from freight.contracts import Contract
from freight.contracts.rules import BrokenRule, read_broken_rules, rule_of
from freight.frames import BadRow
from freight.reports.cells import visible
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


def in_words(contract: Contract, broken: BrokenRule, texts: Mapping[str, str | None], detail: str | None = None) -> str:
    """Return the fault of a row in words.

    Args:
        contract: The contract of its dataset.
        broken: The rule that it breaks, or its fault.
        texts: The cells by column; a rule over several columns shows those that it compares.
        detail: The reader's explanation of a fault; a fault of one column does not need it.
    """
    if rule := rule_of(contract, broken):
        has_several = len(broken.columns) > 1
        return rule.wrong(lambda name: _shown(name, texts.get(name)) if has_several else name)
    known = ", ".join(name for name in broken.columns if name in contract.by_name)
    words = FAULTS.get(broken.reason, f"{broken.reason}, a rule that the contract no longer has: replay the row")
    return f"{known}: {words}" if known else f"{words} ({detail})" if detail else words


def _shown(column: str, text: str | None) -> str:
    return f"{column} ({shown_value(text) if text else 'empty'})"


def shown_value(text: str) -> str:
    """Return the text of a cell for a message."""
    return repr(visible(text)[:SHOWN_CHARS])
