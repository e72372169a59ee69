"""Load: write a transformed file to the warehouse in one transaction, or record its failure."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from freight.contracts import contract_for
from freight.contracts.headers import listed
from freight.drift import written
from freight.errors import PositionFenced, QuarantineLimitExceeded, SourceError, TransientError
from freight.frames import each_bad_row, row_in_file, with_place_in_detail
from freight.pipeline.drifted import drift_of, is_set_aside
from freight.pipeline.run import Run
from freight.pipeline.units import ConformedSpool, PlannedUnit, UnitOutcome, UnitState
from freight.reports.faults import faults_of, reasons_in_words, remedy_of
from freight.spool import read_spool
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.ledger import LoadUnit
from freight.warehouse.load import UnitContent, load_unit
from freight.words import counted

log = logging.getLogger("freight")

LOGGED_BAD_ROWS = 20


def load_conformed(run: Run, planned: PlannedUnit, spool: ConformedSpool) -> UnitOutcome:
    """Load a transformed file in one transaction.

    Raises:
        QuarantineLimitExceeded: There are too many bad rows; nothing was loaded.
        TransientError: The load is worth a retry.
    """
    unit = planned.unit
    try:
        outcome = _loaded(run, planned, spool, keep=True)
    except PositionFenced:
        return _outcome_of_the_other(run.engine, planned)
    content_id = unit.fingerprint.content_id
    log.info("loaded %s %s (sha256 %s): %s", unit.source, unit.location, content_id, outcome.counts)
    if outcome.drift:
        log.warning("drift %s %s: %s", unit.source, unit.location, outcome.drift)
    _log_bad_rows(unit, spool)
    return outcome


def try_conformed(run: Run, planned: PlannedUnit, spool: ConformedSpool) -> UnitOutcome:
    """Return how `load_conformed` would end, without changing the warehouse.

    Raises:
        QuarantineLimitExceeded: There are too many bad rows.
        TransientError: The check is worth a retry, for instance because another run has loaded the file meanwhile.
    """
    try:
        return _loaded(run, planned, spool, keep=False)
    except PositionFenced as error:
        raise TransientError(f"{planned.unit.location}: another run has loaded it in the meantime") from error


def _loaded(run: Run, planned: PlannedUnit, spool: ConformedSpool, *, keep: bool) -> UnitOutcome:
    drift = drift_of(run.engine, planned, spool)
    _refuse_above_limit(planned, spool, drift)
    unit = planned.unit if spool.profile is None else replace(planned.unit, profile=written(spool.profile))
    counts = load_unit(run.engine, unit, _content(spool), planned.expected, run.clock(), keep=keep)
    return UnitOutcome(
        unit.source,
        unit.location,
        "loaded",
        counts,
        "; ".join(_remarks(planned, spool)),
        reason_counts=spool.reason_counts,
        drift="; ".join(drift),
        as_of=unit.as_of,
    )


def _remarks(planned: PlannedUnit, spool: ConformedSpool) -> Iterator[str]:
    if planned.content.remark:
        yield planned.content.remark
    if planned.source.options.get("skip_rows_where"):
        skipped = counted(spool.raw.skipped, "row") if spool.raw.skipped else "no row, since none matches"
        yield f"skip_rows_where leaves out {skipped}"
    if spool.raw.left_out:
        yield f"columns left out, unknown to the contract: {listed(spool.raw.left_out)}"
    if spool.normalised:
        yield f"{counted(spool.normalised, 'text')} got plain spaces and whole accents"
    yield from spool.raw.remarks
    if (reshaped := spool.raw.reshaped) and (reshaped.dropped or reshaped.added):
        yield f"reshaped by {reshaped}"


def _content(spool: ConformedSpool) -> UnitContent:
    return UnitContent(
        frames=lambda: read_spool(spool.conformed_path),
        rows=spool.rows,
        quarantined=spool.bad_rows,
        read=spool.read,
        superseded=spool.superseded,
        row_range=spool.raw.row_range,
        read_as=spool.raw.read_as,
        reshaped=spool.raw.reshaped,
    )


def _log_bad_rows(unit: LoadUnit, spool: ConformedSpool) -> None:
    """Log the first bad rows without values; those stay in the warehouse, with its access rights and retention."""
    first, contract = spool.first_bad_rows.head(LOGGED_BAD_ROWS), contract_for(unit.dataset)
    for row, bad in zip(first.iter_rows(named=True), each_bad_row(first), strict=True):
        told = faults_of(bad, contract, None)
        log.warning("quarantined %s row %s: %s [%s]", unit.location, row_in_file(row), told, bad.reason)
    if spool.quarantined > LOGGED_BAD_ROWS:
        log.warning("quarantined %s: %d rows in all, %s", unit.location, spool.quarantined, dict(spool.reason_counts))


def _refuse_above_limit(planned: PlannedUnit, spool: ConformedSpool, drift: Sequence[str]) -> None:
    limit = planned.source.quarantine_limit
    if spool.quarantined <= limit * spool.read or is_set_aside(planned, spool):
        return
    breaks = "breaks" if spool.quarantined == 1 else "break"
    of_all = f"{spool.quarantined} of {counted(spool.read, 'row')} {breaks} the contract"
    told = reasons_in_words(planned.source.contract, spool.reason_counts, spool.first_bad_rows)
    raise QuarantineLimitExceeded(
        "; ".join([f"{of_all}, the limit is {limit:.0%}: {told}", *drift]),
        location=planned.unit.location,
        read_rows=spool.read,
        reason_counts=spool.reason_counts,
        first_bad_rows=spool.first_bad_rows,
        remedy=remedy_of(planned.source.contract, spool.reason_counts, spool.first_bad_rows),
    )


def _outcome_of_the_other(engine: Engine, planned: PlannedUnit) -> UnitOutcome:
    """Return how a unit ended after its position moved: by our own commit that seemed lost, or by another run."""
    unit = planned.unit
    with reading(engine) as connection:
        position = ledger.position_of(connection, unit.source, unit.location)
        if position is None or position.fingerprint.content_id != unit.fingerprint.content_id:
            message = f"another run has loaded other content from {unit.location}; the next run checks again"
            return UnitOutcome(unit.source, unit.location, "waiting", message=message)  # not archived: it is not loaded
        run_id, counts = ledger.counts_of(connection, position.batch_id)
    if run_id == unit.run_id:
        return UnitOutcome(unit.source, unit.location, "loaded", counts)
    return UnitOutcome(unit.source, unit.location, "unchanged", message=f"loaded in the meantime by run {run_id}")


def fail_unit(run: Run, unit: LoadUnit, error: SourceError) -> UnitOutcome:
    """Record why a unit was not loaded; a file that is still being written only waits."""
    outcome = ended_by(unit, error)
    if outcome.state == "waiting":
        log.info("left for the next run: %s", error)
        return outcome
    refused = error if isinstance(error, QuarantineLimitExceeded) else None
    with transaction(run.engine) as connection:
        ledger.record_attempt(
            connection,
            unit,
            fault=error.fault,
            message=str(error),
            now=run.clock(),
            read_rows=refused.read_rows if refused else 0,
            reason_counts=outcome.reason_counts,
            first_bad_rows=with_place_in_detail(refused.first_bad_rows) if refused else None,
        )
    log.error("failed %s %s", unit.source, error)
    return outcome


def ended_by(unit: LoadUnit, error: SourceError) -> UnitOutcome:
    """Return how a unit ends after an error: failed, or waiting if it is still being written."""
    state: UnitState = "waiting" if error.fault == "changed_while_reading" else "failed"
    reasons = error.reason_counts if isinstance(error, QuarantineLimitExceeded) else {}
    return UnitOutcome(unit.source, unit.location, state, message=str(error), reason_counts=reasons)
