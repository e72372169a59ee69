"""`python -m benchmarks.lock_jars`: fetch the jars again with Maven, and record the SHA-256 of each.

Run it after a version change in one of the modules; `git diff` shows the changes. Fetch from a place that you trust:
from then on every installation accepts exactly these jars.
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.streaming import connect_jars
from freight.demo import kafka_jars
from freight.java import sums_of_jars, unverified_jars
from freight.readers import access_jars

LISTS: Mapping[Path, Callable[[Path], Path]] = {
    kafka_jars.LISTED: lambda folder: unverified_jars(folder, kafka_jars.APACHE_KAFKA, kafka_jars.POM),
    access_jars.LISTED: lambda folder: unverified_jars(folder, "Jackcess", access_jars.POM),
    connect_jars.LISTED: connect_jars.unverified_connect,
}


def main() -> None:
    """Write the lists."""
    for listed, fetch in LISTS.items():
        with tempfile.TemporaryDirectory(prefix="dpa-jars-") as folder:
            lines = sums_of_jars(fetch(Path(folder)))
        listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"{listed}: {len(lines)} jars")


if __name__ == "__main__":
    main()
