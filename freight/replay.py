"""Replay: load quarantined rows that pass the contract by now, once, with the origin they always had."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import orjson
import polars as pl

from freight.catalog import Catalog, Source
from freight.errors import ConfigurationError
from freight.frames import ROW_NUMBER
from freight.transforms import derive
from freight.transforms.versions import with_content_hash
from freight.types import LoadCounts, RunId
from freight.validation import Locale, split
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import LoadUnit
from freight.warehouse.load import UnitContent, load_replay
from freight.warehouse.quarantine import QuarantinedFile, QuarantinedRow, waiting_files, waiting_rows

SLICE_ROWS = 50_000


@dataclass(frozen=True)
class ReplayOutcome:
    """What became of the quarantined rows of one file; `waiting` rows still break the contract."""

    source: str
    location: str
    counts: LoadCounts
    waiting: int


def replay(
    engine: Engine, catalog: Catalog, *, run_id: RunId, source: str | None, clock: Callable[[], datetime]
) -> list[ReplayOutcome]:
    """Try the quarantined rows of a source, or of all, against the contracts of this release.

    Up to `SLICE_ROWS` rows of a file are one transaction. Rows that still fail stay in quarantine, as do records that
    could not be cut into cells; doing it again changes nothing.

    Raises:
        ConfigurationError: the catalog has no such source.
    """
    known = {entry.name: entry for entry in catalog.sources}
    if source and source not in known:
        raise ConfigurationError(f"the catalog has no source {source!r}: it has {', '.join(known)}")
    with reading(engine) as connection:
        files = [file for file in waiting_files(connection, source) if file.source in known]
    return [_replay_file(engine, known[file.source], file, run_id, clock()) for file in files]


def _replay_file(engine: Engine, source: Source, file: QuarantinedFile, run_id: RunId, now: datetime) -> ReplayOutcome:
    counts, seen = LoadCounts(), 0
    for rows in _slices(engine, file):
        counts += _replay_rows(engine, source, file, rows, run_id, now)
        seen += len(rows)
    return ReplayOutcome(file.source, file.location, counts, seen - counts.read)


def _slices(engine: Engine, file: QuarantinedFile) -> Iterator[list[QuarantinedRow]]:
    """Give the waiting rows of a file, as many at a time as fit into memory."""
    last_id = 0
    while True:
        with reading(engine) as connection:
            rows = waiting_rows(connection, file.batch_id, last_id, SLICE_ROWS)
        if not rows:
            return
        yield rows
        last_id = rows[-1].quarantine_id


def _replay_rows(
    engine: Engine, source: Source, file: QuarantinedFile, rows: list[QuarantinedRow], run_id: RunId, now: datetime
) -> LoadCounts:
    contract = source.contract
    locale = Locale("," if file.decimal_mark == "," else ".", source.time_zone)
    valid = split(_text_rows(rows, contract.column_names), contract, locale, now).valid
    if valid.is_empty():
        return LoadCounts()
    passed = set(valid[ROW_NUMBER])
    newest = valid.filter(pl.col(ROW_NUMBER) == pl.col(ROW_NUMBER).max().over(contract.business_key))
    conformed = with_content_hash(derive(newest, contract), contract)
    content = UnitContent(
        frames=lambda: [conformed],
        rows=conformed.height,
        quarantined=lambda: [],
        read=valid.height,
        superseded=valid.height - newest.height,
        row_range=(min(passed), max(passed)),
        decimal_mark=file.decimal_mark,
    )
    ids = [row.quarantine_id for row in rows if row.row_number in passed]
    return load_replay(engine, _unit(file, contract.version, run_id), contract, content, ids, now)


def _unit(file: QuarantinedFile, contract_version: int, run_id: RunId) -> LoadUnit:
    return LoadUnit(
        run_id=run_id,
        source=file.source,
        dataset=file.dataset,
        location=file.location,
        file_hash=file.file_hash,
        size_bytes=file.size_bytes,
        modified_us=0,
        as_of=file.as_of,
        contract_version=contract_version,
        simulated=file.simulated,
        cause="replay",
    )


def _text_rows(rows: Iterable[QuarantinedRow], names: Iterable[str]) -> pl.DataFrame:
    """Return the rows whose raw bytes are a JSON object of contract columns, as text."""
    wanted = list(names)
    records = [(row.row_number, _record(row.raw)) for row in rows]
    known = [(number, record) for number, record in records if record.keys() & set(wanted)]
    cells = {name: [record.get(name) for _, record in known] for name in wanted}
    schema = {ROW_NUMBER: pl.Int64, **dict.fromkeys(wanted, pl.String)}
    return pl.DataFrame({ROW_NUMBER: [number for number, _ in known], **cells}, schema=schema)


def _record(raw: bytes) -> dict[str, str]:
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(record, dict):
        return {}
    return {key: value for key, value in record.items() if isinstance(value, str)}
