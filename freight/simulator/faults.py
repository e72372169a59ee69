"""Breaks clean rows like real exports do, and keeps an answer sheet.

A fault either breaks the contract (the row belongs in quarantine) or only seems to: untidy text to clean, a machine
that the reference does not know yet, a row that is sent a second time.
"""

import math
from dataclasses import dataclass, replace

import polars as pl

from freight.errors import ConfigurationError
from freight.simulator.draws import uniform

ORACLE_SCHEMA = {"row": pl.Int64, "kind": pl.String, "quarantined": pl.Boolean}
RESENT = "resent"

_ROW, _FAULT, _ORIGINAL = "__row", "__fault", "__original"


@dataclass(frozen=True)
class Fault:
    """One way to break a row.

    Attributes:
        kind: The name of the fault in the oracle.
        column: The column that it changes.
        text: The new content of the cell; None for an empty cell.
        quarantined: Whether the row then breaks the transactions contract.
    """

    kind: str
    column: str
    text: str | None
    quarantined: bool = True


FAULTS = (
    Fault("decimal_comma", "volume_transferred", "31,5"),
    Fault("excel_error", "volume_transferred", "#REF!"),
    Fault("not_available", "volume_transferred", "N/A"),
    Fault("not_a_number", "volume_transferred", "NaN"),
    Fault("negative_volume", "volume_transferred", "-12.5"),
    Fault("unknown_status", "status_code", "MAINT"),
    Fault("missing_machine", "machine_id", None),
    Fault("impossible_date", "date", "2026-02-30 08:15:00"),
    Fault("future_date", "date", "2099-01-01 00:00:00"),
    Fault("unknown_machine", "machine_id", "MCH-999999", quarantined=False),
    Fault("untidy_status", "status_code", " ok  ", quarantined=False),
    # The id of a sound row with a changed volume: a load must keep the later of the two rows.
    Fault(RESENT, "volume_transferred", "42.42", quarantined=False),
)

# A decimal comma is not a fault in a file that uses decimal commas. In a workbook, whose other volumes are numbers and
# not text, it is a text with one reading.
FAULTS_OF_COMMA_FILES = tuple(fault for fault in FAULTS if fault.kind != "decimal_comma")
FAULTS_OF_WORKBOOKS = tuple(
    replace(fault, quarantined=False) if fault.kind == "decimal_comma" else fault for fault in FAULTS
)


def as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with every column as text, and numbers with a decimal point; empty cells stay null."""
    return rows.with_columns(pl.all().cast(pl.String))


def break_rows(
    rows: pl.DataFrame, share: float, *, seed: object, faults: tuple[Fault, ...] = FAULTS
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Replace a seeded share of the rows with faulty ones; the number and order of the rows do not change.

    Args:
        rows: The transactions, as from `Corridor.transactions` or as text.
        share: The share of rows to break, 0..1; the number of rows is rounded to the nearest.
        seed: The seed of the choice: the same seed and number of rows break the same rows in the same way.
        faults: The kinds, which take turns; each is used before any is used twice.

    Returns:
        The rows as text, and the oracle (`ORACLE_SCHEMA`) with one entry per broken row, ordered by `row`, the data
        row number from 1. `resent` replaces a row with a second version of the nearest sound row above it (below it at
        the top of the file), so the replaced row's own id is absent from the file.

    Raises:
        ConfigurationError: The share is not in 0..1, or there are no faults to choose from.
    """
    if not 0 <= share <= 1:
        raise ConfigurationError(f"a share of broken rows must be in 0..1, not {share}")
    plan = _plan(rows.height, share, seed, faults)
    marked = as_text(rows).with_row_index(_ROW, offset=1).cast({_ROW: pl.Int64}).join(plan, on=_ROW, how="left")
    broken = _apply(_resend(marked.sort(_ROW)), faults)
    return broken.select(rows.columns), _oracle(plan, faults)


def _plan(height: int, share: float, seed: object, faults: tuple[Fault, ...]) -> pl.DataFrame:
    """Return (row, fault kind) for each row to break, in row order."""
    count = math.floor(height * share + 0.5)
    if count == height:  # then no sound row is left to send again
        faults = tuple(fault for fault in faults if fault.kind != RESENT)
    if not faults:
        raise ConfigurationError("no kind of fault is left to break rows with")
    chosen = uniform((seed, "faults"), 0, height).arg_sort().head(count).cast(pl.Int64) + 1
    kinds = [faults[index % len(faults)].kind for index in range(count)]
    return pl.DataFrame({_ROW: chosen, _FAULT: kinds}, schema={_ROW: pl.Int64, _FAULT: pl.String}).sort(_ROW)


def _resend(marked: pl.DataFrame) -> pl.DataFrame:
    """Copy the content of a sound neighbour into the rows that stand for resent ones."""
    sound = pl.when(pl.col(_FAULT).is_null()).then(pl.col(_ROW) - 1)
    original = pl.when(pl.col(_FAULT) == RESENT).then(sound.forward_fill().backward_fill()).otherwise(pl.col(_ROW) - 1)
    marked = marked.with_columns(original.alias(_ORIGINAL))
    return marked.with_columns(pl.exclude(_ROW, _FAULT, _ORIGINAL).gather(pl.col(_ORIGINAL)))


def _apply(marked: pl.DataFrame, faults: tuple[Fault, ...]) -> pl.DataFrame:
    for fault in faults:
        hit = pl.col(_FAULT) == fault.kind
        text = pl.lit(fault.text, dtype=pl.String)
        marked = marked.with_columns(pl.when(hit).then(text).otherwise(pl.col(fault.column)).alias(fault.column))
    return marked


def _oracle(plan: pl.DataFrame, faults: tuple[Fault, ...]) -> pl.DataFrame:
    quarantined = {fault.kind: fault.quarantined for fault in faults}
    return plan.select(
        row=_ROW,
        kind=_FAULT,
        quarantined=pl.col(_FAULT).replace_strict(quarantined, return_dtype=pl.Boolean),
    )
