"""Whatever versions arrive, and in whatever order: the tables are those that an independent oracle works out."""

import json
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, assume, given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from freight.care.reconcile import reconcile
from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.schema import metadata
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import HEADER, MACHINES, Corridor
from tests.lib.examples import examples
from tests.lib.tables import LEDGER, content_of, contradictions, empty, watched_writes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOCAL_OFFSET = timedelta(hours=1)  # Africa/Douala has no daylight saving
# The ledger tells the order of loading. The calendar only grows: it may keep a day that its last fact has left.
ORDER_TELLS = LEDGER | {"dim_calendar"}
BUSINESS_TABLES = ("fact_transactions", "dim_machines", "machine_observations", "aggr_daily_site_stats")
BAD_LINE = "TRX-0,MCH-001,yesterday,1,OK"

example_by_example = examples(
    15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # emptied between examples
)


OF_THE_CHANGE_US = 1_728_000  # what the last change adds to the origin of a file: its day has 50 ms steps


def local_midnight_us(day: int) -> int:
    """Return the instant at which a day of February begins in Douala."""
    return (datetime(2026, 2, day, tzinfo=UTC) - LOCAL_OFFSET - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True)
class Row:
    """One version of a transaction as a source states it; the volume is exact in binary, so sums are exact too."""

    number: int
    machine_id: str
    local_day: int
    local_hour: int
    quarter_tonnes: int | None
    status: str

    @property
    def key(self) -> str:
        return f"TRX-{self.number}"

    @property
    def local(self) -> datetime:
        return datetime(2026, 2, self.local_day, self.local_hour)

    @property
    def volume(self) -> float | None:
        return None if self.quarter_tonnes is None else self.quarter_tonnes / 4

    @property
    def line(self) -> str:
        volume = "" if self.volume is None else self.volume
        return f"{self.key},{self.machine_id},{self.local:%Y-%m-%d %H:%M:%S},{volume},{self.status}"

    @property
    def content_hash(self) -> int:
        """The identity of content, written down a second time from its definition."""
        instant = (self.local.replace(tzinfo=UTC) - LOCAL_OFFSET - EPOCH) // timedelta(microseconds=1)
        bits = "\x00" if self.volume is None else str(struct.unpack("<q", struct.pack("<d", self.volume))[0])
        texts = (self.key, self.machine_id, str(instant), bits, self.status)
        return xxh3_64_intdigest("\x1f".join(texts)) - (1 << 63)


@dataclass(frozen=True)
class Delivery:
    """A file of rows: what it holds does not depend on its rank, which says when it is loaded."""

    rows: tuple[Row, ...]
    day: int
    dated_by_name: bool
    rank: int = 0

    @property
    def name(self) -> str:
        return f"erp{self.rank:02}_{f'202602{20 + self.day:02}' if self.dated_by_name else 'undated'}.csv"

    @property
    def origin_us(self) -> int:
        return local_midnight_us(20 + self.day) + OF_THE_CHANGE_US

    def write(self, corridor: Corridor) -> None:
        path = corridor.write("deliveries/" + self.name, "\n".join([HEADER, *(row.line for row in self.rows)]) + "\n")
        changed_us = local_midnight_us(20 + self.day) if self.dated_by_name else self.origin_us
        os.utime(path, ns=(changed_us * 1_000, changed_us * 1_000))


rows = st.builds(
    Row,
    number=st.integers(1, 4),
    machine_id=st.sampled_from(["MCH-001", "MCH-002", "MCH-777"]),
    local_day=st.integers(1, 2),
    local_hour=st.sampled_from([0, 12, 23]),
    quarter_tonnes=st.sampled_from([None, 0, 79, 80, 400]),
    status=st.sampled_from(["OK", "WARN"]),
)
deliveries = st.lists(
    st.builds(
        Delivery,
        rows=st.lists(rows, min_size=1, max_size=6).map(tuple),
        day=st.integers(1, 3),
        dated_by_name=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def ranked(files: Sequence[Delivery], order: Sequence[int]) -> list[Delivery]:
    """Let files be loaded in an order: a run loads them by name."""
    return [replace(file, rank=order.index(position)) for position, file in enumerate(files)]


@contextmanager
def fresh(warehouse: WarehouseUnderTest, tmp_path: Path) -> Any:
    """Give an empty corridor with known machines on a warehouse that is migrated once."""
    empty(warehouse.engine)
    with TemporaryDirectory(dir=tmp_path) as folder:
        corridor = Corridor(Path(folder), warehouse.engine)
        corridor.add_source("machines", "machines", "json", "machines*.json", quarantine_limit=1.0)
        corridor.add_source("erp", "transactions", "csv", "deliveries/*.csv", quarantine_limit=1.0)
        at_once(corridor.write_machines("machines_20260101.json"))
        yield corridor


def at_once(path: Path) -> None:
    """Let a file have the last change of all others: it is part of the origin of its rows."""
    os.utime(path, (1_770_000_000, 1_770_000_000))


def load(corridor: Corridor, files: Iterable[Delivery]) -> None:
    for file in files:
        file.write(corridor)
    report = corridor.load()
    assert report.failures == []
    assert all(outcome.counts.balanced for outcome in report.outcomes)


def expected_facts(files: Iterable[Delivery]) -> dict[str, tuple[Any, ...]]:
    """The oracle: of all versions of a key the greatest (origin, row, content hash) stays."""
    versions = [(file.origin_us, seq, row.content_hash, row) for file in files for seq, row in enumerate(file.rows, 2)]
    newest: dict[str, tuple[int, int, int, Row]] = {}
    for version in versions:
        known = newest.get(version[3].key)
        newest[version[3].key] = version if known is None else max(known, version, key=lambda v: v[:3])
    return {key: _expected_row(*version) for key, version in newest.items()}


def _expected_row(origin_us: int, seq: int, content_hash: int, row: Row) -> tuple[Any, ...]:
    sites = {str(machine["machine_id"]): machine["site_location"] for machine in MACHINES}
    alert = row.status in ("WARN", "ERR") and row.volume is not None and row.volume < 20
    site = sites.get(row.machine_id, "UNKNOWN")
    at = row.local.replace(tzinfo=UTC) - LOCAL_OFFSET
    return row.machine_id, at, row.volume, row.status, row.local.date(), site, alert, origin_us, seq, content_hash


def stored_facts(engine: Engine) -> dict[str, tuple[Any, ...]]:
    names = [
        "transaction_id",
        "machine_id",
        "transaction_at",
        "volume_transferred_t",
        "status_code",
        "transaction_date",
        "site_location",
        "critical_alert",
        "origin_us",
        "origin_seq",
        "content_hash",
    ]
    found = _select(engine, "fact_transactions", names)
    return {row[0]: tuple(row[1:]) for row in found}


def _select(engine: Engine, table: str, names: Sequence[str]) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(sa.select(*(metadata.tables[table].c[name] for name in names))))


def expected_statistics(facts: Mapping[str, tuple[Any, ...]]) -> dict[tuple[Any, str], tuple[Any, ...]]:
    by_day_and_site: dict[tuple[Any, str], list[tuple[Any, ...]]] = {}
    for fact in facts.values():
        by_day_and_site.setdefault((fact[4], fact[5]), []).append(fact)
    return {
        place: (
            len(there),
            sum(fact[2] or 0.0 for fact in there),
            sum(fact[6] for fact in there),
            len({fact[0] for fact in there}),
            EPOCH + timedelta(microseconds=max(fact[7] for fact in there)),
        )
        for place, there in by_day_and_site.items()
    }


def stored_statistics(engine: Engine) -> dict[tuple[Any, str], tuple[Any, ...]]:
    names = [
        "transaction_date",
        "site_location",
        "total_transactions",
        "total_volume",
        "total_alerts",
        "active_machines",
        "as_of",
    ]
    return {(row[0], row[1]): tuple(row[2:]) for row in _select(engine, "aggr_daily_site_stats", names)}


@given(files=deliveries, data=st.data())
@example_by_example
def test_the_same_files_in_any_order_give_the_tables_of_the_oracle(
    warehouse: WarehouseUnderTest, tmp_path: Path, files: list[Delivery], data: st.DataObject
) -> None:
    contents = []
    for _ in range(2):
        order = data.draw(st.permutations(range(len(files))))
        with fresh(warehouse, tmp_path) as corridor:
            load(corridor, ranked(files, order))
        facts = expected_facts(files)
        assert stored_facts(warehouse.engine) == facts
        assert stored_statistics(warehouse.engine) == expected_statistics(facts)
        assert_calendar_has_no_gap(warehouse.engine, {fact[4] for fact in facts.values()})
        assert contradictions(warehouse.engine) == []
        assert reconcile(warehouse.engine) == []
        contents.append(content_of(warehouse.engine, without=ORDER_TELLS))
    assert contents[0] == contents[1]


def assert_calendar_has_no_gap(engine: Engine, days: set[date]) -> None:
    known = sorted(row[0] for row in _select(engine, "dim_calendar", ["calendar_date"]))
    assert days <= set(known)
    assert known == [known[0] + timedelta(days=position) for position in range(len(known))]


@given(files=deliveries)
@example_by_example
def test_loading_twice_writes_no_row(warehouse: WarehouseUnderTest, tmp_path: Path, files: list[Delivery]) -> None:
    with fresh(warehouse, tmp_path) as corridor:
        load(corridor, ranked(files, range(len(files))))
        with watched_writes(warehouse.engine, BUSINESS_TABLES) as written:
            load(corridor, [])
            load(corridor, [replace(file, rank=50 + position) for position, file in enumerate(files)])  # as copies
            at_once(corridor.write_machines("machines_20260101_copy.json"))
            assert corridor.load().counts("machines").unchanged == len(MACHINES)
        assert written == []
    assert contradictions(warehouse.engine) == []


def test_the_watch_over_writes_sees_a_write_that_changes_nothing(warehouse: WarehouseUnderTest, tmp_path: Path) -> None:
    with fresh(warehouse, tmp_path) as corridor:
        load(corridor, [Delivery((Row(1, "MCH-001", 1, 0, 1, "OK"),), 1, True)])
        with watched_writes(warehouse.engine, BUSINESS_TABLES) as written, transaction(warehouse.engine) as connection:
            connection.execute(sa.text("UPDATE fact_transactions SET status_code = status_code"))
    assert written != []


@given(files=deliveries, bad_lines=st.integers(0, 2))
@example_by_example
def test_both_engines_hold_the_same_after_the_same_files(
    sqlite_warehouse: WarehouseUnderTest,
    postgres_warehouse: WarehouseUnderTest,
    tmp_path: Path,
    files: list[Delivery],
    bad_lines: int,
) -> None:
    contents = []
    for warehouse in (sqlite_warehouse, postgres_warehouse):
        with fresh(warehouse, tmp_path) as corridor:
            corridor.write_transactions(
                "deliveries/erp99_20260221.csv", [BAD_LINE] * bad_lines + [files[0].rows[0].line]
            )
            os.utime(corridor.folder / "deliveries/erp99_20260221.csv", (0, 0))
            for file in ranked(files, range(len(files))):
                file.write(corridor)
            # The modification time of a file is part of its position, so both loads have to see the same.
            for path in corridor.folder.glob("**/*_2026*"):
                at_once(path)
            assert corridor.load().failures == []
        contents.append(content_of(warehouse.engine))
    assert contents[0] == contents[1]


@dataclass(frozen=True)
class Snapshot:
    """A statement of machines: site and year by machine; its file order is that of the machine ids given."""

    day: int
    machines: tuple[tuple[str, str | None, int], ...]
    rank: int = 0
    run: int = 0

    @property
    def origin_us(self) -> int:
        return local_midnight_us(self.day)

    def write(self, corridor: Corridor) -> None:
        records = [
            {"machine_id": machine_id, "site_location": site, "installation_year": year}
            for machine_id, site, year in self.machines
        ]
        path = corridor.write(f"machines/m{self.rank:02}_202602{self.day:02}.json", json.dumps(records))
        os.utime(path, ns=(self.origin_us * 1_000, self.origin_us * 1_000))  # those of one day tie


snapshots = st.lists(
    st.builds(
        Snapshot,
        day=st.integers(1, 4),
        machines=st.lists(
            st.tuples(
                st.sampled_from(["MCH-001", "MCH-002"]),
                st.sampled_from(["Douala", "BELABO", "Edéa", None]),
                st.sampled_from([2010, 2011]),
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
    ),
    min_size=1,
    max_size=4,
)
STATIONS = "code,nom,region,lat,lon,km\nDLA,Douala,Littoral,4.05,9.7,0\nBEL,Bélabo,Est,4.93,13.3,560\n"
SITE_NAMES = {"BELABO": "Bélabo"}
FACT_HOURS = [(day, hour) for day in (1, 2, 3, 4) for hour in (0, 12)]


def history_facts() -> list[str]:
    """Lines of one transaction of each machine at each hour that could fall into another version."""
    machines = ("MCH-001", "MCH-002")
    return [
        f"TRX-{number},{machine},2026-02-{day:02} {hour:02}:30:00,1,OK"
        for number, (machine, (day, hour)) in enumerate((m, d) for m in machines for d in FACT_HOURS)
    ]


def expected_sites(stated: Sequence[Snapshot]) -> list[tuple[str, int | None]]:
    """The oracle: the newest statement not after the transaction counts; before the first one, the first."""
    machines = ("MCH-001", "MCH-002")
    return [_expected_site(stated, m, datetime(2026, 2, d, h, 30)) for m in machines for d, h in FACT_HOURS]


def _expected_site(stated: Sequence[Snapshot], machine: str, local: datetime) -> tuple[str, int | None]:
    at_us = (local.replace(tzinfo=UTC) - LOCAL_OFFSET - EPOCH) // timedelta(microseconds=1)
    # Of one file the last row of a machine counts; of two files of one instant, the lower row, then the greater hash.
    said = sorted(
        (snapshot.origin_us, *max((row, *m) for row, m in enumerate(snapshot.machines, 1) if m[0] == machine))
        for snapshot in stated
        if any(m[0] == machine for m in snapshot.machines)
    )
    if not said:
        return "UNKNOWN", None
    instants = [entry for entry in said if entry[0] <= at_us] or [e for e in said if e[0] == said[0][0]]
    site, year = instants[-1][3:]
    return SITE_NAMES.get(site, site) if site else "UNKNOWN", year


def two_statements_tie(stated: Sequence[Snapshot]) -> bool:
    """Whether two files of one instant state different things of a machine in the same row."""
    places = {(s.day, row, m) for s in stated for row, m in enumerate(s.machines)}
    return len({(day, row, m[0]) for day, row, m in places}) < len(places)


@given(stated=snapshots, data=st.data())
@example_by_example
def test_snapshots_in_any_order_give_the_same_history_sites_and_statistics(
    warehouse: WarehouseUnderTest, tmp_path: Path, stated: list[Snapshot], data: st.DataObject
) -> None:
    assume(not two_statements_tie(stated) or data.draw(st.booleans()))
    contents = []
    for _ in range(2):
        with fresh(warehouse, tmp_path) as corridor:
            (corridor.folder / "machines_20260101.json").unlink()
            corridor.sources[0]["location"] = "machines/*.json"
            corridor.add_source("stations", "stations", "csv", "stations*.csv")
            load_in_two_runs(corridor, stated, data)
        assert reconcile(warehouse.engine) == []
        contents.append(content_of(warehouse.engine, without=ORDER_TELLS))
        if not two_statements_tie(stated):
            found = _select(warehouse.engine, "fact_transactions", ["origin_seq", "site_location", "installation_year"])
            assert [tuple(row[1:]) for row in sorted(found)] == expected_sites(stated)
    assert contents[0] == contents[1]


def load_in_two_runs(corridor: Corridor, stated: Sequence[Snapshot], data: st.DataObject) -> None:
    """Load stations, facts and snapshots in some order: each comes in the first or the second run."""
    order = data.draw(st.permutations(range(len(stated))))
    writers: list[Callable[[], object]] = [
        lambda: at_once(corridor.write("stations_20260101.csv", STATIONS)),
        lambda: at_once(corridor.write_transactions("deliveries/erp_20260301.csv", history_facts())),
        *(_writer(corridor, replace(s, rank=order.index(position))) for position, s in enumerate(stated)),
    ]
    first = data.draw(st.lists(st.booleans(), min_size=len(writers), max_size=len(writers)))
    for wanted in (True, False):
        for write, is_first in zip(writers, first, strict=True):
            if is_first == wanted:
                write()
        report = corridor.load()
        assert all(outcome.counts.balanced for outcome in report.outcomes)
        assert {outcome.message.split("[")[-1][:7] for outcome in report.failures} <= {"missing"}


def _writer(corridor: Corridor, snapshot: Snapshot) -> Callable[[], object]:
    return lambda: snapshot.write(corridor)
