"""Whether the listener of a dataset is alive: `python -m freight.streaming.alive transactions`, the probe of a pod.

A pod asks twice a minute, so this imports the standard library and the settings only.
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from freight.errors import ConfigurationError
from freight.exits import exits_in_words
from freight.outward import plain
from freight.settings import load_settings


def alive_path(folder: Path, dataset: str) -> Path:
    """Return the file that the listener of a dataset keeps as old as the last turn of its loop."""
    return folder / f"listener-{dataset}.alive"


def age_s(path: Path, now: datetime) -> float | None:
    """Return how long ago the loop last turned; None if no listener runs here.

    Raises:
        ConfigurationError: the file cannot be looked at.
    """
    try:
        return now.timestamp() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"the sign of life cannot be read: {error}") from None


@exits_in_words
def main(arguments: Sequence[str] | None = None) -> int:
    """Say when the loop of the listener of this installation last turned.

    Args:
        arguments: Words of the command line; those of this process by default.

    Returns:
        0 if the loop turns, 1 if it is stuck or there is no listener.
    """
    options = _parser().parse_args(arguments)
    age = age_s(alive_path(load_settings().processes, options.dataset), datetime.now(UTC))
    if age is None:
        print(plain(f"no listener of {options.dataset} runs here"))
        return 1
    print(plain(f"the listener of {options.dataset} last turned {age:.0f} s ago"))
    return int(age > options.max_age)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m freight.streaming.alive", description=__doc__)
    parser.add_argument("dataset", help="what the listener loads, such as transactions")
    parser.add_argument(
        "--max-age",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds since its loop last turned (default: %(default)g)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 1:  # which NaN is not, either
        raise argparse.ArgumentTypeError(f"{text} is less than a second")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
