"""What is written for a new source, as a person of this project would write it."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from freight.contracts import Column, Contract
from freight.errors import ConfigurationError
from freight.types import LoadCounts
from freight.warehouse.schema import ORIGIN_NAMES, is_key_text

LINE_CHARS, COMMENT_CHARS = 120, 108

MIGRATION_TYPES = {
    "text": "sa.Text()",
    "integer": "BIG",
    "number": "sa.Double()",
    "instant": "INSTANT",
    "date": "sa.Date()",
    "boolean": "sa.Boolean()",
}


def contract_module(contract: Contract, to_decide: Mapping[str, Sequence[str]]) -> str:
    """Return the module of a contract; what a person has to decide stands above its column."""
    columns = "".join(
        f"{_comments(to_decide.get(column.name, ()))}{_call('Column', _column_arguments(column))},\n"
        for column in contract.columns
    )
    days = contract.freshness_s // 86_400
    return f'''"""{_title(contract.dataset)}."""

from freight.contracts.contract import Column, Contract

{_comments(to_decide.get("", ()))}CONTRACT = Contract(
    dataset={contract.dataset!r},
    version={contract.version},
    table={contract.table!r},
    business_key={contract.business_key!r},
    freshness_s={days} * 86_400,
    load_order={contract.load_order},
    columns=({columns}),
)
'''


def _title(slug: str) -> str:
    return slug.replace("_", " ").capitalize()


def _comments(questions: Sequence[str]) -> str:
    lines = (line for question in questions for line in wrap(f"To decide: {question}.", COMMENT_CHARS))
    return "".join(f"# {line}\n" for line in lines)


def _column_arguments(column: Column) -> list[str]:
    plain = Column(column.name, column.dtype, column.description)
    stated = [field.name for field in fields(column)[3:] if getattr(column, field.name) != getattr(plain, field.name)]
    named = [f"{name}={getattr(column, name)!r}" for name in stated]
    return [repr(column.name), repr(column.dtype), repr(column.description), *named]


def _call(name: str, arguments: Sequence[str]) -> str:
    return f"{name}({', '.join(arguments)})"


def migration(contract: Contract, revision: str, before: str) -> str:
    """Return the migration that makes the table of a contract: its columns, then where a row came from."""
    stated = [_sql_column(column, contract) for column in contract.columns]
    origins = [_call("sa.Column", [f'"{name}"', "BIG", "nullable=False"]) for name in ORIGIN_NAMES]
    columns = "".join(f"        {column},\n" for column in (*stated, *origins))
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
    op.create_table(
        "{contract.table}",
{columns}    )
'''


def _sql_column(column: Column, contract: Contract) -> str:
    arguments = [f'"{column.name}"', _sql_kind(column, contract)]
    if column.name in contract.business_key:
        arguments.append("primary_key=True")
    elif column.required:
        arguments.append("nullable=False")
    return _call("sa.Column", arguments)


def _sql_kind(column: Column, contract: Contract) -> str:
    return "KEY" if is_key_text(column, contract) else MIGRATION_TYPES[column.dtype]


def catalog_entry(entry: Mapping[str, Any]) -> list[str]:
    """Return the lines of an entry of the catalog, as they stand below `- `."""
    return [f"{key}: {_yaml(value)}" for key, value in entry.items()]


def _yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        # Texts in quotes: a bare `;` would be right and look wrong.
        stated = (f"{key}: {json.dumps(of, ensure_ascii=False)}" for key, of in value.items())
        return f"{{{', '.join(stated)}}}"
    return yaml.safe_dump({"": value}, allow_unicode=True, width=1_000).partition(": ")[2].strip()


def source_test(entry: Mapping[str, Any], sample: str, ends: LoadCounts, row: Mapping[str, Any], now: datetime) -> str:
    """Return the test that loads a sample.

    Args:
        entry: of the catalog.
        sample: name of its file in the folder `data/<source>` beside the test.
        ends: how the rows of the sample end.
        row: one of them, as the warehouse has it.
        now: the instant of the load.
    """
    name = entry["name"]
    stored = ", ".join(f"{key!r}: {_literal(value)}" for key, value in row.items())
    days = "date, datetime" if any(type(value) is date for value in row.values()) else "datetime"
    return f'''"""{_title(name)}: a sample of the source loads, on both engines."""

from datetime import UTC, {days}
from pathlib import Path

from freight.types import LoadCounts
from tests.conftest import WarehouseUnderTest
from tests.lib.corridor import Corridor

SAMPLE = Path(__file__).with_name("data") / {name!r} / {sample!r}
TAKEN_AT = {_literal(now)}


def test_the_sample_of_{name}_loads(tmp_path: Path, warehouse: WarehouseUnderTest) -> None:
    corridor = Corridor(tmp_path, warehouse.engine, now=TAKEN_AT)
    corridor.{_call("add_source", _source_arguments(entry))}
    (outcome,) = corridor.load().outcomes
    assert outcome.counts == {_call("LoadCounts", _filled(ends))}, outcome.message
    assert {{{stored}}} in corridor.stored({entry["dataset"]!r})
'''


def _source_arguments(entry: Mapping[str, Any]) -> list[str]:
    named = {key: value for key, value in entry.items() if key not in ("name", "dataset", "reader", "location")}
    places = [repr(entry[key]) for key in ("name", "dataset", "reader")]
    return [*places, "SAMPLE.as_posix()", *(f"{key}={value!r}" for key, value in named.items())]


def _filled(counts: LoadCounts) -> list[str]:
    stated = {field.name: getattr(counts, field.name) for field in fields(counts)}
    return [f"{name}={count}" for name, count in stated.items() if count]


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        parts = [utc.year, utc.month, utc.day, utc.hour, utc.minute]
        parts += [utc.second] if utc.second or utc.microsecond else []
        parts += [utc.microsecond] if utc.microsecond else []
        return f"datetime({', '.join(map(str, parts))}, tzinfo=UTC)"
    if isinstance(value, date):
        return f"date({value.year}, {value.month}, {value.day})"
    return repr(value)


def formatted(text: str, name: str, root: Path) -> str:
    """Return Python as ruff writes it in this project; texts of a sample may make lines longer than it wants.

    Raises:
        ConfigurationError: there is no ruff.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", name, "-"],
        cwd=root,
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        said = re.sub(r"\s+", " ", done.stderr).strip()
        raise ConfigurationError(f"ruff cannot format {name}: {said}. Run `make check` once: it installs ruff")
    is_long = any(len(line) > LINE_CHARS for line in done.stdout.splitlines())
    return f"# ruff: noqa: E501\n{done.stdout}" if is_long else done.stdout
