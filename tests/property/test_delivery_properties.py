"""Deliveries of few days in any order, some corrected, some twice: of each row, the newest delivery wins."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from freight.care.reconcile import reconcile
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor, nightly
from tests.lib.examples import examples
from tests.lib.tables import empty

DAY = datetime(2026, 2, 20, tzinfo=UTC)
CHANGED = datetime(2026, 2, 22, 9, tzinfo=UTC)
CLOCKS = {0: "", 480: "_0800", 481: "T08:01", 960: "_16h00", 1_020: " 170000"}  # minutes of the day, in file names
one_by_one = examples(2_000, quick=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Delivery:
    """A file: the day and the minute in its name, its last change, and the volume of each transaction."""

    day: int
    minute: int
    change: int
    volumes: Mapping[int, int]

    @property
    def order(self) -> tuple[int, int, int]:
        """What decides which delivery is newer."""
        return self.day, self.minute, self.change

    @property
    def name(self) -> str:
        """The name; the number of the change keeps two files of one time apart."""
        return f"erp{self.change}_{DAY + timedelta(days=self.day):%Y%m%d}{CLOCKS[self.minute]}.csv"

    def write(self, corridor: Corridor, folder: str) -> Path:
        """Write the file, and set its last change."""
        rows = (f"TRX-{key},MCH-001,2026-02-15 10:00:00,{volume},OK" for key, volume in self.volumes.items())
        path = corridor.write_transactions(f"{folder}/{self.name}", rows)
        changed = (CHANGED + timedelta(minutes=self.change)).timestamp()
        os.utime(path, (changed, changed))
        return path


volumes = st.dictionaries(st.integers(1, 4), st.integers(0, 5_000), min_size=1)
deliveries = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([*CLOCKS]), volumes), min_size=1, max_size=5).map(
    lambda drawn: [Delivery(day, minute, change, rows) for change, (day, minute, rows) in enumerate(drawn)]
)


@given(deliveries, st.data())
@one_by_one
def test_of_each_row_the_newest_delivery_wins(
    warehouse: WarehouseUnderTest, files: list[Delivery], data: st.DataObject
) -> None:
    arrival: Sequence[Delivery] = data.draw(st.permutations(files))
    loads_after = data.draw(st.sets(st.integers(0, len(files))))
    vanishes, comes_again = data.draw(st.booleans()), data.draw(st.booleans())
    empty(warehouse.engine)
    with TemporaryDirectory() as folder:
        corridor = nightly(Path(folder), warehouse.engine)
        corridor.sources[-1]["location"] = "in/*.csv"
        for number, delivery in enumerate(arrival):
            path = delivery.write(corridor, "in")
            if number in loads_after:
                corridor.load()
                if vanishes:
                    path.unlink()
        if comes_again:  # the oldest content once more, under the name of an older day
            oldest = min(files, key=lambda delivery: delivery.order)
            Delivery(-1, 0, 9, oldest.volumes).write(corridor, "in")
        corridor.load()
        stored = {row["transaction_id"]: row["volume_transferred_t"] for row in corridor.stored("transactions")}
    in_order = sorted(files, key=lambda delivery: delivery.order)
    assert stored == {f"TRX-{key}": volume for delivery in in_order for key, volume in delivery.volumes.items()}
    assert reconcile(warehouse.engine) == []
