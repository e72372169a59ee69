"""The events of the corridor: machines that work, move and fail, and the transactions that they report.

This module does not know how rows leave the corridor: files and streams both take them from `Corridor`.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import polars as pl

from freight.errors import ConfigurationError
from freight.simulator.corridor import MACHINE_TYPES, TERMINALS
from freight.simulator.draws import uniform

MOVE_DAY = date(2026, 2, 22)
MAX_MACHINES = 99_999  # higher numbers are left for machines that are unknown to the reference
MAX_DAY_ROWS = 10_000_000  # the size of each day's block of transaction numbers
CHUNK_ROWS = 250_000

TRANSACTION_SCHEMA = {
    "transaction_id": pl.String,
    "machine_id": pl.String,
    "date": pl.String,
    "volume_transferred": pl.Float64,
    "status_code": pl.String,
}

_FIRST_DAY = date(2020, 1, 1)  # the day of TRX-0
_DAY_S = 86_400
_MIDNIGHT_S = (0, _DAY_S - 1, _DAY_S + 3)  # first second of the day, last second, just into the next day
_NIGHT_END_S = 6 * 3_600
_NIGHT_TRAFFIC_SHARE = 0.15
_EMPTY_VOLUME_SHARE = 0.005
_WARN_SHARE_OF_TROUBLE = 0.45
_MOVING_SHARE = 0.1
_INSTALLATION_YEARS = (2008, 2024)

_TERMINAL_BY_NAME = {terminal.station_name: terminal for terminal in TERMINALS}


@dataclass(frozen=True)
class Machine:
    """A machine and its sites: `first_site` before the corridor's move day, `later_site` from then on."""

    machine_id: str
    machine_type: str
    installation_year: int
    first_site: str
    later_site: str


class Corridor:
    """A corridor that its seed fully determines: the same seed and arguments give the same rows.

    Every day has its own random numbers, so days can be requested in any order and number.
    """

    def __init__(self, seed: int = 7, machines: int = 20, *, move_day: date = MOVE_DAY) -> None:
        """Set up the machines.

        Args:
            seed: The seed, which identifies this corridor among all possible ones.
            machines: The number of machines; with five or more, every terminal has one that never moves.
            move_day: The local day from which the moving machines work at their later site.

        Raises:
            ConfigurationError: The number of machines is not in 1..99,999.
        """
        if not 1 <= machines <= MAX_MACHINES:
            raise ConfigurationError(f"a corridor has 1 to {MAX_MACHINES:,} machines, not {machines:,}")
        self.seed = seed
        self.move_day = move_day
        self.machines = _machines(seed, machines)

    @property
    def moved_machine_ids(self) -> tuple[str, ...]:
        """The ids of the machines that change sites on the move day."""
        return tuple(machine.machine_id for machine in self.machines if machine.first_site != machine.later_site)

    def sites_on(self, day: date) -> list[str]:
        """Return the site of each machine on a local day, in the order of `machines`."""
        moved = day >= self.move_day
        return [machine.later_site if moved else machine.first_site for machine in self.machines]

    def machines_on(self, day: date) -> pl.DataFrame:
        """Return the machines reference for a local day: one row per machine, with the machines contract's columns."""
        return pl.DataFrame(
            {
                "machine_id": [machine.machine_id for machine in self.machines],
                "site_location": self.sites_on(day),
                "installation_year": [machine.installation_year for machine in self.machines],
                "machine_type": [machine.machine_type for machine in self.machines],
            }
        )

    def transactions(self, day: date, rows: int) -> pl.DataFrame:
        """Return all rows that the ERP exports for one local day, in chronological order.

        Args:
            day: The local day (Africa/Douala), 2020-01-01 or later.
            rows: The number of rows, at most 10,000,000.

        Returns:
            A frame of `rows` rows with the columns of `TRANSACTION_SCHEMA`: `date` is local text
            'YYYY-MM-DD HH:MM:SS', `volume_transferred` is in tonnes (null: no reading). The numbers of `TRX-<n>` are
            consecutive. With three rows or more, the last one is seconds after the next midnight, as in real exports.

        Raises:
            ConfigurationError: The day or the number of rows is out of range.
        """
        return pl.concat(self.transaction_chunks(day, rows, chunk_rows=max(rows, 1)))

    def transaction_chunks(self, day: date, rows: int, *, chunk_rows: int = CHUNK_ROWS) -> Iterator[pl.DataFrame]:
        """Yield the rows of `transactions` in frames of at most `chunk_rows` rows, for days larger than the memory.

        The chunk size does not change the rows. A day without rows yields one empty frame.

        Raises:
            ConfigurationError: The day or the number of rows is out of range.
        """
        _check_day(day, rows)
        shares, trouble = self._traffic(day)
        for start in range(0, max(rows, 1), chunk_rows):
            yield self._slice(day, rows, start, min(start + chunk_rows, rows), shares, trouble)

    def transaction_slice(self, day: date, rows: int, start: int, stop: int) -> pl.DataFrame:
        """Return the rows [start, stop) of `transactions(day, rows)` without computing the others.

        Raises:
            ConfigurationError: The day, the number of rows or the slice is out of range.
        """
        check_slice(day, rows, start, stop)
        return self._slice(day, rows, start, stop, *self._traffic(day))

    def draws(self, sequence: tuple[object, ...], day: date, start: int, stop: int) -> pl.DataFrame:
        """Return the random part of reports [start, stop) of a sequence, with the machines' traffic on a given day.

        Args:
            sequence: The name of the sequence within this corridor.
            day: The local day, which determines the sites of the machines.
            start: The number of the first report.
            stop: The number after the last report.

        Returns:
            A frame of `row` (the number), `machine_id`, `trouble_share` of its site, and doubles in [0, 1) named
            `moment`, `status`, `volume` and `reading`, which `local_time`, `status` and `volume_t` read.
        """
        return self._draws(sequence, start, stop, *self._traffic(day))

    def _traffic(self, day: date) -> tuple[pl.Series, pl.Series]:
        """Return each machine's cumulative share of the traffic and its share of trouble on a day."""
        sites = self.sites_on(day)
        crowd = Counter(sites)
        shares = pl.Series([_TERMINAL_BY_NAME[site].traffic_share / crowd[site] for site in sites])
        trouble = pl.Series([_TERMINAL_BY_NAME[site].trouble_share for site in sites])
        return (shares / shares.sum()).cum_sum(), trouble

    def _draws(
        self, sequence: tuple[object, ...], start: int, stop: int, shares: pl.Series, trouble: pl.Series
    ) -> pl.DataFrame:
        def draw(what: str) -> pl.Series:
            return uniform((self.seed, *sequence, what), start, stop)

        picked = shares.search_sorted(draw("machine"), side="right").clip(upper_bound=len(self.machines) - 1)
        ids = pl.Series([machine.machine_id for machine in self.machines])
        return pl.DataFrame(
            {
                "row": pl.int_range(start, stop, eager=True),
                "machine_id": ids.gather(picked),
                "trouble_share": trouble.gather(picked),
                "moment": draw("moment"),
                "status": draw("status"),
                "volume": draw("volume"),
                "reading": draw("reading"),
            },
            schema_overrides={"machine_id": pl.String},
        )

    def _slice(
        self, day: date, rows: int, start: int, stop: int, shares: pl.Series, trouble: pl.Series
    ) -> pl.DataFrame:
        draws = self._draws((day,), start, stop, shares, trouble)
        return draws.select(
            transaction_id=pl.format("TRX-{}", pl.col("row") + first_number(day)),
            machine_id="machine_id",
            date=local_time(day, rows).dt.strftime("%Y-%m-%d %H:%M:%S"),
            volume_transferred=volume_t(),
            status_code=status(),
        )


def _machines(seed: int, count: int) -> tuple[Machine, ...]:
    places, types, years = (uniform((seed, "machines", what), 0, count) for what in ("site", "type", "year"))
    first_sites = [_first_site(index, place) for index, place in enumerate(places)]
    moving = _moving(seed, count)
    first_year, last_year = _INSTALLATION_YEARS
    return tuple(
        Machine(
            machine_id=f"MCH-{index + 1:03d}",
            machine_type=MACHINE_TYPES[int(types[index] * len(MACHINE_TYPES))],
            installation_year=first_year + int(years[index] * (last_year - first_year + 1)),
            first_site=site,
            later_site=_next_site(site) if index in moving else site,
        )
        for index, site in enumerate(first_sites)
    )


def _first_site(index: int, place: float) -> str:
    if index < len(TERMINALS):  # so that every terminal has a machine
        return TERMINALS[index].station_name
    passed = 0.0
    for terminal in TERMINALS:
        passed += terminal.traffic_share
        if place < passed:
            return terminal.station_name
    return TERMINALS[-1].station_name


def _next_site(site: str) -> str:
    names = [terminal.station_name for terminal in TERMINALS]
    return names[(names.index(site) + 1) % len(names)]


def _moving(seed: int, count: int) -> set[int]:
    """Choose the machines that move, but not the first one of any terminal."""
    movable = max(0, count - len(TERMINALS))
    order = uniform((seed, "machines", "moving"), 0, movable).arg_sort().head(math.ceil(movable * _MOVING_SHARE))
    return {len(TERMINALS) + index for index in order}


def _check_day(day: date, rows: int) -> None:
    if day < _FIRST_DAY:
        raise ConfigurationError(f"the simulated corridor opened on {_FIRST_DAY}; {day} is earlier")
    if not 0 <= rows <= MAX_DAY_ROWS:
        raise ConfigurationError(f"a simulated day has 0 to {MAX_DAY_ROWS:,} rows, not {rows:,}")


def check_slice(day: date, rows: int, start: int, stop: int) -> None:
    """Refuse a slice that is not part of a possible day.

    Raises:
        ConfigurationError: The day, the number of rows or the slice is out of range.
    """
    _check_day(day, rows)
    if not 0 <= start <= stop <= rows:
        raise ConfigurationError(f"a day of {rows:,} rows has no rows [{start:,}, {stop:,})")


def first_number(day: date) -> int:
    """Return the first transaction number of a day; blocks of fixed size keep the numbers of days apart."""
    return (day - _FIRST_DAY).days * MAX_DAY_ROWS


def local_time(day: date, rows: int) -> pl.Expr:
    """Return the local times: in order, sparse at night, with the first and last rows right at midnight."""
    passed = (pl.col("row") + pl.col("moment")) / max(rows, 1)
    night = passed / _NIGHT_TRAFFIC_SHARE * _NIGHT_END_S
    daytime = _NIGHT_END_S + (passed - _NIGHT_TRAFFIC_SHARE) / (1 - _NIGHT_TRAFFIC_SHARE) * (_DAY_S - _NIGHT_END_S)
    second = pl.when(passed < _NIGHT_TRAFFIC_SHARE).then(night).otherwise(daytime).cast(pl.Int64).clip(0, _DAY_S - 1)
    if rows >= len(_MIDNIGHT_S):
        for row, second_of_midnight in zip((0, rows - 2, rows - 1), _MIDNIGHT_S, strict=True):
            second = pl.when(pl.col("row") == row).then(second_of_midnight).otherwise(second)
    return pl.lit(day).cast(pl.Datetime("ms")) + pl.duration(seconds=second, time_unit="ms")


def status() -> pl.Expr:
    """Return OK, or WARN and ERR in the site's share of trouble."""
    warn_share = pl.col("trouble_share") * _WARN_SHARE_OF_TROUBLE
    return (
        pl.when(pl.col("status") < warn_share)
        .then(pl.lit("WARN"))
        .when(pl.col("status") < pl.col("trouble_share"))
        .then(pl.lit("ERR"))
        .otherwise(pl.lit("OK"))
    )


def volume_t() -> pl.Expr:
    """Return tonnes to the kilogram: 10..95 normally, 5..95 and mostly low in trouble, sometimes no reading."""
    good = 10 + 85 * pl.col("volume")
    poor = 5 + 90 * pl.col("volume") * pl.col("volume")
    tonnes = pl.when(pl.col("status") < pl.col("trouble_share")).then(poor).otherwise(good)
    kilograms = (tonnes * 1_000).cast(pl.Int64)
    return pl.when(pl.col("reading") >= _EMPTY_VOLUME_SHARE).then(
        (kilograms / 1_000).round(3)
    )  # the quotient alone may end in …0005
