"""Corrections: loads the rows that people have corrected in a quarantine workbook, each once, with their author.

A corrected row keeps its original place and origin, so a newer delivery still wins.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from freight.catalog import Catalog
from freight.contracts import Contract, contract_for
from freight.errors import SourceError
from freight.frames import each_bad_row
from freight.pipeline.archive import name_of_version
from freight.quarantine.book import AUTHOR, KEY, cells_of, key_of
from freight.quarantine.given_back import GivenBack, read_given_back
from freight.quarantine.replay import Returned, Returning, load_back, locale_of, text_frame, unit_of
from freight.readers import SourceFile
from freight.reports.cells import shown, visible
from freight.reports.faults import FAULTS, SHOWN_CHARS, broken_rules_of, with_value
from freight.types import BatchId, LoadCounts, RunId
from freight.warehouse.connect import Engine, reading
from freight.warehouse.quarantine import Correction, QuarantinedRow, file_of, rows_by_id
from freight.words import counted

SHOWN_PROBLEMS = 50
OF_AN_OPEN_ONE = ("~$", ".~lock")  # the files that Excel and LibreOffice write beside an open workbook
LONGEST_ID = 18  # the digits of a 64-bit number


@dataclass(frozen=True)
class ImportOutcome:
    """The result of the import of a workbook.

    Attributes:
        workbook: The name of the workbook.
        counts: The counts of the corrected rows that were loaded.
        untouched: The number of unchanged rows; they stay in quarantine.
        loaded_before: The number of rows that an earlier import or replay has loaded.
        problems: A line for each corrected row that stays in quarantine, with the reason.
    """

    workbook: str
    counts: LoadCounts
    untouched: int
    loaded_before: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        imported = f"{counted(self.counts.read, 'row')} imported, {len(self.problems)} still wrong"
        return f"{self.workbook}: {imported}, {self.untouched} untouched, {self.loaded_before} loaded before"


@dataclass(frozen=True)
class Import:
    """The author and the time of an import.

    Attributes:
        run_id: The id of the run.
        started_by: The person or program that started the run; also the author of the cells if no other is known.
        corrected_by: The author of the cells; None for whoever saved the workbook last.
        clock: The clock.
    """

    run_id: RunId
    started_by: str
    corrected_by: str | None
    clock: Callable[[], datetime]

    def author(self, given: GivenBack) -> str:
        """Return the author of a changed row."""
        saved_by = "" if given.author == AUTHOR else visible(given.author)
        return self.corrected_by or saved_by or self.started_by


def import_corrections(engine: Engine, catalog: Catalog, file: SourceFile, by: Import) -> ImportOutcome:
    """Load the rows of a workbook with a changed cell, as far as they keep the contract now.

    The rows of one delivery are one transaction. A row is loaded once, however often its workbook is returned; rows
    that are still wrong are reported, and can be corrected again.

    Args:
        engine: The engine of the warehouse.
        catalog: The catalog, for the time zones of the sources.
        file: The workbook.
        by: The author and the time of the import.

    Raises:
        SourceError: The workbook cannot be used; nothing was loaded.
        PositionFenced: Another import or replay has loaded some of the rows meanwhile.
    """
    workbook_hash = file.sha256()
    found = _sorted_out(engine, list(read_given_back(file, KEY)))
    known = {source.name: source for source in catalog.sources}
    counts, problems = LoadCounts(), found.problems
    for batch_id, corrected in found.by_batch.items():
        with reading(engine) as connection:
            delivery = file_of(connection, batch_id)
        locale, contract = locale_of(delivery, known), contract_for(delivery.dataset)
        if locale is None:
            problems += [f"{one.place}: the catalog no longer has the source {delivery.source!r}" for one in corrected]
            continue
        returning = Returning(
            locale,
            delivery,
            [one.row for one in corrected],
            _text_rows(corrected, contract),
            unit_of(delivery, by.run_id, "import"),
            [change for one in corrected for change in one.corrections(by, file.name, workbook_hash)],
        )
        returned = load_back(engine, returning, by.clock())
        counts += returned.counts
        problems += _problems(corrected, contract, returned)
    return ImportOutcome(file.name, counts, found.untouched, found.loaded_before, tuple(problems))


@dataclass(frozen=True)
class Dropped:
    """The results of several imports; a failure names a workbook that cannot be used."""

    outcomes: tuple[ImportOutcome, ...]
    failures: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        """The corrected rows that stay in quarantine, with their reasons."""
        return [f"{one.workbook} {problem}" for one in self.outcomes for problem in one.problems]

    def lines(self) -> list[str]:
        """Return the results in lines."""
        return [*self.failures, *map(str, self.outcomes), *self.problems[:SHOWN_PROBLEMS]]


def import_dropped(
    engine: Engine, catalog: Catalog, files: Sequence[SourceFile], by: Import, archive: str, folder: Path
) -> Dropped:
    """Import workbooks, and move those whose corrections are all loaded; the others can be corrected in place.

    Args:
        engine: The engine of the warehouse.
        catalog: The catalog, for the time zones of the sources.
        files: The workbooks, and any files that programs leave beside them.
        by: The author and the time of the import.
        archive: The folder, in the same place, for loaded workbooks.
        folder: The folder from which a relative archive counts.
    """
    outcomes, failures = list[ImportOutcome](), list[str]()
    for file in files:
        if file.name.startswith(OF_AN_OPEN_ONE):
            continue
        try:
            outcome = import_corrections(engine, catalog, file, by)
            outcomes.append(outcome)
            if not outcome.problems:
                file.move_to(archive, name_of_version(file, file.name), folder)
        except SourceError as error:
            failures.append(str(error.at(file.path)))
    return Dropped(tuple(outcomes), tuple(failures))


@dataclass(frozen=True)
class _Corrected:
    """A row that a person has changed.

    Attributes:
        given: The row in the workbook.
        row: The row in quarantine.
        texts: The text to load, by column.
        changes: The old and new text of the changed cells, by column.
    """

    given: GivenBack
    row: QuarantinedRow
    texts: Mapping[str, str | None]
    changes: Mapping[str, tuple[str, str]]

    @property
    def place(self) -> str:
        """The place of the row in the workbook."""
        return self.given.place

    def corrections(self, by: Import, workbook: str, workbook_hash: str) -> Iterator[Correction]:
        """Yield its corrections for the ledger."""
        for column, (old, new) in self.changes.items():
            yield Correction(
                quarantine_id=self.row.quarantine_id,
                row_number=self.row.row_number,
                column_name=column,
                old_value=old or None,
                new_value=new or None,
                corrected_by=by.author(self.given),
                workbook=workbook,
                workbook_hash=workbook_hash,
            )


@dataclass
class _SortedOut:
    """The rows of a workbook, sorted by their further treatment."""

    by_batch: dict[BatchId, list[_Corrected]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)
    untouched: int = 0
    loaded_before: int = 0


def _sorted_out(engine: Engine, given_back: Sequence[GivenBack]) -> _SortedOut:
    with reading(engine) as connection:
        stored = rows_by_id(connection, {_id_in(given.key) for given in given_back})
    found, places = _SortedOut(), defaultdict[str, list[str]](list)
    for given in given_back:
        places[given.key].append(given.place)
    for given in given_back:
        row = stored.get(_id_in(given.key))
        if row is None or key_of(row) != given.key:
            found.problems.append(
                f"{given.place}: the quarantine of this warehouse has no row {visible(given.key)[:SHOWN_CHARS]!r}: "
                "it was purged, the key was changed, or the workbook belongs to another warehouse"
            )
        elif row.replayed_batch_id is not None:
            found.loaded_before += 1
        elif others := [place for place in places[given.key] if place != given.place]:
            found.problems.append(f"{given.place}: the same row as {', '.join(others)}: keep one of them")
        else:
            _sort_out(found, given, row)
    return found


def _id_in(key: str) -> int:
    number = key.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) <= LONGEST_ID else 0


def _sort_out(found: _SortedOut, given: GivenBack, row: QuarantinedRow) -> None:
    contract = contract_for(row.dataset)
    _refuse_lost_columns(given, contract)
    delivered = cells_of(row, contract)
    changes = {
        name: (shown(delivered.get(name, "")), visible(given.texts[name]))
        for name in contract.column_names
        if _as_read(shown(delivered.get(name, ""))) != _as_read(given.texts[name])
    }
    faults = [f"{name}: {given.errors[name]}" for name in contract.column_names if name in given.errors]
    if faults:
        found.problems.append(f"{given.place}: {'; '.join(faults)}")
    elif not changes:
        found.untouched += 1
    else:
        texts = {name: given.texts[name] if name in changes else delivered.get(name) for name in contract.column_names}
        found.by_batch[row.batch_id].append(_Corrected(given, row, texts, changes))


def _as_read(text: str) -> str:
    """Return a text as a spreadsheet saves it."""
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _refuse_lost_columns(given: GivenBack, contract: Contract) -> None:
    lost = [name for name in contract.column_names if name not in given.texts]
    if lost:
        raise SourceError(
            "missing_column",
            f"the sheet {given.sheet!r} no longer has the column {lost[0]!r}",
            column=lost[0],
            remedy="return the workbook with all its original columns",
        )


def _text_rows(corrected: Sequence[_Corrected], contract: Contract) -> pl.DataFrame:
    return text_frame([one.row.row_number for one in corrected], [one.texts for one in corrected], contract)


def _problems(corrected: Sequence[_Corrected], contract: Contract, returned: Returned) -> Iterator[str]:
    """Yield the fault of each row that was not loaded."""
    bad = {row.row_number: row for row in each_bad_row(returned.bad_rows)}
    for one in corrected:
        if row := bad.get(one.row.row_number):
            wrong = [with_value(contract, rule, one.texts) for rule in broken_rules_of(row)]
            yield f"{one.place}: {'; '.join(wrong)}"
        elif one.row.row_number in returned.refused:
            reason = "conflicting_event" if contract.immutable else "refused_by_warehouse"
            yield f"{one.place}: {FAULTS[reason]}"
