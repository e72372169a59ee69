"""CSV files of the Pollock benchmark (github.com/HPI-Information-Systems/Pollock), read like a source.

    python -m benchmarks.pollock CHECKOUT [--alone] [--worst 20]

Each file is a table polluted in one way; the benchmark's ten measures (success; precision, recall and F1 of header,
records and cells) compare the result with the clean table. A refused file scores 0, and a quarantined row counts as
not read. Texts are compared without the benchmark's normalisation of numbers and dates, which can only lower the
score. Empty columns without a header at the end of a table do not count. The reader gets the options that a catalog may
set, with the benchmark's values: the columns, the lines above them, delimiter, quote and escape; with `--alone`, none.
"""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from freight.contracts import Column, Contract
from freight.errors import SourceError
from freight.readers import find_files, reader_for

MEASURES = 10
Table = list[list[str]]


def contract_of(parameters: dict[str, Any]) -> Contract:
    """Return a contract that knows the columns of a file."""
    names = parameters["column_names"] or [f"column_{place}" for place in range(int(parameters["n_columns"]) or 1)]
    columns = tuple(Column(name.strip(' "'), "text", "A column of the benchmark.") for name in dict.fromkeys(names))
    return Contract("pollock", 1, "pollock", (columns[0].name,), columns, freshness_s=1, load_order=1)


def options_of(parameters: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    """Return the catalog options for a file; none if the reader has to find out alone."""
    if alone:
        return {}
    signs = {"delimiter": parameters["delimiter"], "quote": parameters["quotechar"], "escape": parameters["escapechar"]}
    options = {name: sign for name, sign in signs.items() if len(sign) == 1}
    if options.get("escape") == options.get("quote", '"'):
        del options["escape"]  # a quote is doubled
    if not parameters["column_names"]:
        return options
    above = int(parameters["preamble_lines"]) + int(parameters["header_lines"])
    return {**options, "columns": parameters["column_names"], "skip_lines": above}


def read_table(path: Path, parameters: dict[str, Any], *, alone: bool) -> Table:
    """Read a file.

    Raises:
        SourceError: The file is refused.
    """
    contract, options = contract_of(parameters), options_of(parameters, alone=alone)
    table = reader_for("csv")(find_files(str(path), path.parent)[0], contract, options)
    rows = (row[:-1] for batch in table.batches for row in batch.rows.iter_rows())
    return [list(table.header), *map(list, rows)]


def score(clean: Table, read: Table) -> float:
    """Return the sum of the ten measures."""
    if not clean:
        return MEASURES
    header = _agreement(clean[0], read[0] if read else [])
    records = _agreement(map("".join, clean[1:]), map("".join, read[1:]))
    cells = _agreement((cell for row in clean for cell in row), (cell for row in read for cell in row))
    return 1 + header + records + cells


def _agreement(clean: Iterable[str], read: Iterable[str]) -> float:
    """Return the precision + recall + F1 of a bag of texts."""
    wanted, found = Counter(clean), Counter(read)
    if not wanted:
        return 3.0
    common = (wanted & found).total()
    if not common:
        return 0.0
    recall, precision = common / wanted.total(), common / found.total()
    return precision + recall + 2 * precision * recall / (precision + recall)


def score_of(folder: Path, name: str, *, alone: bool) -> tuple[float, str]:
    """Return the score of a file, and the reason if it was refused."""
    with (folder / "clean" / name).open(encoding="utf-8-sig", newline="") as stream:
        clean = _without_empty_end([*csv.reader(stream)])
    parameters = json.loads((folder / "parameters" / f"{name}_parameters.json").read_text(encoding="utf-8"))
    try:
        return score(clean, read_table(folder / "csv" / name, parameters, alone=alone)), ""
    except SourceError as error:
        return (MEASURES if not clean else 0.0), f"{error.fault}: {error.message}"


def _without_empty_end(table: Table) -> Table:
    """Return a table without the columns at its end that are empty, header included: the reader leaves them out."""
    widths = [max((number for number, cell in enumerate(row, start=1) if cell), default=0) for row in table]
    return [row[: max(widths, default=0)] for row in table]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the simple and the weighted score, and the files with the lowest scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--alone", action="store_true", help="give the reader no options")
    parser.add_argument("--worst", type=int, default=20, help="the number of worst files to list")
    asked = parser.parse_args(arguments)
    folder = asked.checkout / "polluted_files"
    weights = json.loads((asked.checkout / "pollock_weights.json").read_text(encoding="utf-8"))
    files = sorted((folder / "csv").glob("*.csv"))
    scores = {path.name: score_of(folder, path.name, alone=asked.alone) for path in files}
    total = sum(weights.get(name, 0) for name in scores)
    weighted = sum(found * weights.get(name, 0) for name, (found, _) in scores.items()) / total
    print(
        f"{len(scores)} files, simple {sum(s for s, _ in scores.values()) / len(scores):.3f}, weighted {weighted:.3f}"
    )
    print(f"{sum(bool(why) for _, why in scores.values())} refused")
    for name, (found, why) in sorted(scores.items(), key=lambda item: item[1][0])[: asked.worst]:
        print(f"{found:6.2f} {weights.get(name, 0) / total:8.4f} {name} {why[:150]}")


if __name__ == "__main__":
    main()
