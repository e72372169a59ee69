"""Plan: find the deliveries of a source, and separate those to load from those already done."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from zoneinfo import ZoneInfo

from freight.catalog import Source
from freight.drift import read_profile
from freight.errors import SourceError
from freight.pipeline.contained import contained
from freight.pipeline.gone import gone_files, unseen_unit
from freight.pipeline.load import fail_unit
from freight.pipeline.run import Run
from freight.pipeline.units import PlannedUnit, Reshaping, SourcePlan, UnitOutcome
from freight.readers import Connections, Delivery, NewContent, Place, read_function, reader_for
from freight.retry import patiently
from freight.types import Position, RunId, instant_of
from freight.warehouse import ledger
from freight.warehouse.connect import Engine, reading
from freight.warehouse.ledger import LoadUnit
from freight.warehouse.lookups import read_lookups

log = logging.getLogger("freight")


def plan_source(
    run: Run, source: Source, fail: Callable[[Run, LoadUnit, SourceError], UnitOutcome] = fail_unit
) -> SourcePlan:
    """Find the deliveries of a source, and separate those to load from those already done.

    Args:
        run: The run that loads the source.
        source: The source to plan.
        fail: Returns the outcome of a unit that cannot be inspected.
    """
    now = run.clock()
    place = _place_of(source, run.connections, now, run.spool / run.run_id / f"{source.name}-fetched")
    try:
        reshaping = reshaping_of(source, run.engine)
        with contained(source.reader, source.location):  # folders may be nested a thousand deep
            deliveries = reader_for(source.reader).find(place, source.options)
    except SourceError as error:
        return SourcePlan([], [UnitOutcome(source.name, error.location, "failed", message=str(error))])
    plan = SourcePlan([], [], [delivery.stored for delivery in deliveries if delivery.stored])
    last_header = cache(partial(_last_header, run.engine, source))
    for delivery in deliveries:
        try:
            planned = _plan_delivery(run, source, delivery, last_header, reshaping)
        except SourceError as error:
            planned = fail(run, unseen_unit(source, delivery.path, run.run_id, now), error.at(delivery.path))
        (plan.units if isinstance(planned, PlannedUnit) else plan.ended).append(planned)  # type: ignore[arg-type]
    plan.ended.extend(gone_files(run, source, [delivery.path for delivery in deliveries], fail))
    return _unless_too_old(source, plan, now)


def _unless_too_old(source: Source, plan: SourcePlan, now: datetime) -> SourcePlan:
    """Return the plan, or a failed one if its newest delivery is too old."""
    instants = [unit.unit.as_of for unit in plan.units] + [o.as_of for o in plan.ended if o.as_of]
    if source.max_age_h is None or not instants or now - max(instants) <= timedelta(hours=source.max_age_h):
        return plan
    message = (
        f"{source.location}: its newest delivery stands for {max(instants):%Y-%m-%d %H:%M} UTC, more than "
        f"{source.max_age_h:g} h ago [too_old]. Remedy: deliver a newer one, or raise max_age_h"
    )
    return SourcePlan([], [UnitOutcome(source.name, source.location, "failed", message=message)])


def first_unit(
    source: Source, now: datetime, connections: Connections, scratch: Path, engine: Engine | None = None
) -> PlannedUnit:
    """Return the first unit of a source, as if nothing had been loaded from it.

    Args:
        source: The source to look at.
        now: The instant of the run.
        connections: Opens the places that the source names.
        scratch: The folder for data that has to be kept until it is read.
        engine: The engine of the warehouse, for the lookups of a function.

    Raises:
        SourceError: The source has no delivery, or cannot be inspected.
    """
    place, reshaping = _place_of(source, connections, now, scratch), reshaping_of(source, engine)
    found = _first_content(reader_for(source.reader).find(place, source.options))
    if found is None:
        raise SourceError("missing", "nothing has been delivered", location=source.location, remedy="deliver it first")
    delivery, content = found
    unit = _unit(source, delivery, content, RunId("preview"), None, reshaping)
    return PlannedUnit(source, content, unit, None, reshaping=reshaping)


def _first_content(deliveries: Sequence[Delivery]) -> tuple[Delivery, NewContent] | None:
    """Return the first delivery with content, without those that are still being written unless all are.

    Raises:
        SourceError: It cannot be inspected.
    """
    for left, delivery in zip(range(len(deliveries))[::-1], deliveries, strict=True):
        try:
            if content := patiently(partial(delivery.changed_since, None)):
                return delivery, content
        except SourceError as error:
            if error.fault != "changed_while_reading" or not left:
                raise
    return None


def _place_of(source: Source, connections: Connections, now: datetime, scratch: Path) -> Place:
    return Place(
        location=source.of_all_days,
        folder=source.folder,
        contract=source.contract,
        time_zone=source.time_zone,
        connections=connections,
        now=now,
        scratch=scratch,
        connection=source.connection,
        drop=source.drop,
        settle_s=source.settle_s,
        may_be_none=source.archive is not None,
        file_names=source.file_names,
    )


def _plan_delivery(
    run: Run,
    source: Source,
    delivery: Delivery,
    last_header: Callable[[], tuple[str, ...]],
    reshaping: Reshaping | None,
) -> PlannedUnit | UnitOutcome:
    with reading(run.engine) as connection:
        position = ledger.position_of(connection, source.name, delivery.path)
    is_known = position is not None and is_read_alike(position, source, reshaping)
    with contained(source.reader, delivery.path):
        content = patiently(lambda: delivery.changed_since(position if is_known else None))
    if content is None:
        as_of = instant_of(position.origin_us) if position else None
        return UnitOutcome(source.name, delivery.path, "unchanged", message="loaded before", as_of=as_of)
    unit = _unit(source, delivery, content, run.run_id, position, reshaping)
    with reading(run.engine) as connection:
        if before := ledger.parked(connection, unit):
            since = f"{before.since.astimezone(ZoneInfo(source.time_zone)):%Y-%m-%d %H:%M}"
            message = (
                f"{before.message}. Parked since {since} in {source.time_zone}: the same content is tried again after "
                "`dpa retry`"
            )
            return UnitOutcome(source.name, delivery.path, "parked", message=message)
    if content.remark:
        log.warning("%s %s: %s", source.name, delivery.path, content.remark)
    return PlannedUnit(source, content, unit, position, last_header(), reshaping)


def is_read_alike(position: Position, source: Source, reshaping: Reshaping | None) -> bool:
    """Whether content was loaded under the contract and the function that its source has now."""
    version = reshaping.function.version if reshaping else None
    return (position.contract_version, position.function_version) == (source.contract.version, version)


def reshaping_of(source: Source, engine: Engine | None) -> Reshaping | None:
    """Return how the rows of a source are reshaped; None if it has no function.

    Args:
        source: The source.
        engine: The engine of the warehouse with the lookups; None if nothing can be looked up.

    Raises:
        SourceError: The function is not there.
    """
    if source.transform is None:
        return None
    function = read_function(source.transform, source.lookups, source.folder)
    return Reshaping(function, partial(read_lookups, engine, source.lookups))


def _last_header(engine: Engine, source: Source) -> tuple[str, ...]:
    with reading(engine) as connection:
        profiles = ledger.profiles_of(connection, source.name, source.contract.version, from_rows=1, limit=1)
    return read_profile(profiles[0]).header if profiles else ()


def _unit(
    source: Source,
    delivery: Delivery,
    content: NewContent,
    run_id: RunId,
    position: Position | None,
    reshaping: Reshaping | None,
) -> LoadUnit:
    version = reshaping.function.version if reshaping else None
    unseen = unseen_unit(source, delivery.path, run_id, _as_of(content, position, version))
    return replace(unseen, fingerprint=content.fingerprint, function_version=version)


def _as_of(content: NewContent, position: Position | None, function_version: str | None) -> datetime:
    """Return the instant that content stands for.

    A later delivery at the same location corrects the earlier one, so it has to count as newer even if both name the
    same day; so do the rows that another version of a function makes of the same content.
    """
    if position is None:
        return content.speaks_for
    before = instant_of(position.origin_us)
    known = (position.fingerprint.content_id, position.function_version)
    if known == (content.fingerprint.content_id, function_version):
        return before
    return max(content.speaks_for, before + timedelta(microseconds=1))
