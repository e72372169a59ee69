"""Machine history: the site and installation year of each machine over time.

`dim_machines` is a function of all observations (every version that any snapshot stated) and of the stations. A load
rebuilds it for the machines that it touches, so the order in which snapshots arrive does not matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import batched, groupby, pairwise
from typing import Any

import polars as pl
import sqlalchemy as sa

from freight.contracts.headers import fold
from freight.types import BatchId, instant_of
from freight.warehouse.bulk import insert_missing
from freight.warehouse.connect import is_postgresql
from freight.warehouse.schema import (
    batches,
    dim_machines,
    file_positions,
    history_changes,
    machine_observations,
    metadata,
    station_aliases,
)
from freight.warehouse.upsert import UpsertCounts

# A machine's first version is valid from the beginning of time: freight moved before its first snapshot has a site too.
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
NO_SITE = "UNKNOWN"
IDS_PER_STATEMENT = 1_000
MINUTE_US = 60_000_000  # an origin tells the time to the minute; what is below it orders the deliveries of that minute


@dataclass(frozen=True, order=True)
class Observation:
    """One snapshot's statement about one machine; ordered by version within a machine."""

    machine_id: str
    origin_us: int
    origin_seq: int
    content_hash: int
    batch_id: int
    site_location: str | None
    installation_year: int | None
    machine_type: str | None


@dataclass(frozen=True)
class MachineVersion:
    """A span of time in which a machine did not change; origin columns are those of its newest observation.

    Whether it is absent follows from the positions, see `_flag_absent`, and is no part of the comparison.
    """

    machine_id: str
    valid_from: datetime
    valid_to: datetime | None
    is_current: bool
    is_absent: bool = field(compare=False)
    site_location: str
    installation_year: int | None
    machine_type: str | None
    batch_id: int
    origin_us: int
    origin_seq: int
    content_hash: int

    @property
    def content(self) -> tuple[object, ...]:
        """The values that distinguish a version from the one before."""
        return self.site_location, self.installation_year, self.machine_type


def history(observations: Iterable[Observation], site_names: Mapping[str, str]) -> list[MachineVersion]:
    """Return the versions of machines that follow from their observations.

    Args:
        observations: All observations of the machines.
        site_names: The names of the stations by folded spelling.
    """
    ordered = sorted(observations)
    return [
        version
        for _, seen in groupby(ordered, key=lambda observation: observation.machine_id)
        for version in _versions(list(seen), site_names)
    ]


def _versions(seen: Sequence[Observation], site_names: Mapping[str, str]) -> list[MachineVersion]:
    versions: list[MachineVersion] = []
    for observation in _last_of_each_minute(seen):
        version = _version(observation, site_names)
        if versions and versions[-1].content == version.content:
            versions[-1] = replace(version, valid_from=versions[-1].valid_from)
        else:
            versions.append(version if versions else replace(version, valid_from=BEGINNING))
    closed = [replace(v, valid_to=after.valid_from) for v, after in pairwise(versions)]
    return [*closed, replace(versions[-1], is_current=True)]


def _last_of_each_minute(seen: Sequence[Observation]) -> list[Observation]:
    return [list(same)[-1] for _, same in groupby(seen, key=lambda observation: observation.origin_us // MINUTE_US)]


def _version(observation: Observation, site_names: Mapping[str, str]) -> MachineVersion:
    site = observation.site_location
    return MachineVersion(
        machine_id=observation.machine_id,
        valid_from=instant_of(observation.origin_us // MINUTE_US * MINUTE_US),
        valid_to=None,
        is_current=False,
        is_absent=False,
        site_location=site_names.get(fold(site), site) if site else NO_SITE,
        installation_year=observation.installation_year,
        machine_type=observation.machine_type,
        batch_id=observation.batch_id,
        origin_us=observation.origin_us,
        origin_seq=observation.origin_seq,
        content_hash=observation.content_hash,
    )


def observe(connection: sa.Connection, rows: pl.DataFrame) -> UpsertCounts:
    """Store the observations of a snapshot; return how they compare with the known ones. `refresh` must follow.

    Args:
        connection: A connection inside a transaction.
        rows: The machines' contract columns and the origin columns; a machine occurs once.
    """
    lock_history(connection)
    stated = [Observation(**row) for row in rows.select(list(Observation.__annotations__)).iter_rows(named=True)]
    known = _newest_known(connection, [observation.machine_id for observation in stated])
    ends = [_end(observation, known.get(observation.machine_id)) for observation in stated]
    insert_missing(connection, machine_observations, [vars(observation) for observation in stated])
    return UpsertCounts(
        inserted=ends.count("inserted"),
        updated=ends.count("updated"),
        unchanged=ends.count("unchanged"),
        superseded=ends.count("superseded"),
    )


def _end(observation: Observation, newest: Observation | None) -> str:
    if newest is None:
        return "inserted"
    if newest.content_hash == observation.content_hash:
        return "unchanged"
    return "updated" if observation > newest else "superseded"


def _newest_known(connection: sa.Connection, machine_ids: Sequence[str]) -> dict[str, Observation]:
    return {observation.machine_id: observation for observation in sorted(_observations(connection, machine_ids))}


def lock_history(connection: sa.Connection) -> None:
    """Prevent facts from taking sites from a history that is about to change; SQLite has one writer anyway."""
    if is_postgresql(connection):
        connection.execute(sa.text("LOCK TABLE dim_machines IN SHARE ROW EXCLUSIVE MODE"))


def refresh(connection: sa.Connection, batch_id: BatchId, machine_ids: Sequence[str] | None = None) -> None:
    """Rebuild dim_machines from the observations, and re-site the facts of machines whose history changed.

    Args:
        connection: A connection inside a transaction that holds `lock_history`.
        batch_id: The batch that causes the dirty marks.
        machine_ids: The machines that may have changed; None for all.
    """
    newest = connection.execute(sa.select(sa.func.max(machine_observations.c.origin_us))).scalar_one()
    if newest is None:
        return
    wanted = history(_observations(connection, machine_ids), _site_names(connection))
    stored = _stored(connection, machine_ids)
    changed = {version.machine_id for version in set(wanted) ^ set(stored)}
    resited = {version.machine_id for version in _sites(wanted) ^ _sites(stored)} if changed else set()
    if changed:
        connection.execute(history_changes.insert().values(batch_id=batch_id))
        _replace(connection, [version for version in wanted if version.machine_id in changed], changed)
    _flag_absent(connection, newest)
    for ids in batched(sorted(resited), IDS_PER_STATEMENT):
        _resite_facts(connection, batch_id, ids)


@dataclass(frozen=True)
class _Site:
    machine_id: str
    valid_from: datetime
    site_location: str
    installation_year: int | None


def _sites(versions: Iterable[MachineVersion]) -> set[_Site]:
    return {_Site(v.machine_id, v.valid_from, v.site_location, v.installation_year) for v in versions}


def _observations(connection: sa.Connection, machine_ids: Sequence[str] | None) -> list[Observation]:
    columns = [machine_observations.c[name] for name in Observation.__annotations__]
    return [Observation(*row) for row in _of_machines(connection, columns, machine_ids)]


def _stored(connection: sa.Connection, machine_ids: Sequence[str] | None) -> list[MachineVersion]:
    columns = [dim_machines.c[name] for name in MachineVersion.__annotations__]
    return [MachineVersion(*row) for row in _of_machines(connection, columns, machine_ids)]


def _of_machines(
    connection: sa.Connection, columns: Sequence[sa.Column[Any]], machine_ids: Sequence[str] | None
) -> list[tuple[Any, ...]]:
    query = sa.select(*columns)
    if machine_ids is None:
        return [tuple(row) for row in connection.execute(query)]
    key = columns[0]
    return [
        tuple(row)
        for ids in batched(machine_ids, IDS_PER_STATEMENT)
        for row in connection.execute(query.where(key.in_(ids)))
    ]


def _site_names(connection: sa.Connection) -> dict[str, str]:
    stations = metadata.tables["dim_stations"]
    query = sa.select(station_aliases.c.alias, stations.c.station_name).join(
        stations, stations.c.station_code == station_aliases.c.station_code
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def _replace(connection: sa.Connection, versions: Sequence[MachineVersion], machine_ids: Iterable[str]) -> None:
    for ids in batched(sorted(machine_ids), IDS_PER_STATEMENT):
        connection.execute(dim_machines.delete().where(dim_machines.c.machine_id.in_(ids)))
    if versions:
        connection.execute(dim_machines.insert(), [vars(version) for version in versions])


def _flag_absent(connection: sa.Connection, newest_us: int) -> None:
    """Flag machines that the newest snapshot leaves out; all files that stand for its minute make up one snapshot.

    A later delivery to the same location replaces the earlier one, even if both stand for the same minute.
    """
    at_its_location = (file_positions.c.source == batches.c.source) & (file_positions.c.location == batches.c.location)
    replaced = (
        sa.select(batches.c.batch_id)
        .join(file_positions, at_its_location)
        .where(batches.c.batch_id == dim_machines.c.batch_id, file_positions.c.origin_us > dim_machines.c.origin_us)
    )
    absent = (dim_machines.c.origin_us < newest_us // MINUTE_US * MINUTE_US) | replaced.exists()
    connection.execute(
        dim_machines.update()
        .where(dim_machines.c.is_current, dim_machines.c.is_absent != absent)
        .values(is_absent=absent)
    )


def _resite_facts(connection: sa.Connection, batch_id: BatchId, machine_ids: Sequence[str]) -> None:
    """Give facts the site that their machine had at the time; mark the days and sites that they leave and enter."""
    at_the_time = (
        "m.machine_id = t.machine_id AND t.transaction_at >= m.valid_from "
        "AND (m.valid_to IS NULL OR t.transaction_at < m.valid_to) AND m.machine_id IN :ids "
        "AND (t.site_location <> m.site_location "
        "OR COALESCE(t.installation_year, -1) <> COALESCE(m.installation_year, -1))"
    )
    marks = (
        "INSERT INTO dirty_marks (batch_id, day_number, site_location) "
        "SELECT DISTINCT CAST(:batch_id AS BIGINT), t.day_number, {site} "
        f"FROM fact_transactions AS t JOIN dim_machines AS m ON {at_the_time}"
    )
    resite = (
        "UPDATE fact_transactions AS t SET site_location = m.site_location, installation_year = m.installation_year "
        f"FROM dim_machines AS m WHERE {at_the_time}"
    )
    ids: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
    for site in ("t.site_location", "m.site_location"):
        statement = sa.text(marks.format(site=site)).bindparams(ids)
        connection.execute(statement, {"ids": list(machine_ids), "batch_id": batch_id})
    connection.execute(sa.text(resite).bindparams(ids), {"ids": list(machine_ids)})
