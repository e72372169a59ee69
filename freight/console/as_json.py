"""Output of commands for programs."""

import json
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any


def print_json(value: object) -> None:
    """Print a value as JSON, with instants in ISO 8601 and descriptions as objects."""
    print(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: Any) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
