"""Artifacts of Prefect, whose interface reads every text as Markdown, also in the cells of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import create_table_artifact

from freight.outward import markdown, markdown_code


def publish_table(rows: Sequence[Mapping[str, object]], key: str, *paragraphs: str) -> None:
    """Show rows with the run.

    Args:
        rows: by column.
        key: of the artifact.
        paragraphs: said of it; what follows the first line of one is a patch, and stays as it is.
    """
    cells = [{markdown(name): _cell(value) for name, value in row.items()} for row in rows]
    create_table_artifact(cells, key=key, description="\n\n".join(map(_paragraph, paragraphs)))


def _cell(value: object) -> Any:
    return markdown(value) if isinstance(value, str) else value


def _paragraph(text: str) -> str:
    told, _, patch = text.partition("\n")
    return f"{markdown(told)}\n\n{markdown_code(patch, 'diff')}" if patch else markdown(told)
