"""Prefect artifacts; the interface reads all of their text as Markdown, even in table cells."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_table_artifact

from freight.outward import markdown


def publish_table(rows: Sequence[Mapping[str, object]], key: str, *paragraphs: str) -> None:
    """Show rows as an artifact of the run.

    Args:
        rows: The cells of each row by column.
        key: The key of the artifact.
        paragraphs: The text above the table.
    """
    cells = [{markdown(name): _cell(value) for name, value in row.items()} for row in rows]
    create_table_artifact(cells, key=key, description="\n\n".join(map(markdown, paragraphs)))


def _cell(value: object) -> Any:
    return markdown(value) if isinstance(value, str) else value
