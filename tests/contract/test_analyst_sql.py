"""The analysts' queries and views say the same on both engines, and what the input rows say."""

import math
import os
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freight.types import BatchId, Retention
from freight.warehouse.connect import Engine, reading, transaction
from freight.warehouse.migrate import SQL_FOLDER
from freight.warehouse.purge import purge
from freight.warehouse.quarantine import Correction, note_corrections
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import NOW, Corridor
from tests.lib.stream_reader import Reader, terminal_event

DAY_OVER_DAY, RELIABILITY, HUBS, TOP_MACHINES, ROLLING, QUALITY, GAPS, MOVES = range(8)
STATEMENTS = [text.strip() for text in (SQL_FOLDER / "advanced_queries.sql").read_text("utf-8").split(";")][:-1]
VIEWS = [file.stem.partition("_")[2] for file in sorted((SQL_FOLDER / "views").glob("*.sql"))]
EPOCH_DAY = date(1970, 1, 1)

# Two stations share the name Yaoundé; Edéa has no machine. BEL and Bélabo sort apart by bytes and by language.
STATIONS = {"DLA": "Douala", "BEL": "Bélabo", "NGE": "Ngaoundéré", "YDE": "Yaoundé", "YDX": "Yaoundé", "EDE": "Edéa"}
SITES = {
    "MCH-001": "Douala",
    "MCH-002": "Bélabo",
    "MCH-003": "Ngaoundéré",
    "MCH-004": "Yaoundé",
    "MCH-005": "Bélabo-triage",
    "MCH-006": None,
}
FIRST_DAY, MOVE_DAY, DAYS = date(2026, 1, 5), date(2026, 2, 1), 45
MOVER, NEW_SITE = "MCH-004", "Douala"


@dataclass(frozen=True)
class Fact:
    """A transaction as the ERP states it, the volume in thousandths of a tonne."""

    key: int
    machine: str
    day: date
    volume_kg: int | None
    status: str

    @property
    def line(self) -> str:
        volume = "" if self.volume_kg is None else f"{self.volume_kg / 1000:.3f}"
        return f"TRX-{self.key},{self.machine},{self.day} {8 + self.key % 10:02}:00:00,{volume},{self.status}"

    @property
    def site(self) -> str:
        if self.machine == MOVER and self.day >= MOVE_DAY:
            return NEW_SITE
        return SITES.get(self.machine) or "UNKNOWN"

    @property
    def volume(self) -> Fraction:
        return Fraction(self.volume_kg or 0, 1000)

    @property
    def alert(self) -> bool:
        return self.status != "OK" and self.volume_kg is not None and self.volume_kg < 20_000


@cache
def many_facts() -> tuple[Fact, ...]:
    """45 days of traffic with holes: machines rest, two days lack altogether, one machine is in no reference."""
    draw = random.Random(7)
    facts: list[Fact] = []
    for offset in range(DAYS):
        if offset in (20, 38):
            continue
        for machine in (*SITES, "MCH-099"):
            for _ in range(draw.choice((0, 1, 2, 5))):
                volume = draw.choice((None, draw.randrange(0, 20_000), draw.randrange(20_000, 90_000)))
                status = draw.choice(("OK", "OK", "WARN", "ERR"))
                facts.append(Fact(len(facts), machine, FIRST_DAY + timedelta(days=offset), volume, status))
    return tuple(facts)


def new_corridor(folder: Path, engine: Engine) -> Corridor:
    corridor = Corridor(folder, engine)
    corridor.add_source("stations", "stations", "csv", "stations*.csv")
    corridor.add_source("machines", "machines", "json", "machines*.json")
    corridor.add_source("erp", "transactions", "csv", "erp*.csv")
    return corridor


def write_stations(corridor: Corridor, stations: dict[str, str]) -> None:
    lines = [f"{code},{name},Centre,4.0,11.0,{km}" for km, (code, name) in enumerate(stations.items())]
    header = "station_code,station_name,region,latitude_deg,longitude_deg,corridor_km"
    corridor.write("stations_20260101.csv", "\n".join([header, *lines]) + "\n")


def write_sites(corridor: Corridor, day: date, sites: dict[str, Any]) -> None:
    machines = [{"machine_id": m, "site_location": site, "installation_year": 2010} for m, site in sites.items()]
    corridor.write_machines(f"machines_{day:%Y%m%d}.json", machines)


def load_many(corridor: Corridor) -> Corridor:
    """Load every fact, a file a day that stands for the following midnight."""
    write_stations(corridor, STATIONS)
    write_sites(corridor, date(2026, 1, 1), SITES)
    write_sites(corridor, MOVE_DAY, {**SITES, MOVER: NEW_SITE})
    by_day: defaultdict[date, list[str]] = defaultdict(list)
    for fact in many_facts():
        by_day[fact.day].append(fact.line)
    for day, lines in by_day.items():
        corridor.write_transactions(f"erp_{day + timedelta(days=1):%Y%m%d}.csv", lines)
    for path in corridor.folder.glob("*_2026*"):
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))  # part of the origin of its rows
    report = corridor.load()
    assert not report.failures
    return corridor


def load_few(
    corridor: Corridor,
    rows: Sequence[tuple[str, str, float | None, str]],
    stations: dict[str, str] = STATIONS,
    sites: dict[str, Any] = SITES,
) -> Corridor:
    """Load rows of (machine, day, tonnes, status), delivered in one file."""
    write_stations(corridor, stations)
    write_sites(corridor, date(2026, 1, 1), sites)
    lines = [
        f"TRX-{key},{machine},{day} 10:00:00,{'' if volume is None else volume},{status}"
        for key, (machine, day, volume, status) in enumerate(rows)
    ]
    corridor.write_transactions("erp_20260211.csv", lines)
    report = corridor.load()
    assert not report.failures
    return corridor


@pytest.fixture
def corridor(tmp_path: Path, warehouse: WarehouseUnderTest) -> Corridor:
    return new_corridor(tmp_path, warehouse.engine)


def answer(engine: Engine, statement: str, leave_out: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    """Return rows with dates and instants as text, and every number as int or float."""
    with reading(engine) as connection:
        result = connection.exec_driver_sql(statement)
        kept = [i for i, name in enumerate(result.keys()) if name not in leave_out]
        return [tuple(plain(row[i]) for i in kept) for row in result]


def ask(corridor: Corridor, number: int) -> list[tuple[Any, ...]]:
    return answer(corridor.engine, STATEMENTS[number])


def plain(value: Any) -> Any:
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.replace(tzinfo=None).isoformat(" ", "microseconds")
        case date():
            return value.isoformat()
    return value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


def assert_same_rows(found: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        assert all(map(same, one, other)), f"{one} is not {other}"


def rounded(value: Fraction | None, digits: int) -> float | None:
    """Round exactly; what lies between two values goes up."""
    if value is None:
        return None
    scale = Fraction(10**digits)
    return float(math.floor(value * scale + Fraction(1, 2)) / scale)


# What the input rows say, computed without SQL and without doubles


@dataclass
class Stats:
    """Statistics of some facts."""

    transactions: int = 0
    volume: Fraction = Fraction(0)
    alerts: int = 0
    days: frozenset[date] = frozenset()

    def add(self, fact: Fact) -> None:
        self.transactions += 1
        self.volume += fact.volume
        self.alerts += fact.alert
        self.days |= {fact.day}


def grouped(facts: Sequence[Fact], *names: str) -> dict[Any, Stats]:
    groups: defaultdict[Any, Stats] = defaultdict(Stats)
    for fact in facts:
        values = tuple(getattr(fact, name) for name in names)
        groups[values[0] if len(values) == 1 else values].add(fact)
    return dict(groups)


def last_day() -> date:
    return max(fact.day for fact in many_facts())


def in_window() -> list[Fact]:
    return [fact for fact in many_facts() if fact.day > last_day() - timedelta(days=30)]


def code_of(site: str) -> str | None:
    return min((code for code, name in STATIONS.items() if name == site), default=None)


def newest_first(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Sort by day downwards (text in the first column), then by site in byte order (the second)."""
    return sorted(sorted(rows, key=lambda row: row[1].encode()), key=lambda row: row[0], reverse=True)


def expected_day_over_day() -> list[tuple[Any, ...]]:
    daily = grouped(many_facts(), "day", "site")
    rows = []
    for (day, site), stats in daily.items():
        before = daily.get((day - timedelta(days=1), site))
        change, note = None, None
        if before is None:
            note = "no data the day before"
        elif before.alerts:
            change = rounded(Fraction(100 * (stats.alerts - before.alerts), before.alerts), 2)
        else:
            note = "no alerts the day before" if stats.alerts else "no alerts on both days"
        alerts_before = before.alerts if before else None
        rows.append((day.isoformat(), site, stats.alerts, alerts_before, change, note, *reported(day)))
    return newest_first(rows)


def reported(day: date) -> tuple[int, int]:
    """Return how many stations had traffic on a day, and how many in the 30 days up to it."""
    month = {day - timedelta(days=back) for back in range(30)}
    codes = [(fact.day, code_of(fact.site)) for fact in many_facts() if code_of(fact.site)]
    return len({code for at, code in codes if at == day}), len({code for at, code in codes if at in month})


def station_stats() -> list[tuple[str | None, str, Stats]]:
    """Every station and every other site with traffic: code, site, statistics of the window."""
    traffic = grouped(in_window(), "site")
    found = [(code_of(site), site, stats) for site, stats in traffic.items()]
    with_traffic = {code for code, _, _ in found}
    return found + [(code, name, Stats()) for code, name in STATIONS.items() if code not in with_traffic]


def reliability(stats: Stats) -> Fraction | None:
    return 1 - Fraction(stats.alerts, stats.transactions) if stats.transactions else None


def expected_reliability() -> list[tuple[Any, ...]]:
    total = sum((stats.volume for _, _, stats in station_stats()), Fraction(0))
    ranked = [(reliability(s), code, site, s) for code, site, s in station_stats() if code and s.transactions]
    idle = [(None, code, site, s) for code, site, s in station_stats() if code and not s.transactions]
    others = [(reliability(s), code, site, s) for code, site, s in station_stats() if not code]
    ranked.sort(key=lambda row: (-(row[0] or 0), row[1]))
    idle.sort(key=lambda row: str(row[1]))
    others.sort(key=lambda row: (-(row[0] or 0), row[2].encode()))
    rows = []
    for value, code, site, stats in [*ranked, *idle, *others]:
        rank = None
        if code and value is not None:
            rank = 1 + sum(1 for other, *_ in ranked if other is not None and other > value)
        percent = None if value is None else rounded(100 * value, 2)
        share = rounded(100 * stats.volume / total, 2)
        figures = (stats.transactions, stats.alerts, percent, share)
        rows.append((rank, code, site, *figures, len(stats.days), 30))
    return rows


def expected_hubs() -> list[tuple[Any, ...]]:
    order = ("HUB AT RISK", "STRATEGIC HUB", "FRAGILE STOP", "RELIABLE FEEDER", "NOT A STATION", "NO TRAFFIC")
    total = sum((stats.volume for _, _, stats in station_stats()), Fraction(0))
    rows = []
    for code, site, stats in station_stats():
        value, share = reliability(stats), stats.volume / total
        if code is None:
            hub_class = "NOT A STATION"
        elif value is None:
            hub_class = "NO TRAFFIC"
        elif share >= Fraction(15, 100):
            hub_class = "STRATEGIC HUB" if value >= Fraction(9, 10) else "HUB AT RISK"
        else:
            hub_class = "RELIABLE FEEDER" if value >= Fraction(9, 10) else "FRAGILE STOP"
        percent = None if value is None else rounded(100 * value, 2)
        region = "Centre" if code else None
        shares = (rounded(100 * share, 2), percent, 15.0, 90.0)
        row = (hub_class, code, site, region, float(stats.volume), *shares, len(stats.days), 30)
        rows.append(((order.index(hub_class), -stats.volume, code or "", site.encode()), row))
    return [row for _, row in sorted(rows)]


def expected_top_machines() -> list[tuple[Any, ...]]:
    machines = sorted(grouped(in_window(), "machine").items(), key=lambda item: (-item[1].volume, item[0]))
    now_at = {**SITES, MOVER: NEW_SITE}
    return [
        (
            1 + sum(1 for _, other in machines if other.volume > stats.volume),
            machine,
            None,
            (now_at[machine] or "UNKNOWN") if machine in now_at else None,
            stats.transactions,
            float(stats.volume),
            stats.alerts,
            rounded(Fraction(100 * stats.alerts, stats.transactions), 2),
            len(stats.days),
            30,
            rounded(Fraction(100 * len(stats.days), 30), 2),
        )
        for machine, stats in machines
    ]


def expected_rolling() -> list[tuple[Any, ...]]:
    daily = grouped(many_facts(), "day", "site")
    rows = []
    for day, site in daily:
        week = [daily[key] for back in range(7) if (key := (day - timedelta(days=back), site)) in daily]
        volume = sum((stats.volume for stats in week), Fraction(0))
        rows.append((day.isoformat(), site, float(daily[day, site].volume), float(volume), len(week), 1))
    return newest_first(rows)


def expected_gaps() -> list[tuple[Any, ...]]:
    """Nothing came late; runs of days without a fact between a site's first day and the newest day of all."""
    runs = []
    for site, stats in grouped(many_facts(), "site").items():
        run: list[date] = []
        span = (last_day() - min(stats.days)).days
        for day in [*(min(stats.days) + timedelta(days=offset) for offset in range(span + 1)), None]:
            if day is not None and day not in stats.days:
                run.append(day)
            elif run:
                first_and_last = (run[0].isoformat(), run[-1].isoformat())
                runs.append((run[0], ("MISSING", site, code_of(site), *first_and_last, len(run), 0)))
                run = []
    runs.sort(key=lambda found: found[1][1].encode())
    return [row for _, row in sorted(runs, key=lambda found: found[0], reverse=True)]


def expected_moves() -> list[tuple[Any, ...]]:
    of_mover = [fact for fact in many_facts() if fact.machine == MOVER]
    before, after = Stats(), Stats()
    for fact in of_mover:
        (before if fact.day < MOVE_DAY else after).add(fact)
    daily_before, daily_after = before.volume / len(before.days), after.volume / len(after.days)
    return [
        (
            MOVER,
            f"{MOVE_DAY - timedelta(days=1)} 23:00:00.000000",  # local midnight
            "Yaoundé",
            NEW_SITE,
            float(before.volume),
            float(after.volume),
            len(before.days),
            len(after.days),
            rounded(daily_before, 3),
            rounded(daily_after, 3),
            rounded(100 * (daily_after - daily_before) / daily_before, 2),
        )
    ]


def test_every_answer_is_what_the_input_rows_say(corridor: Corridor) -> None:
    load_many(corridor)
    assert_same_rows(ask(corridor, DAY_OVER_DAY), expected_day_over_day())
    assert_same_rows(ask(corridor, RELIABILITY), expected_reliability())
    assert_same_rows(ask(corridor, HUBS), expected_hubs())
    assert_same_rows(ask(corridor, TOP_MACHINES), expected_top_machines())
    assert_same_rows(ask(corridor, ROLLING), expected_rolling())
    assert_same_rows(ask(corridor, GAPS), expected_gaps())
    assert_same_rows(ask(corridor, MOVES), expected_moves())


def test_the_views_count_every_fact_once(corridor: Corridor) -> None:
    load_many(corridor)
    transactions = len(many_facts())
    assert answer(corridor.engine, "SELECT COUNT(*), COUNT(DISTINCT transaction_id) FROM v_transactions") == [
        (transactions, transactions)
    ]
    alerts = sum(fact.alert for fact in many_facts())
    assert answer(
        corridor.engine, "SELECT SUM(critical_alert), COUNT(loaded_at), COUNT(run_id) FROM v_transactions"
    ) == [(alerts, transactions, transactions)]
    assert answer(corridor.engine, "SELECT SUM(total_transactions) FROM v_daily_site_stats") == [(transactions,)]
    for view in ("v_station_reliability", "v_hub_classification", "v_machine_activity"):
        assert answer(corridor.engine, f"SELECT SUM(transactions) FROM {view}") == [(len(in_window()),)]
    assert answer(corridor.engine, "SELECT COUNT(*) FROM v_machines") == [(len(SITES),)]
    without_station = sum(1 for fact in many_facts() if code_of(fact.site) is None)
    query = "SELECT COUNT(*) FROM v_transactions WHERE station_code IS NULL AND station_name IS NULL AND region IS NULL"
    assert answer(corridor.engine, query) == [(without_station,)]


def test_both_engines_give_the_same_rows_in_the_same_order(
    tmp_path: Path, sqlite_warehouse: WarehouseUnderTest, postgres_warehouse: WarehouseUnderTest
) -> None:
    engines = [sqlite_warehouse.engine, postgres_warehouse.engine]
    for warehouse in (sqlite_warehouse, postgres_warehouse):
        load_many(new_corridor(tmp_path / warehouse.engine.dialect.name, warehouse.engine))
        load_events(warehouse.url)
        correct(warehouse.engine)
    for statement in STATEMENTS:
        assert_same_rows(*(answer(engine, statement) for engine in engines))
    for view in VIEWS:
        found = [answer(engine, f"SELECT * FROM {view}", leave_out=["run_id"]) for engine in engines]
        assert found[0]
        assert_same_rows(*(sorted(rows, key=repr_without_noise) for rows in found))


def load_events(url: str) -> None:
    reader = Reader(url, dataset="terminal_events")
    reader.loader.load(reader.batch([terminal_event(1), b"bad"], [terminal_event(2)]))
    reader.engine.dispose()


def correct(engine: Engine) -> None:
    changed = Correction(1, 2, "status_code", None, "OK", "Awa", "quarantine.xlsx", "ab12")
    with transaction(engine) as connection:
        note_corrections(connection, [changed], BatchId(1), NOW)


def repr_without_noise(row: tuple[Any, ...]) -> str:
    """Return a sort key that the last bits of a double do not change."""
    return repr(tuple(round(value, 6) if isinstance(value, float) else value for value in row))


# Small cases, computed by hand


def test_an_empty_warehouse_answers_everything_with_no_rows(warehouse: WarehouseUnderTest) -> None:
    for statement in (*STATEMENTS, *(f"SELECT * FROM {view}" for view in VIEWS)):
        assert answer(warehouse.engine, statement) == []


def test_stations_without_any_transaction_have_no_traffic(corridor: Corridor) -> None:
    write_stations(corridor, STATIONS)
    corridor.load()
    query = "SELECT station_code, hub_class, reliability, volume_share FROM v_hub_classification ORDER BY station_code"
    assert answer(corridor.engine, query) == [(code, "NO TRAFFIC", None, None) for code in sorted(STATIONS)]
    assert [row[0] for row in ask(corridor, RELIABILITY)] == [None] * len(STATIONS)


def test_alert_change_is_empty_without_alerts_or_data_the_day_before(corridor: Corridor) -> None:
    alerts = {"2026-02-01": 0, "2026-02-02": 2, "2026-02-03": 3, "2026-02-04": 0, "2026-02-05": 0, "2026-02-07": 1}
    rows = [("MCH-001", day, 30.0, "OK") for day in alerts]
    rows += [("MCH-001", day, 5.0, "WARN") for day, number in alerts.items() for _ in range(number)]
    load_few(corridor, rows)
    assert [(row[0], row[4], row[5]) for row in ask(corridor, DAY_OVER_DAY)] == [
        ("2026-02-07", None, "no data the day before"),
        ("2026-02-05", None, "no alerts on both days"),
        ("2026-02-04", -100, None),
        ("2026-02-03", 50, None),
        ("2026-02-02", None, "no alerts the day before"),
        ("2026-02-01", None, "no data the day before"),
    ]


def test_equal_reliability_shares_a_rank(corridor: Corridor) -> None:
    """Douala 1 of 2, Bélabo 2 of 4, Ngaoundéré 1 of 1 with alerts."""
    rows = [("MCH-001", "2026-02-01", volume, "ERR") for volume in (5.0, 50.0)]
    rows += [("MCH-002", "2026-02-01", volume, "ERR") for volume in (5.0, 6.0, 50.0, 60.0)]
    rows += [("MCH-003", "2026-02-01", 5.0, "ERR")]
    load_few(corridor, rows)
    assert [(rank, code, percent) for rank, code, _, _, _, percent, *_ in ask(corridor, RELIABILITY)] == [
        (1, "BEL", 50),
        (1, "DLA", 50),
        (3, "NGE", 0),
        (None, "EDE", None),
        (None, "YDE", None),
        (None, "YDX", None),
    ]


def test_missing_days_count_as_zero_in_the_rolling_volume(corridor: Corridor) -> None:
    days = {"2026-02-01": 1.0, "2026-02-02": 2.0, "2026-02-07": 4.0, "2026-02-08": 8.0, "2026-02-20": None}
    load_few(corridor, [("MCH-001", day, volume, "OK") for day, volume in days.items()])
    assert ask(corridor, ROLLING) == [
        ("2026-02-20", "Douala", 0, 0, 1, 1),
        ("2026-02-08", "Douala", 8, 14, 3, 1),  # the 1st is eight days old
        ("2026-02-07", "Douala", 4, 7, 3, 1),
        ("2026-02-02", "Douala", 2, 3, 2, 1),
        ("2026-02-01", "Douala", 1, 1, 1, 1),
    ]


def test_sites_that_are_no_station_are_counted_under_their_own_label(corridor: Corridor) -> None:
    machines = ("MCH-001", "MCH-005", "MCH-006", "MCH-099")
    load_few(corridor, [(machine, "2026-02-01", 25.0, "OK") for machine in machines])
    assert [(row[0], row[2], row[4], row[5]) for row in ask(corridor, HUBS) if row[4]] == [
        ("STRATEGIC HUB", "Douala", 25, 25),
        ("NOT A STATION", "UNKNOWN", 50, 50),
        ("NOT A STATION", "Bélabo-triage", 25, 25),
    ]


def test_two_stations_of_one_name_do_not_double_the_facts(corridor: Corridor) -> None:
    load_few(corridor, [("MCH-004", "2026-02-01", 25.0, "OK")])
    assert answer(corridor.engine, "SELECT station_code, volume_transferred_t FROM v_transactions") == [("YDE", 25)]
    query = "SELECT station_code, transactions FROM v_station_reliability WHERE site_location = 'Yaoundé' ORDER BY 1"
    assert answer(corridor.engine, query) == [("YDE", 1), ("YDX", 0)]


def test_a_value_on_a_threshold_reaches_it(corridor: Corridor) -> None:
    """Douala carries 15 of 100 tonnes with 1 alert in 10, Bélabo 14.9 with 2 in 10."""
    rows = [("MCH-001", "2026-02-01", 1.5, "ERR" if number == 0 else "OK") for number in range(10)]
    rows += [("MCH-002", "2026-02-01", 1.49, "ERR" if number < 2 else "OK") for number in range(10)]
    rows += [("MCH-003", "2026-02-01", 70.1, "OK"), ("MCH-003", "2026-02-01", 0.0, "WARN")]
    load_few(corridor, rows)
    classes = {row[1]: (row[0], row[5], row[6]) for row in ask(corridor, HUBS)}
    assert classes["DLA"] == ("STRATEGIC HUB", 15, 90)
    assert classes["BEL"] == ("FRAGILE STOP", 14.9, 80)
    assert classes["NGE"] == ("HUB AT RISK", 70.1, 50)
    assert classes["EDE"] == ("NO TRAFFIC", 0, None)


def test_volumes_that_are_all_empty_divide_nothing_by_zero(corridor: Corridor) -> None:
    load_few(corridor, [("MCH-001", "2026-02-01", None, "ERR"), ("MCH-001", "2026-02-02", 0.0, "OK")])
    assert ask(corridor, HUBS)[0] == ("RELIABLE FEEDER", "DLA", "Douala", "Centre", 0, None, 100, 15, 90, 2, 2)
    assert [row[5] for row in ask(corridor, TOP_MACHINES)] == [0]


def test_machines_of_equal_volume_share_the_tenth_place(corridor: Corridor) -> None:
    sites = {f"MCH-{number:03}": "Douala" for number in range(1, 13)}
    volumes = (
        dict.fromkeys(sites, 10.0) | {"MCH-012": 5.0} | {f"MCH-{number:03}": 20.0 + number for number in range(1, 10)}
    )
    load_few(corridor, [(machine, "2026-02-01", volume, "OK") for machine, volume in volumes.items()], sites=sites)
    ranks = [(row[0], row[1]) for row in ask(corridor, TOP_MACHINES)]
    assert len(ranks) == 11
    assert ranks[0] == (1, "MCH-009")
    assert ranks[-2:] == [(10, "MCH-010"), (10, "MCH-011")]


def test_the_window_ends_at_the_newest_day_and_holds_thirty_days(corridor: Corridor) -> None:
    load_few(corridor, [("MCH-001", day, 1.0, "OK") for day in ("2026-01-11", "2026-01-12", "2026-02-10")])
    assert answer(corridor.engine, "SELECT first_date, last_date, days FROM v_reporting_window") == [
        ("2026-01-12", "2026-02-10", 30)
    ]
    assert ask(corridor, RELIABILITY)[0][3] == 2


# A day that has begun only


def load_cut_off(corridor: Corridor) -> Corridor:
    """Load two days of three stations, and one transaction after the midnight at which the file was cut."""
    write_stations(corridor, STATIONS)
    write_sites(corridor, date(2026, 1, 1), SITES)
    machines = ("MCH-001", "MCH-002", "MCH-003")
    lines = [
        f"TRX-{day}{number},{machine},2026-02-0{day} 10:00:00,{number + 5},WARN"
        for day in (1, 2)
        for number, machine in enumerate(machines)
    ]
    corridor.write_transactions("erp_20260203.csv", [*lines, "TRX-9,MCH-001,2026-02-03 00:10:00,30,OK"])
    assert not corridor.load().failures
    return corridor


def missing(corridor: Corridor) -> list[tuple[Any, ...]]:
    """Return the site and first day of each run of days without data."""
    return [(row[1], row[3]) for row in ask(corridor, GAPS) if row[0] == "MISSING"]


DAYS_SAID = "SELECT transaction_date, is_complete, stations_reported, stations_expected FROM v_days ORDER BY 1"


def test_a_day_that_has_only_begun_is_marked_and_compared_with_nothing(corridor: Corridor) -> None:
    load_cut_off(corridor)
    assert answer(corridor.engine, DAYS_SAID) == [
        ("2026-02-01", 1, 3, 3),
        ("2026-02-02", 1, 3, 3),
        ("2026-02-03", 0, 1, 3),
    ]
    assert ask(corridor, DAY_OVER_DAY)[0] == ("2026-02-03", "Douala", 0, 1, None, "the day is incomplete", 1, 3)
    assert ask(corridor, DAY_OVER_DAY)[1][4] == 0
    assert missing(corridor) == []
    assert ask(corridor, ROLLING)[0][-1] == 0
    window = "SELECT last_date, days, is_complete, station_days_reported, station_days_expected FROM v_reporting_window"
    assert answer(corridor.engine, window) == [("2026-02-02", 2, 1, 6, 6)]
    assert [row[3] for row in ask(corridor, RELIABILITY)][:3] == [2, 2, 2]
    assert answer(corridor.engine, "SELECT MAX(active_days), MAX(days) FROM v_machine_activity") == [(2, 2)]


def test_the_next_delivery_completes_a_day(corridor: Corridor) -> None:
    load_cut_off(corridor)
    corridor.write_transactions("erp_20260204.csv", ["TRX-10,MCH-001,2026-02-03 12:00:00,30,OK"])
    corridor.load()
    assert answer(corridor.engine, DAYS_SAID)[-1] == ("2026-02-03", 1, 1, 3)
    assert answer(corridor.engine, "SELECT last_date FROM v_reporting_window") == [("2026-02-03",)]
    assert missing(corridor) == [("Bélabo", "2026-02-03"), ("Ngaoundéré", "2026-02-03")]


@pytest.mark.parametrize(
    ("written_at", "is_complete"),
    [("2026-02-03 23:30", 0), ("2026-02-04 00:30", 1)],
    ids=["before its end", "after it"],
)
def test_a_file_that_is_named_after_its_own_day_completes_it_if_all_stations_have_reported(
    corridor: Corridor, written_at: str, is_complete: int
) -> None:
    lines = [f"TRX-{n},MCH-00{n},2026-02-03 12:00:00,30,OK" for n in (1, 2, 3)]
    assert days_of_file(corridor, lines, written_at)[-1] == ("2026-02-03", is_complete, 3, 3)


def test_a_file_that_is_named_after_its_own_day_leaves_it_open_if_a_station_is_missing(corridor: Corridor) -> None:
    lines = [f"TRX-{n},MCH-00{n},2026-02-0{day} 12:00:00,30,OK" for n, day in ((1, 2), (2, 2), (3, 3))]
    assert days_of_file(corridor, lines, "2026-02-04 00:30") == [("2026-02-02", 1, 2, 2), ("2026-02-03", 0, 1, 3)]


def days_of_file(corridor: Corridor, lines: Sequence[str], written_at: str) -> list[tuple[Any, ...]]:
    """Load a file that is named after 3 February, and return the days."""
    write_stations(corridor, STATIONS)
    write_sites(corridor, date(2026, 1, 1), SITES)
    path = corridor.write_transactions("erp_20260203.csv", lines)
    moment = datetime.fromisoformat(f"{written_at}+01:00").timestamp()
    os.utime(path, (moment, moment))
    corridor.load()
    return answer(corridor.engine, DAYS_SAID)


def test_a_station_is_expected_for_thirty_days_after_its_last_traffic(corridor: Corridor) -> None:
    rows = [("MCH-001", f"2026-01-{day:02}", 1.0, "OK") for day in range(1, 32)]
    rows += [("MCH-001", "2026-02-01", 1.0, "OK"), ("MCH-002", "2026-01-02", 1.0, "OK")]
    load_few(corridor, rows)
    said = {day: expected for day, _, _, expected in answer(corridor.engine, DAYS_SAID)}
    assert [said[day] for day in ("2026-01-01", "2026-01-02", "2026-01-31", "2026-02-01")] == [1, 2, 2, 1]


def test_before_any_day_is_complete_the_window_is_what_there_is(corridor: Corridor) -> None:
    """As on the first day of a stream: the newest delivery stands for an instant in that day."""
    days_of_file(corridor, ["TRX-1,MCH-001,2026-02-03 00:10:00,30,OK"], "2026-02-03 00:20")
    query = "SELECT last_date, days, is_complete FROM v_reporting_window"
    assert answer(corridor.engine, query) == [("2026-02-03", 1, 0)]


def test_the_machines_behind_the_site_unknown_are_named_with_the_reason(corridor: Corridor) -> None:
    rows = [(machine, "2026-02-01", 25.0, "OK") for machine in ("MCH-001", "MCH-006", "MCH-099", "MCH-099")]
    load_few(corridor, rows, sites={**SITES, "MCH-007": None})
    query = "SELECT machine_id, reason, transactions, volume_t FROM v_machines_without_site ORDER BY 1"
    assert answer(corridor.engine, query) == [
        ("MCH-006", "the machines file gives it no site", 1, 25),
        ("MCH-007", "the machines file gives it no site", 0, 0),
        ("MCH-099", "no machines file lists it", 2, 50),
    ]
    unknown = "SELECT transactions, volume_t FROM v_station_reliability WHERE site_location = 'UNKNOWN'"
    assert answer(corridor.engine, unknown) == [(3, 75)]
    write_sites(corridor, date(2026, 2, 5), {**SITES, "MCH-007": None, "MCH-099": "Edéa"})
    corridor.load()
    query = "SELECT reason, site_now FROM v_machines_without_site WHERE machine_id = 'MCH-099'"
    assert answer(corridor.engine, query) == []  # its first site counts for the time before it


def test_days_that_come_late_are_told_with_their_rows(corridor: Corridor) -> None:
    """The file stands for February 11th: its rows of the 8th are three days after their day."""
    days = ["2026-02-08", "2026-02-08", "2026-02-10"]
    load_few(corridor, [("MCH-001", day, 1.0, "OK") for day in days])
    assert ask(corridor, GAPS) == [
        ("MISSING", "Douala", "DLA", "2026-02-09", "2026-02-09", 1, 0),
        ("LATE", "Douala", "DLA", "2026-02-08", "2026-02-08", 3, 2),
    ]


def test_a_machine_that_carried_nothing_before_its_move_has_no_change(corridor: Corridor) -> None:
    write_sites(corridor, date(2026, 2, 5), {**SITES, "MCH-002": "Edéa"})
    load_few(corridor, [("MCH-002", "2026-02-06", 10.0, "OK"), ("MCH-002", "2026-02-07", 20.0, "OK")])
    moved_at = "2026-02-04 23:00:00.000000"  # local midnight
    assert ask(corridor, MOVES) == [("MCH-002", moved_at, "Bélabo", "Edéa", 0, 30, 0, 2, None, 15, None)]


def test_data_quality_tells_how_rows_ended_and_what_failed(corridor: Corridor) -> None:
    corridor.add_source("excel", "transactions", "csv", "never*.csv")
    lines = [f"TRX-{key},MCH-001,2026-02-01 10:00:00,1,OK" for key in (1, 2, 3, 3)]
    corridor.write_transactions("erp_20260202.csv", [*lines, "TRX-9,MCH-001,2026-02-30 10:00:00,1,OK"])
    write_sites(corridor, date(2026, 2, 1), SITES)
    corridor.write("never_20260202.csv", "nothing,known\n1,2\n")
    corridor.load()
    rows = {row[0]: (*row[3:10], row[10] and row[10][:16], *row[11:]) for row in ask(corridor, QUALITY)}
    loaded_at = NOW.replace(tzinfo=None).isoformat(" ", "microseconds")
    assert rows["erp"] == (5, 1, 20, 1, 1, 0, loaded_at, "2026-02-01 23:00", 0, 0, None, None)
    assert rows["machines"] == (6, 0, 0, 0, 0, 0, loaded_at, "2026-01-31 23:00", 24, 0, None, None)
    assert rows["excel"] == (0, 0, None, 0, 0, 0, None, None, None, 1, loaded_at, "missing_column")


def test_purged_lineage_stays_in_the_data_quality(corridor: Corridor) -> None:
    for volume in (1, 2):
        corridor.write_transactions("erp_20260202.csv", [f"TRX-1,MCH-001,2026-02-01 10:00:00,{volume},OK"])
        corridor.load()
    assert purge(corridor.engine, Retention(1, 1), NOW + timedelta(days=5))["batches"] == 1
    query = "SELECT files, read_rows, inserted, updated, balance FROM v_data_quality WHERE source = 'erp'"
    assert answer(corridor.engine, query) == [(1, 2, 1, 1, 0)]
    assert answer(corridor.engine, "SELECT COUNT(*) FROM v_transactions") == [(1,)]


# The file itself


def test_every_query_tells_its_question_and_how_to_read_the_answer() -> None:
    assert len(STATEMENTS) == 8
    for number, statement in enumerate(STATEMENTS, start=1):
        comment = statement[statement.rindex(f"-- {number}. ") :]
        assert "-- Business question: " in comment
        assert "-- How to read it: " in comment


def test_no_tool_cuts_a_query_or_asks_for_parameters() -> None:
    for statement in STATEMENTS:
        query = statement[statement.index("How to read it") :]
        assert "\n\n" not in query
    texts = [*STATEMENTS, *(file.read_text("utf-8") for file in (SQL_FOLDER / "views").glob("*.sql"))]
    for sql in texts:
        code = "\n".join(line for line in sql.splitlines() if not line.strip().startswith("--"))
        assert not set(code) & set(":%?$@")
        assert "%" not in sql
        assert sa.text(sql).compile().params == {}
