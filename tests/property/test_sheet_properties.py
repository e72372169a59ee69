"""Workbooks with several sheets, hidden parts, merged cells, notes and totals: each row loads once, or is refused."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from tests.lib.examples import examples
from tests.lib.outcomes import outcome_of
from tests.lib.workbooks import WRITERS, Look

State = Literal["visible", "hidden", "veryHidden"]
HEADER = ["ID transaction", "Machine", "Date", "Volume (t)", "Statut"]
NOTES: list[list[Any]] = [["Terminal de Douala"], ["Édité le 1er mars", None, None, "Responsable : A. Mbarga"], []]
AT = datetime(2026, 2, 1, 10)
AHEAD = timedelta(hours=1)  # of local time in Douala before UTC
MACHINE_COLUMN = 2


@dataclass(frozen=True)
class Month:
    """A sheet of the table as its author sees it.

    Attributes:
        state: Whether it is shown.
        notes: The number of lines above its header.
        volumes: The volume of each row.
        hidden_rows: The rows that are hidden, counted from the first below the header.
        block: The rows over which the cells of the machine are merged; their count, from the first below the header.
        total: Whether a line with the total follows the rows.
        order: The order of its columns.
    """

    state: State
    notes: int
    volumes: Sequence[int]
    hidden_rows: frozenset[int]
    block: int
    total: bool
    order: Sequence[int]

    def cells(self, numbers: Sequence[int]) -> list[list[Any]]:
        """Return the rows of the sheet; each row of the table has a number of its own."""
        rows = [self._row(place, number) for place, number in enumerate(numbers)]
        total = [["TOTAL", None, None, sum(self.volumes), None]] if self.total else []
        table = [[line[column] for column in self.order] for line in [HEADER, *rows, *total]]
        return [*NOTES[: self.notes], *table]

    def _row(self, place: int, number: int) -> list[Any]:
        machine = None if 0 < place < self.block else f"MCH-{100 + number}"
        return [f"TRX-{number}", machine, AT + timedelta(minutes=number), self.volumes[place], "OK"]

    def meant(self, numbers: Sequence[int]) -> dict[str, tuple[Any, ...]]:
        """Return the rows that the author means, by their keys."""
        machines = [numbers[0] if place < self.block else number for place, number in enumerate(numbers)]
        return {
            f"TRX-{number}": (f"MCH-{100 + machine}", at_utc(number), volume)
            for number, machine, volume in zip(numbers, machines, self.volumes, strict=True)
        }

    @property
    def look(self) -> Look:
        """What the sheet hides and merges."""
        first = self.notes + 2
        column = [*self.order].index(MACHINE_COLUMN - 1) + 1
        merged = [(first, first + self.block - 1, column, column)] if self.block > 1 else []
        return Look(self.state, rows=sorted(first + row for row in self.hidden_rows), merged=merged)


def at_utc(number: int) -> datetime:
    return (AT + timedelta(minutes=number) - AHEAD).replace(tzinfo=UTC)


@st.composite
def months(draw: st.DrawFn) -> Month:
    volumes = draw(st.lists(st.integers(0, 5_000), min_size=1, max_size=4))
    return Month(
        draw(st.sampled_from(("visible", "visible", "hidden", "veryHidden"))),
        draw(st.integers(0, len(NOTES))),
        volumes,
        draw(st.frozensets(st.integers(0, len(volumes) - 1), max_size=1)),
        draw(st.integers(1, len(volumes))),
        draw(st.booleans()),
        draw(st.permutations(range(len(HEADER)))),
    )


@given(st.sampled_from([*WRITERS]), st.lists(months(), min_size=1, max_size=4), st.booleans())
@examples(10_000, quick=100)
def test_each_row_of_the_shown_sheets_loads_once_as_it_is_meant(
    kind: str, sheets: list[Month], has_other_sheet: bool
) -> None:
    numbers = count(1)
    numbered = [[next(numbers) for _ in month.volumes] for month in sheets]
    content = {f"M{place}": month.cells(numbered[place]) for place, month in enumerate(sheets)}
    content |= {"Notes": [["Rien à signaler"]]} if has_other_sheet else {}
    looks = {f"M{place}": month.look for place, month in enumerate(sheets)}
    outcome = outcome_of(f"erp{kind}", written(kind, content, looks), {})
    shown = [place for place, month in enumerate(sheets) if month.state == "visible"]
    if outcome is None:
        assert not shown
        return
    loaded = [row["transaction_id"] for row in outcome.loaded.values()]
    meant = {key: row for place in shown for key, row in sheets[place].meant(numbered[place]).items()}
    assert len(loaded) == len(set(loaded))
    for row in outcome.loaded.values():
        found = (row["machine_id"], row["transaction_at"], row["volume_transferred_t"])
        assert found == meant[row["transaction_id"]]
    assert set(loaded) == meant.keys()
    assert len(outcome.quarantined) == sum(sheets[place].total for place in shown)


def written(kind: str, sheets: dict[str, list[list[Any]]], looks: dict[str, Look]) -> bytes:
    """Return the bytes of a workbook; a program shows at least one of its sheets."""
    if not any(look.state == "visible" for look in looks.values()) and "Notes" not in sheets:
        sheets = {**sheets, "Notes": [["Rien à signaler"]]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"erp{kind}"
        WRITERS[kind](path, sheets, looks=looks)
        return path.read_bytes()
