"""Check that the listener of a dataset is alive: `python -m freight.streaming.alive transactions`, a pod's probe.

A pod asks twice a minute, so this module imports only the standard library and the settings.
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
    """Return the file whose age shows the last turn of the listener's loop."""
    return folder / f"listener-{dataset}.alive"


def age_s(path: Path, now: datetime) -> float | None:
    """Return the age of the loop's last turn; None if no listener runs here.

    Raises:
        ConfigurationError: The file is not accessible.
    """
    try:
        return now.timestamp() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"the sign of life cannot be read: {error}") from None


@exits_in_words
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the age of the last turn of this installation's listener loop.

    Args:
        arguments: The command-line arguments; by default those of this process.

    Returns:
        0 if the loop turns, 1 if it is stuck or no listener runs.
    """
    options = _parser().parse_args(arguments)
    age = age_s(alive_path(load_settings().processes, options.dataset), datetime.now(UTC))
    if age is None:
        print(plain(f"no listener of {options.dataset} runs here"))
        return 1
    print(plain(f"the listener of {options.dataset} last advanced {age:.0f} s ago"))
    return int(age > options.max_age)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m freight.streaming.alive", description=__doc__)
    parser.add_argument("dataset", help="dataset of the listener, such as transactions")
    parser.add_argument(
        "--max-age",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds since its loop last advanced (default: %(default)g)",
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds >= 1:  # also refuses NaN
        raise argparse.ArgumentTypeError(f"{text} is less than a second")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
