"""Replay: load quarantined rows that keep the current contract, once, with their original origin."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

import polars as pl

from freight.catalog import Catalog, Source
from freight.contracts import Contract, contract_for
from freight.contracts.headers import match_header
from freight.errors import ConfigurationError, RowsRefused, SourceError
from freight.frames import NATIVE, ROW_NUMBER
from freight.streaming.messages import decode
from freight.transforms import derive
from freight.transforms.versions import kept_versions, with_content_hash
from freight.types import DRIFTED, Cause, Fingerprint, LoadCounts, RunId, native_numbers, origin_us_of
from freight.validation import Locale, split
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import LoadUnit
from freight.warehouse.load import UnitContent, load_replay, refused_row_numbers
from freight.warehouse.quarantine import (
    Correction,
    QuarantinedFile,
    QuarantinedRow,
    has_loaded,
    waiting_files,
    waiting_rows,
)
from freight.words import counted

SLICE_ROWS = 50_000


@dataclass(frozen=True)
class ReplayOutcome:
    """The result for the quarantined rows of one file; `waiting` rows still break the contract."""

    source: str
    location: str
    counts: LoadCounts
    waiting: int

    def __str__(self) -> str:
        replayed = f"{counted(self.counts.read, 'row')} replayed, {self.waiting} still in quarantine"
        return f"{self.source} {self.location}: {replayed}"


def replay(
    engine: Engine, catalog: Catalog, *, run_id: RunId, source: str | None, clock: Callable[[], datetime]
) -> list[ReplayOutcome]:
    """Try the quarantined rows of a source, or of all, against the contracts of this release.

    Up to `SLICE_ROWS` rows of a file are one transaction. Rows that still fail stay in quarantine, as do records that
    could not be split into cells; a second replay changes nothing.

    Raises:
        ConfigurationError: The source is unknown.
    """
    known = {entry.name: entry for entry in catalog.sources}
    with reading(engine) as connection:
        files = waiting_files(connection, source)
        is_known = source is None or source in known or has_loaded(connection, source)
    if not is_known:
        raise ConfigurationError(f"nothing was loaded from {source!r}, and the catalog has only {', '.join(known)}")
    found = [(file, locale_of(file, known)) for file in files]
    return [_replay_file(engine, locale, file, run_id, clock()) for file, locale in found if locale]


def locale_of(file: QuarantinedFile, known: Mapping[str, Source]) -> Locale | None:
    """Return how the rows of a file write numbers and times; None if its source has left the catalog.

    Args:
        file: The file, or the batch of a stream.
        known: The sources of the catalog by name.
    """
    notation = file.was_read_as.notation
    if file.is_stream:
        return Locale(notation)
    entry = known.get(file.source)
    return entry.locale(notation) if entry else None


def _replay_file(engine: Engine, locale: Locale, file: QuarantinedFile, run_id: RunId, now: datetime) -> ReplayOutcome:
    counts, seen, contract = LoadCounts(), 0, contract_for(file.dataset)
    for rows in _slices(engine, file):
        text = _decoded(rows, contract) if file.is_stream else _text_rows(rows, contract)
        returning = Returning(locale, file, rows, text, unit_of(file, run_id, "replay"))
        counts += load_back(engine, returning, now).counts
        seen += len(rows)
    return ReplayOutcome(file.source, file.location, counts, seen - counts.read)


def _slices(engine: Engine, file: QuarantinedFile) -> Iterator[list[QuarantinedRow]]:
    """Yield the waiting rows of a file, as many at a time as fit into memory."""
    last_id = 0
    while True:
        with reading(engine) as connection:
            rows = waiting_rows(connection, file.batch_id, last_id, SLICE_ROWS)
        if not rows:
            return
        yield rows
        last_id = rows[-1].quarantine_id


@dataclass(frozen=True)
class Returning:
    """Rows of one file on their way back from quarantine.

    Attributes:
        locale: The way in which they write numbers and times.
        file: The file of the rows.
        rows: The rows as they were delivered.
        text: `row_number` and columns of the contract, as they are to be loaded.
        unit: The unit that loads them.
        corrections: The cells that a person has changed.
    """

    locale: Locale
    file: QuarantinedFile
    rows: Sequence[QuarantinedRow]
    text: pl.DataFrame
    unit: LoadUnit
    corrections: Sequence[Correction] = ()

    def without(self, row_numbers: set[int]) -> "Returning":
        """Return the remaining rows."""
        left = [row for row in self.rows if row.row_number not in row_numbers]
        text = self.text.filter(~pl.col(ROW_NUMBER).is_in(row_numbers))
        return replace(self, rows=left, text=text)


@dataclass(frozen=True)
class Returned:
    """The result of a load from quarantine.

    Attributes:
        counts: The counts of the loaded rows.
        bad_rows: The rows that break the contract, as `BAD_ROWS_SCHEMA`.
        refused: The numbers of the rows that the warehouse refuses.
    """

    counts: LoadCounts
    bad_rows: pl.DataFrame
    refused: frozenset[int] = frozenset()


def load_back(engine: Engine, returning: Returning, now: datetime) -> Returned:
    """Load rows that now keep the contract, in one transaction; the others stay in quarantine.

    Raises:
        PositionFenced: Another load has taken one of them; nothing was written.
    """
    file, contract = returning.file, returning.unit.contract
    halves = split(returning.text, contract, returning.locale, now)
    valid, bad_rows = halves.valid, halves.quarantined
    if valid.is_empty():
        return Returned(LoadCounts(), bad_rows)
    passed = set(valid[ROW_NUMBER])
    versions = with_content_hash(derive(_with_origin(valid, returning.rows, file), contract), contract)
    kept = kept_versions(versions, contract, ROW_NUMBER)
    content = UnitContent(
        frames=lambda: [kept],
        rows=kept.height,
        quarantined=lambda: [],
        read=valid.height,
        superseded=valid.height - kept.height,
        row_range=(min(passed), max(passed)),
        read_as=file.was_read_as,
    )
    ids = {row.row_number: row.quarantine_id for row in returning.rows if row.row_number in passed}
    unit = returning.unit
    try:
        counts, conflicts = load_replay(engine, unit, content, ids, now, file.batch_id, returning.corrections)
        return Returned(counts, bad_rows, frozenset(conflicts))
    except RowsRefused:
        refused = refused_row_numbers(engine, unit, content)
        if not refused:
            raise
    others = load_back(engine, returning.without(refused), now)
    return replace(others, refused=others.refused | refused)


def _with_origin(valid: pl.DataFrame, rows: Iterable[QuarantinedRow], file: QuarantinedFile) -> pl.DataFrame:
    """Add the original origin to rows."""
    of_file = origin_us_of(file.as_of)
    origins = {row.row_number: of_file if row.origin_us is None else row.origin_us for row in rows}
    return valid.with_columns(origin_us=pl.col(ROW_NUMBER).replace_strict(origins, return_dtype=pl.Int64))


def _decoded(rows: Sequence[QuarantinedRow], contract: Contract) -> pl.DataFrame:
    """Return the messages that are readable now, as text."""
    # An empty message and a tombstone are stored alike; neither can ever be read.
    decoded = decode(pl.Series([row.raw for row in rows], dtype=pl.Binary), contract).rows
    offsets = {number: row.row_number for number, row in enumerate(rows)}
    return decoded.with_columns(pl.col(ROW_NUMBER).replace_strict(offsets, return_dtype=pl.Int64))


def unit_of(file: QuarantinedFile, run_id: RunId, cause: Cause) -> LoadUnit:
    """Return the unit that loads rows of a file after all, with the location and the origin that they always had."""
    return LoadUnit(
        run_id=run_id,
        source=file.source,
        dataset=file.dataset,
        location=file.location,
        fingerprint=Fingerprint(file.content_id, file.size_bytes),
        as_of=file.as_of,
        contract_version=contract_for(file.dataset).version,
        simulated=file.simulated,
        cause=cause,
    )


def _text_rows(rows: Iterable[QuarantinedRow], contract: Contract) -> pl.DataFrame:
    """Return the rows whose raw bytes are a JSON object of contract columns, as text."""
    wanted = contract.column_names
    records = [(row.row_number, _record(row, contract)) for row in rows]
    known = [(number, record) for number, record in records if record.keys() & set(wanted)]
    return text_frame([number for number, _ in known], [record for _, record in known], contract)


def text_frame(numbers: Sequence[int], records: Sequence[Mapping[str, str | None]], contract: Contract) -> pl.DataFrame:
    """Return rows as validation takes them: `row_number`, the columns of the contract, and `native_numbers`.

    Args:
        numbers: The row numbers.
        records: The texts of the rows by column; a `Number` is a number in its source.
        contract: The contract of the rows.
    """
    names = contract.column_names
    rows = [[record.get(name) for name in names] for record in records]
    signed = [(number, *row, native_numbers(tuple(map(type, row)))) for number, row in zip(numbers, rows, strict=True)]
    schema = {ROW_NUMBER: pl.Int64, **dict.fromkeys(names, pl.String), NATIVE: pl.String}
    return pl.DataFrame(signed, schema=schema, orient="row")


def _record(row: QuarantinedRow, contract: Contract) -> dict[str, str]:
    record = row.record
    if row.reason == DRIFTED:
        record = dict(zip(_columns(tuple(record), contract), record.values(), strict=False))
    if any(isinstance(value, list | dict) for value in record.values()):
        return {}  # no text stands for it, and leaving it out would make an empty cell of it
    texts = {key: str(value).lower() if isinstance(value, bool) else value for key, value in record.items()}
    return {key: text for key, text in texts.items() if isinstance(text, str)}


@lru_cache
def _columns(header: tuple[str, ...], contract: Contract) -> tuple[str, ...]:
    """Return the columns of a drifted header; none as long as the contract does not accept it."""
    try:
        match = match_header(header, contract)
    except SourceError:  # two of its cells now mean the same column
        return ()
    return match.columns if match.is_taken else ()
