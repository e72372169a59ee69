"""Writes the data dictionary: `python -m freight.warehouse.dictionary > docs/data-dictionary.md`.

Each description is written once: that of a dataset's column in its contract, that of another table in the schema, and
that of a view in the comment at the top of its SQL. A column of a view takes the description of the first relation of
`-- Columns as in:` that has it, unless the comment describes it: `--   name (type, unit): meaning`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from freight.contracts import LOCAL_ZONE, Column, Contract, contracts
from freight.contracts.rules import cell_rules, row_rules
from freight.errors import ConfigurationError
from freight.outward import markdown
from freight.warehouse.migrate import views
from freight.warehouse.schema import ORIGIN_NAMES, SQL_TYPES, UtcInstant, metadata, origin_columns
from freight.words import counted

INTRODUCTION = f"""# Data dictionary

Generated from the contracts, the schema and the views; a test compares them. Instants are in UTC; a day is a local day
of {LOCAL_ZONE}. Query the views: they are the same on SQLite and PostgreSQL, and stay when tables change. Flags of
views are 1 or 0, and a share is between 0 and 1.
"""
OF_DATASETS = """# Tables of datasets

In addition to its columns, every row has those of its [origin](#origin-of-a-row).
"""
OF_ORIGINS = "## Origin of a row\n"
OF_OTHERS = "# Other tables\n"

SHARE = "share"
TYPES: Mapping[type[sa.types.TypeEngine[Any]], str] = {
    sa.Text: "text",
    sa.BigInteger: "integer",
    sa.Double: "number",
    UtcInstant: "instant",
    sa.Date: "date",
    sa.Boolean: "boolean",
    sa.LargeBinary: "bytes",
}
UNITS = {"_us": "microseconds", "_s": "seconds", "_bytes": "bytes", "total_volume": "tonnes", "capacity": "messages/s"}

DESCRIBED = re.compile(r"^--   (?P<name>\w+) \((?P<type>\w+)(?:, (?P<unit>[^)]+))?\): (?P<meaning>.+)$")
AS_IN = "-- Columns as in: "


@dataclass(frozen=True)
class Described:
    """A column, for people.

    Attributes:
        type: A type of contracts, or `bytes`.
        unit: The unit; empty for codes, counts and names.
        meaning: The meaning in one sentence.
    """

    type: str
    unit: str
    meaning: str


Columns = dict[str, Described]


def render(datasets: Iterable[Contract]) -> str:
    """Return the dictionary of all views and tables as Markdown.

    Args:
        datasets: The contracts of the datasets, and of a new one that has no table yet.

    Raises:
        ConfigurationError: A column of a view or a table has no description.
    """
    others = [table for name, table in metadata.tables.items() if name not in _of_contracts()]
    parts = [INTRODUCTION, "# Views\n", *(_view(name) for name in views())]
    parts += [OF_DATASETS, *map(_dataset, datasets), _origin(), OF_OTHERS, *map(_table, others)]
    return "\n".join(parts)


def described(name: str) -> Columns:
    """Return the columns of a view or a table, in their order.

    Raises:
        ConfigurationError: A column has no description.
    """
    return _described_view(name) if name in views() else _described_table(name)


def typed_columns(view: str) -> list[sa.ColumnClause[Any]]:
    """Return the columns of a view with their types, which SQLite does not report."""
    return [sa.column(name, SQL_TYPES[column.type]) for name, column in described(view).items()]


# --- Views ----------------------------------------------------------------------------------------------------------


def _described_view(name: str) -> Columns:
    own, relations = _comment_of(name)
    inherited: Columns = {}
    for relation in reversed(relations):
        inherited |= described(relation)
    names = _columns_of_views()[name]
    missing = [column for column in names if column not in own | inherited]
    if missing or not own.keys() <= set(names):
        raise ConfigurationError(f"{name}: {missing} have no description, {own.keys() - set(names)} no column")
    return {column: own.get(column) or inherited[column] for column in names}


def _comment_of(name: str) -> tuple[Columns, list[str]]:
    """Return the columns that the comment of a view describes, and the relations of its other columns."""
    lines = views()[name].splitlines()
    own = {found["name"]: _found(found) for line in lines if (found := DESCRIBED.match(line))}
    relations = [line.removeprefix(AS_IN).rstrip(".") for line in lines if line.startswith(AS_IN)]
    return own, [relation for listed in relations for relation in listed.split(", ")]


def _found(found: re.Match[str]) -> Described:
    return Described(found["type"], found["unit"] or "", found["meaning"])


def _row_of_view(name: str) -> str:
    """Return the text at the top of a view: what a row is, and what to know."""
    lines: list[str] = []
    for line in views()[name].splitlines():
        if line.startswith(AS_IN) or DESCRIBED.match(line) or not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").removeprefix(" "))
    return _paragraph(lines)


def _paragraph(lines: Iterable[str]) -> str:
    """Return lines of a comment as Markdown; indented lines are a list."""
    parts = []
    for is_list, part in groupby(lines, key=lambda line: line.startswith("  ")):
        parts.append("\n".join(f"- {markdown(line.strip())}" if is_list else markdown(line) for line in part))
    return "\n\n".join(parts)


@cache
def _columns_of_views() -> dict[str, list[str]]:
    """Return the columns of each view, as an empty warehouse has them."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        for name, query in views().items():
            connection.exec_driver_sql(f"CREATE VIEW {name} AS\n{query}")
        inspector = sa.inspect(connection)
        return {name: [column["name"] for column in inspector.get_columns(name)] for name in views()}


def _view(name: str) -> str:
    rows = (_cells(column, described) for column, described in _described_view(name).items())
    return "\n".join([f"## `{name}`", "", _row_of_view(name), "", *_rows(rows), ""])


# --- Tables ---------------------------------------------------------------------------------------------------------


def _described_table(name: str) -> Columns:
    of_contract = _of_contracts().get(name, {})
    return {column.name: of_contract.get(column.name) or _described(column) for column in metadata.tables[name].c}


@cache
def _of_contracts() -> dict[str, Columns]:
    return {
        contract.table: {
            column.name: Described(column.dtype, column.unit, column.description)
            for column in (*contract.columns, *contract.derived)
        }
        for contract in contracts().values()
    }


def _described(column: sa.Column[Any]) -> Described:
    if not column.doc:
        raise ConfigurationError(f"{column}: describe the column, in `doc` of the schema")
    kind = next(name for type_, name in TYPES.items() if isinstance(column.type, type_))
    unit = next((unit for end, unit in UNITS.items() if column.name.endswith(end)), "")
    return Described(kind, unit, column.doc)


def _table(table: sa.Table) -> str:
    rows = (_cells(column, described) for column, described in _described_table(table.name).items())
    return "\n".join([f"## `{table.name}`", "", f"One row: {table.info['row']}.", "", *_rows(rows), ""])


def _origin() -> str:
    rows = (_cells(column.name, _described(column)) for column in origin_columns())
    return "\n".join([OF_ORIGINS, *_rows(rows), ""])


# --- Tables of datasets ---------------------------------------------------------------------------------------------


def _dataset(contract: Contract) -> str:
    lines = [
        f"## {contract.dataset}: `{contract.table}`",
        "",
        f"Key: {', '.join(f'`{name}`' for name in contract.business_key)}. "
        f"Stale after {counted(contract.freshness_s // 3_600, 'hour')}. Contract version {contract.version}."
        + (f" Kept for {contract.retention_days} days." if contract.retention_days else "")
        + (f" Drift: {contract.drift}." if contract.drift != "freeze" else ""),
        "",
        "| column | type | unit | rules | meaning | headers understood |",
        "|---|---|---|---|---|---|",
        *(_row(column) for column in contract.columns),
        *(_row(column, derived=True) for column in contract.derived),
        *_of_history(contract),
        "",
        *_row_rules(contract),
    ]
    return "\n".join(lines)


def _row(column: Column, *, derived: bool = False) -> str:
    headers = "derived" if derived else ", ".join(f"`{markdown(alias)}`" for alias in column.aliases)
    cells = (f"`{column.name}`", column.dtype, column.unit, _rules(column), markdown(column.description), headers)
    return _line(cells)


def _of_history(contract: Contract) -> Iterator[str]:
    """Yield the columns that the warehouse adds to those of a contract, as for a machine's history."""
    for column in metadata.tables[contract.table].c if contract.table in metadata.tables else ():
        if column.name not in {*contract.stored_names, *ORIGIN_NAMES}:
            added = _described(column)
            yield _line((f"`{column.name}`", added.type, added.unit, "", markdown(added.meaning), "derived"))


def _rules(column: Column) -> str:
    may_be_empty = "" if column.required else "may be empty"
    may_be_absent = "header may be absent" if column.optional else ""
    return "; ".join(filter(None, [may_be_empty, *(rule.stated for rule in cell_rules(column)), may_be_absent]))


def _row_rules(contract: Contract) -> list[str]:
    stated = [f"- {rule.stated} (`{rule.key.reason}`)" for rule in row_rules(contract)]
    return ["In each row:", "", *stated, ""] if stated else []


# --- Markdown -------------------------------------------------------------------------------------------------------


def _rows(rows: Iterable[Iterable[str]]) -> list[str]:
    return ["| column | type | unit | meaning |", "|---|---|---|---|", *map(_line, rows)]


def _cells(name: str, described: Described) -> tuple[str, ...]:
    return f"`{name}`", described.type, described.unit, markdown(described.meaning)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(render(contracts().values()), end="")
