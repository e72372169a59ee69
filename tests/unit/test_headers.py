"""What a message shows of a header: the names of columns, and nothing that may be somebody's secret."""

import polars as pl
import pytest

from freight.contracts import contract_for
from freight.contracts.headers import listed, match_header, name_in, shown
from freight.drift.columns import FirstRows, describe_drift
from freight.validation import Locale
from tests.lib.corridor import NOW

NAMES = [
    "transaction_id",
    " Volume transféré (t) ",
    "\ufeffN° de série",
    "Date d’arrivée",
    "Charge utile\n(kg)",
    "T.U. [%]",
    "prix/unité (€)",
    "R&D #2",
    "الوزن",
    "column_2026_02_01",
]
NO_NAMES = [
    "root:x:0:0:root:/root:/bin/bash",
    "root:$6$Wq1x$abcdefghijkl:19000:0:99999:7:::",
    "db.example:5432:dpa:reader:hunter2",
    "AccountKey=abc",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9u",
    "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "123456789",
    "699123456",
    "2026-02-01 10:00:00",
    "jean@example.org",
    "https://example.org/?sig=abc",
    "<!channel>",
    'x"); DROP TABLE fact_transactions; --',
    "a\0b",
    "",
    "x" * 41,
    "Jean Dupont 12 rue de la Paix Douala Cameroun",
]


@pytest.mark.parametrize("cell", NAMES)
def test_what_reads_like_the_name_of_a_column_is_shown(cell: str) -> None:
    assert (shown(cell), name_in(cell)) == (repr(cell), cell)


@pytest.mark.parametrize("cell", NO_NAMES)
def test_of_anything_else_a_message_tells_only_how_long_it_is(cell: str) -> None:
    told = f"a cell of {len(cell):,} characters" if cell else "a cell without a name"
    assert (shown(cell), name_in(cell)) == (told, None)


@pytest.mark.parametrize("known", [(), ("transaction_id",)], ids=["of no known column", "of a known column"])
def test_no_message_about_a_header_shows_what_is_none(known: tuple[str, ...]) -> None:
    header = (*NO_NAMES, *known)
    match = match_header(header, contract_for("transactions"))
    sample = FirstRows(rows_of(len(header)), Locale(), NOW)
    told = str(describe_drift(match, header, sample, (), "dpa retry"))
    assert "a cell of 31 characters" in told
    for cell in NO_NAMES:
        assert not cell or repr(cell)[1:-1] not in told


def rows_of(width: int) -> pl.DataFrame:
    return pl.DataFrame({str(position): [f"TRX-{row}" for row in range(10)] for position in range(width)})


def test_few_cells_are_shown_of_a_header_of_which_none_is_known() -> None:
    names = [f"c{number}" for number in range(30)]
    sample = FirstRows(pl.DataFrame(), Locale(), NOW)
    of_another = str(describe_drift(match_header(names, contract_for("transactions")), (), sample, (), ""))
    assert "it reads 'c0', 'c1', 'c2', 'c3', 'c4' and 25 more" in of_another
    nearly = str(describe_drift(match_header(["machine_id", *names], contract_for("transactions")), (), sample, (), ""))
    assert "'c18' and 11 more" in nearly
    assert listed(names).endswith("'c19' and 10 more")
