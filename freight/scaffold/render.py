"""Renders the files of a new source in the style of this project."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from textwrap import wrap
from typing import Any

import yaml

from freight.contracts import Column, Contract
from freight.scaffold.layout import LINE_CHARS, Code, Group, call, laid_out, literal, width
from freight.types import LoadCounts
from freight.warehouse.schema import ORIGIN_NAMES, is_key_text

COMMENT_CHARS = 108
WHY_OPTIONS = "# as the sample is read: a file with few rows may not prove it"

MIGRATION_TYPES = {
    "text": "sa.Text()",
    "integer": "BIG",
    "number": "sa.Double()",
    "instant": "INSTANT",
    "date": "sa.Date()",
    "boolean": "sa.Boolean()",
}


def contract_module(contract: Contract, to_decide: Mapping[str, Sequence[str]]) -> str:
    """Return the module of a contract; open questions are comments above their column."""
    stated = [(_comments(to_decide.get(column.name, ()), " " * 8), _column(column)) for column in contract.columns]
    columns = Group("(", stated, ")", always=len(stated) > 1 or any(comments for comments, _ in stated))
    days = contract.freshness_s // 86_400
    return _whole(f'''"""{_title(contract.dataset)}."""

from freight.contracts.contract import Column, Contract

{_comments(to_decide.get("", ()))}CONTRACT = Contract(
    dataset={literal(contract.dataset)},
    version={contract.version},
    table={literal(contract.table)},
{laid_out(literal(contract.business_key), "    business_key=", ",")}
    freshness_s={days} * 86_400,
    load_order={contract.load_order},
{laid_out(columns, "    columns=", ",")}
)
''')


def _whole(text: str) -> str:
    """Return a module; texts from a sample may make its lines longer than ruff allows."""
    is_long = any(width(line) > LINE_CHARS and " " in line.strip() for line in text.split("\n"))
    return f"# ruff: noqa: E501\n{text}" if is_long else text


def _title(slug: str) -> str:
    return slug.replace("_", " ").capitalize()


def _column(column: Column) -> Group:
    plain = Column(column.name, column.dtype, column.description)
    stated = [field.name for field in fields(column)[3:] if getattr(column, field.name) != getattr(plain, field.name)]
    first = map(literal, (column.name, column.dtype, column.description))
    named = {name: literal(getattr(column, name)) for name in stated}
    return call("Column", *first, **named)


def _comments(questions: Sequence[str], margin: str = "") -> str:
    """Return the comments for the lines above some code, with a margin that indents the code's first line."""
    lines = (line for question in questions for line in wrap(f"To decide: {question}.", COMMENT_CHARS))
    return "".join(f"# {line}\n{margin}" for line in lines)


def migration(contract: Contract, revision: str, before: str) -> str:
    """Return the migration that creates the table of a contract: its columns, then the origin of a row."""
    stated = [_sql_column(column, contract) for column in contract.columns]
    origins = [call("sa.Column", literal(name), "BIG", nullable="False") for name in ORIGIN_NAMES]
    parts = [("", part) for part in (literal(contract.table), *stated, *origins)]
    table = Group("op.create_table(", parts, ")", always=True)
    kinds = {_sql_kind(column, contract) for column in contract.columns}
    instant = "INSTANT = sa.DateTime(timezone=True)\n" if "INSTANT" in kinds else ""
    key = 'KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")\n' if "KEY" in kinds else ""
    dialects = "from sqlalchemy.dialects import postgresql\n" if key else ""
    return f'''"""{_title(contract.dataset)}."""

import sqlalchemy as sa
from alembic import op
{dialects}
revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None

{key}BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
{instant}

def upgrade() -> None:
{laid_out(table, "    ")}
'''


def _sql_column(column: Column, contract: Contract) -> Code:
    is_key = column.name in contract.business_key
    named = {"primary_key": "True"} if is_key else {"nullable": "False"} if column.required else {}
    return call("sa.Column", literal(column.name), _sql_kind(column, contract), **named)


def _sql_kind(column: Column, contract: Contract) -> str:
    return "KEY" if is_key_text(column, contract) else MIGRATION_TYPES[column.dtype]


def catalog_entry(entry: Mapping[str, Any]) -> list[str]:
    """Return the lines of a catalog entry, without the leading `- `."""
    lines = [f"{key}: {_yaml(value)}" for key, value in entry.items()]
    if "options" in entry:
        lines.insert([*entry].index("options"), WHY_OPTIONS)
    return lines


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        # Texts are quoted: a bare `;` is correct but looks wrong.
        stated = (f"{key}: {json.dumps(of, ensure_ascii=False)}" for key, of in value.items())
        return f"{{{', '.join(stated)}}}"
    return yaml.safe_dump({"": value}, allow_unicode=True, width=1_000).partition(": ")[2].strip()


def source_test(entry: Mapping[str, Any], sample: str, ends: LoadCounts, row: Mapping[str, Any], now: datetime) -> str:
    """Return the test that loads a sample.

    Args:
        entry: The catalog entry.
        sample: The name of the sample's file in the folder `data/<source>` beside the test.
        ends: The counts of a load of the sample.
        row: One of these rows, as stored in the warehouse.
        now: The instant of the load.
    """
    name = entry["name"]
    days = "date, datetime" if any(type(value) is date for value in row.values()) else "datetime"
    path = call("Path", "Path(__file__).parent", literal("data"), literal(name), literal(sample))
    fixtures = [("tmp_path: ", "Path"), ("warehouse: ", "WarehouseUnderTest")]
    test = Group(f"def test_the_sample_of_{name}_loads(", fixtures, ") -> None:")
    return _whole(f'''"""{_title(name)}: a sample of the source loads on both engines."""

from datetime import UTC, {days}
from pathlib import Path

from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor

{laid_out(path, "SAMPLE = ")}
{laid_out(_value(now), "TAKEN_AT = ")}


{laid_out(test)}
    corridor = Corridor(tmp_path, warehouse.engine, now=TAKEN_AT)
{laid_out(_source(entry), "    ")}
    (outcome,) = corridor.load().outcomes
{laid_out(_counts(ends), "    assert outcome.counts == ", ", outcome.message")}
{laid_out(_row(row), "    stored = ")}
    assert stored in corridor.stored({literal(entry["dataset"])})
''')


def _source(entry: Mapping[str, Any]) -> Group:
    """Return the call that adds the source to a test corridor."""
    options = {"options": literal(entry["options"])} if "options" in entry else {}
    places = [literal(entry[key]) for key in ("name", "dataset", "reader")]
    return call("corridor.add_source", *places, "SAMPLE.as_posix()", **options)


def _counts(counts: LoadCounts) -> Group:
    stated = {field.name: getattr(counts, field.name) for field in fields(counts)}
    return call("LoadCounts", **{name: literal(count) for name, count in stated.items() if count})


def _row(row: Mapping[str, Any]) -> Group:
    return Group("{", [(f'"{column}": ', _value(value)) for column, value in row.items()], "}")


def _value(value: Any) -> Code:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        parts = [utc.year, utc.month, utc.day, utc.hour, utc.minute]
        parts += [utc.second] if utc.second or utc.microsecond else []
        parts += [utc.microsecond] if utc.microsecond else []
        return call("datetime", *map(str, parts), tzinfo="UTC")
    if isinstance(value, date):
        return call("date", *map(str, (value.year, value.month, value.day)))
    return literal(value)
