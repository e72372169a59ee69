"""Output of commands for programs."""

import json
import re
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from freight.outward import UNSEEN

MISLEADING = re.compile(f"[{UNSEEN}]")  # for a person who looks at it in a terminal


def print_json(value: object) -> None:
    """Print a value as JSON, with instants in ISO 8601 and descriptions as objects; text has no control characters."""
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    print(MISLEADING.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _plain(value: Any) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
