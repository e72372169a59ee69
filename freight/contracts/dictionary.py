"""Writes the data dictionary from the contracts: `python -m freight.contracts.dictionary > docs/data-dictionary.md`."""

from collections.abc import Iterable

from freight.contracts import Column, Contract, contracts
from freight.contracts.rules import cell_rules, row_rules
from freight.outward import markdown
from freight.words import counted

INTRODUCTION = """# Data dictionary

Generated from the contracts; a test compares the two. Instants are in UTC; a day is a local day of Africa/Douala. In
addition to its columns, every row has `batch_id` (joins `batches`: file, run, contract version), `origin_us` and
`origin_seq` (the instant that its file stands for, in microseconds since 1970, and its row number) and `content_hash`.
"""


def render(datasets: Iterable[Contract]) -> str:
    """Return the dictionary of these datasets as Markdown."""
    return "\n".join([INTRODUCTION, *map(_dataset, datasets)])


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
        "",
        *_row_rules(contract),
    ]
    return "\n".join(lines)


def _row(column: Column, *, derived: bool = False) -> str:
    headers = "derived" if derived else ", ".join(f"`{markdown(alias)}`" for alias in column.aliases)
    cells = (f"`{column.name}`", column.dtype, column.unit, _rules(column), markdown(column.description), headers)
    return f"| {' | '.join(cells)} |"


def _rules(column: Column) -> str:
    may_be_empty = "" if column.required else "may be empty"
    may_be_absent = "header may be absent" if column.optional else ""
    return "; ".join(filter(None, [may_be_empty, *(rule.stated for rule in cell_rules(column)), may_be_absent]))


def _row_rules(contract: Contract) -> list[str]:
    stated = [f"- {rule.stated} (`{rule.key.reason}`)" for rule in row_rules(contract)]
    return ["In each row:", "", *stated, ""] if stated else []


if __name__ == "__main__":
    print(render(contracts().values()), end="")
