"""What breaks a contract, in words for people who correct it."""

import re
from typing import get_args

from freight.contracts.contract import Column, Contract
from freight.types import ReasonCode

_TYPES = {
    "text": "is no text",
    "integer": "is no whole number",
    "number": "is no number as its file writes them",
    "instant": "is no date and time such as 2026-03-14 10:30:00",
    "date": "is no day such as 2026-03-14",
    "boolean": "is neither true nor false",
}
_OF_A_ROW: dict[str, str] = {
    "tombstone": "the message has no value, and messages delete nothing",
    "not_json": "the message is no JSON",
    "not_object": "the message is no JSON object",
    "unknown_field": "the message has a field that the contract does not know",
    "missing_field": "the message lacks a field",
    "doubled_field": "the message has a field twice",
    "schema_version": "the message keeps another version of the contract",
    "ragged_row": "the row has more or fewer cells than the header",
    "bad_encoding": "the text is damaged: its encoding is wrong",
    "nested_value": "a list or an object stands where a value belongs",
    "excel_error": "the cell holds an error, or a formula without a result",
    "no_text": "the cell holds something that is no text",
    "conflicting_event": "an event of this key is stored with other content, and events never change",
    "schema_drift": "its file has other columns than the contract",
    "refused_by_warehouse": "the warehouse refuses the row by a rule of its own",
}
_RULE = re.compile(r"(\w+): (\w+)")


def broken_rules(
    contract: Contract, column_name: str | None, reason: str, detail: str | None
) -> list[tuple[Column | None, str]]:
    """Return each rule that a quarantined row breaks, as its column and reason code; None stands for the whole row.

    Args:
        contract: of the dataset.
        column_name: as the row is kept.
        reason: as the row is kept.
        detail: as the row is kept.
    """
    columns = {column.name: column for column in contract.columns}
    found = [_RULE.fullmatch(part) for part in (detail or "").split("; ")]
    rules = [(columns[rule[1]], rule[2]) for rule in found if rule and rule[1] in columns and rule[2] in CODES]
    return list(rules) if len(rules) == len(found) else [(columns.get(column_name or ""), reason)]


CODES = get_args(ReasonCode)


def in_words(reason: str, column: Column | None, detail: str | None = None) -> str:
    """Return what is wrong with a cell or a row.

    Args:
        reason: a `ReasonCode`.
        column: of the cell; None for the whole row.
        detail: what the reader has told, for reasons that no rule of a column explains.
    """
    if column is not None and (told := _of_a_cell(reason, column)):
        return f"{column.name} {told}"
    told = _OF_A_ROW.get(reason, reason)
    place = f"{column.name}: " if column is not None else ""
    return f"{place}{told}" + (f" ({detail})" if detail else "")


def _of_a_cell(reason: str, column: Column) -> str | None:
    match reason:
        case "required":
            return "must not be empty"
        case "wrong_type":
            return _TYPES[column.dtype]
        case "not_finite":
            return "is no finite number"
        case "out_of_range":
            return _range(column)
        case "not_allowed":
            return f"is none of {', '.join(column.allowed)}"
        case "pattern":
            return f"does not look like {column.pattern}"
        case "too_long":
            return f"is longer than {column.max_length} characters"
        case "control_character":
            return "holds a character that cannot be shown"
        case "future":
            return "lies in the future"
        case "too_old":
            return "lies too long ago"
    return None


def _range(column: Column) -> str:
    unit = f" {column.unit}" if column.unit else ""
    match column.minimum, column.maximum:
        case None, None:
            return f"is before {column.not_before}"
        case low, None:
            return f"is less than {low:g}{unit}"
        case None, high:
            return f"is more than {high:g}{unit}"
        case low, high:
            return f"is not between {low:g} and {high:g}{unit}"
