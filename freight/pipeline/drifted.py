"""Report or refuse the drift of a transformed unit, by the policies of its contract and of its source."""

from freight.contracts.rules import OPTIONS
from freight.drift import FROM_ROWS, LATELY_UNITS, expectation, jumps, read_profile
from freight.errors import QuarantineLimitExceeded, SourceError
from freight.pipeline.units import ConformedSpool, PlannedUnit
from freight.reports.faults import reasons_in_words
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, reading


def drift_of(engine: Engine, planned: PlannedUnit, spool: ConformedSpool) -> list[str]:
    """Describe how a unit differs from its contract, or from the recent loads of its source.

    Raises:
        QuarantineLimitExceeded: A column has another type, and the contract does not quarantine such rows.
        SourceError: The columns differ strongly from recent loads, and the source refuses that.
    """
    return [*filter(None, [spool.raw.drift]), *_retyped(planned, spool), *_jumps(engine, planned, spool)]


def is_set_aside(planned: PlannedUnit, spool: ConformedSpool) -> bool:
    """Whether the contract's drift policy quarantines the rows of a unit, so that the limit does not apply."""
    return planned.source.contract.drift == "quarantine" and bool(spool.raw.drift or spool.retyped)


def _retyped(planned: PlannedUnit, spool: ConformedSpool) -> list[str]:
    if not spool.retyped:
        return []
    contract = planned.source.contract
    column = next(column for column in contract.columns if column.name == spool.retyped)
    message = f"almost no value of {column.name!r} is {expectation(column)}"
    if contract.drift == "quarantine":
        return [message]
    told = reasons_in_words(contract, spool.reason_counts, spool.first_bad_rows)
    raise QuarantineLimitExceeded(
        f"{message}: {told}",
        fault="retyped_column",
        column=column.name,
        location=planned.unit.location,
        read_rows=spool.read,
        reason_counts=spool.reason_counts,
        first_bad_rows=spool.first_bad_rows,
        remedy="have the source corrected: `dpa history` shows the first bad rows; or, if the change is permanent, "
        f"state in the options of the source how it is written ({OPTIONS[column.dtype]}), or change "
        f"freight/contracts/{contract.dataset}.py; then `dpa retry`",
    )


def _jumps(engine: Engine, planned: PlannedUnit, spool: ConformedSpool) -> list[str]:
    if spool.profile is None or spool.profile.rows < FROM_ROWS:
        return []
    unit, source = planned.unit, planned.source
    with reading(engine) as connection:
        lately = ledger.profiles_of(connection, source.name, unit.contract_version, FROM_ROWS, LATELY_UNITS)
        found = jumps(spool.profile, [read_profile(text) for text in lately])
        is_accepted = bool(found) and ledger.is_accepted(connection, unit, "distribution_jump")
    if found and source.on_jump == "refuse" and not is_accepted:
        raise SourceError(
            "distribution_jump",
            "; ".join(found),
            location=unit.location,
            remedy="ask the owner of the source; if the values are right, `dpa retry` loads them, "
            "else have them corrected",
        )
    return found
