"""Extract: write a delivery as text columns to a spool file, and rows that cannot be cut into cells beside it."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from freight.ahead import ahead
from freight.catalog import Source
from freight.contracts import Contract
from freight.contracts.headers import HeaderMatch
from freight.errors import SourceError
from freight.frames import ROW_NUMBER
from freight.notation.evidence import SKIPPED_ROWS, Evidence, ReadAs, columns_of
from freight.pipeline.bounds import BadRows, Time
from freight.pipeline.contained import contained
from freight.pipeline.layout import lay_out
from freight.pipeline.remarks import Remarks
from freight.pipeline.reshape import read_unit
from freight.pipeline.second_header import SecondHeader
from freight.pipeline.unit_row import refuse_other_units
from freight.pipeline.units import PlannedUnit, RawSpool
from freight.readers import RawBatch, RawTable, name_members, reader_for
from freight.retry import patiently
from freight.spool import SpoolWriter
from freight.words import counted

NAME_CHARS = 80  # the part of a file name in a folder name; systems limit the whole to 255


def spool_folder(root: Path, planned: PlannedUnit) -> Path:
    """Return the folder of a unit's spool files; a run loads the same content of a source once."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(planned.unit.location).name)[-NAME_CHARS:]
    return root / planned.unit.run_id / f"{planned.source.name}-{name}-{planned.unit.fingerprint.content_id[:12]}"


def extract_unit(planned: PlannedUnit, folder: Path) -> RawSpool:
    """Read a file, or another kind of delivery, as text into the spool.

    Raises:
        SourceError: The delivery cannot be used, or its source remains unavailable.
        QuarantineLimitExceeded: So many of its records cannot be cut into cells that the rest was not read.
        TransientError: The spool cannot be written.
    """
    try:
        with contained(planned.source.reader, planned.unit.location):
            return patiently(lambda: _extract(planned, folder))
    except SourceError as error:
        name_members(error, planned.content.item, reader_for(planned.source.reader).suffixes)
        raise
    finally:
        planned.content.item.refuse_if_changed()  # a fault in a file that is still being written means nothing


def _extract(planned: PlannedUnit, folder: Path) -> RawSpool:
    contract, source = planned.source.contract, planned.source
    table, reshaped = read_unit(planned, folder)
    table, layout = lay_out(planned, table)
    raw = RawSpool(folder, table.header, layout.left_out, table.sheets, drift=layout.drift, reshaped=reshaped)
    seen, remarks, bad, witness = _Seen(), Remarks(table), BadRows(), _Witness(source, table, layout.match)
    with SpoolWriter(raw.rows_path) as rows, SpoolWriter(raw.faults_path) as faults:
        for batch in Time(planned).over(ahead(table.batches)):
            seen.note(batch)
            remarks.note(batch)
            named = layout.apply(batch)
            witness.look_at(named.rows, ReadAs(facts=remarks.facts(table.sheets)).place)
            witness.evidence.note(raw.with_rows_of_the_file(_whole(named.rows, contract)), witness.asked)
            rows.write(named.rows)
            faults.write(named.faults)
            bad.note(named.faults)
            if table.most_rows is not None and contract.drift != "quarantine":  # it may quarantine any number of rows
                bad.refuse_if_lost(planned, rows.rows + faults.rows, table.most_rows)
    if rows.rows + faults.rows == 0:
        raise _no_rows(seen.skipped)
    raw = replace(raw, rows=rows.rows, faults=faults.rows, skipped=seen.skipped, row_range=seen.row_range)
    facts = {**table.facts, **seen.facts, **remarks.facts(table.sheets)}
    return replace(raw, read_as=witness.evidence.read_as(facts), remarks=remarks.words)


def _whole(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return the rows with a value wherever they need one: a total or a signature proves nothing about the others."""
    needed = [column.name for column in contract.columns if column.required and column.name in rows.columns]
    is_whole = [pl.col(name).fill_null("") != "" for name in needed]
    return rows.filter(*is_whole) if needed else rows


def _no_rows(skipped: int) -> SourceError:
    if skipped:
        return SourceError(
            "header_only",
            f"skip_rows_where in the catalog leaves out all of its {counted(skipped, 'row')}",
            remedy="correct the patterns, so that they match only what is no data, then `dpa retry`",
        )
    return SourceError("header_only", "the file has a header and no rows", remedy="deliver the rows")


class _Witness:
    """What the rows of a table say about all of them: how they are written, and whether they are of one table.

    Attributes:
        evidence: The evidence of the notation.
        asked: The columns that give evidence.
    """

    def __init__(self, source: Source, table: RawTable, match: HeaderMatch) -> None:
        self._contract = source.contract
        self._headers = dict(zip(match.columns, match.header, strict=True))
        self._second_header = SecondHeader(self._headers, source.contract)
        self._is_at_start = True
        self.asked = columns_of(source.contract, self._headers)
        self.evidence = Evidence(
            source.forms,
            has_commas_between_cells=table.has_commas_between_cells,
            has_native_days=source.reader == "excel",
        )

    def look_at(self, rows: pl.DataFrame, place: Callable[[int], int | str]) -> None:
        """Refuse a row of other units at the start, and a second header anywhere."""
        if self._is_at_start:
            refuse_other_units(rows, self._headers, self._contract, place)
        self._is_at_start = self._is_at_start and rows.is_empty()
        self._second_header.look_for(rows, place)


class _Seen:
    """The rows of a table so far.

    Attributes:
        row_range: The first and the last row number; None before the first row.
        skipped: The number of rows that the catalog leaves out.
    """

    def __init__(self) -> None:
        self.row_range: tuple[int, int] | None = None
        self.skipped = 0

    @property
    def facts(self) -> dict[str, str]:
        """What the ledger keeps of them."""
        return {SKIPPED_ROWS: str(self.skipped)} if self.skipped else {}

    def note(self, batch: RawBatch) -> None:
        """Take in some rows."""
        self.skipped += batch.skipped
        for frame in (batch.rows, batch.faults):
            if not frame.is_empty():
                self._widen(frame[ROW_NUMBER])

    def _widen(self, numbers: pl.Series) -> None:
        first, last = int(numbers.min()), int(numbers.max())  # type: ignore[arg-type]
        low, high = self.row_range or (first, last)
        self.row_range = (min(low, first), max(high, last))
