"""The jars of Apache Kafka, fetched once by Maven from wherever this machine's Maven fetches."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freight.errors import ConfigurationError

KAFKA_VERSION = "4.3.1"
OLDEST_JAVA = 17
DOWNLOAD_LIMIT_S = 600.0
JAVA_LIMIT_S = 60.0

COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <properties><log4j.version>2.25.3</log4j.version></properties>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>${{log4j.version}}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId>
      <version>${{log4j.version}}</version>
    </dependency>
  </dependencies>
</project>
"""


def fetch_broker(folder: Path) -> Path | None:
    """Return the folder of the broker's jars within `folder`, downloaded (44 MiB) if they are not there yet.

    A download counts once it is whole, and of processes that come at once one downloads. None when something is
    missing on this machine; `why_not` says what.

    Raises:
        ConfigurationError: Maven could not download; the message has its words.
    """
    if why_not(folder):
        return None
    jars = _jars(folder)
    if not jars.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(folder):
            if not jars.exists():  # another process may have fetched them while this one waited
                _download(jars)
    return jars


def has_to_fetch(folder: Path) -> bool:
    """Whether `fetch_broker` would download."""
    return not why_not(folder) and not _jars(folder).exists()


def why_not(folder: Path) -> str:
    """Return why `fetch_broker` gives None, and what to install; empty if it does not."""
    if os.name == "nt":
        return "Apache Kafka does not run well on Windows: use Linux, macOS or WSL"
    java = java_version()
    if java is None:
        return (
            f"there is no Java: install Java {OLDEST_JAVA} or newer (Debian, Ubuntu: the package default-jre-headless)"
        )
    if java < OLDEST_JAVA:
        return f"Java {java} is too old: install Java {OLDEST_JAVA} or newer and put it first on PATH"
    if not shutil.which("mvn") and not _jars(folder).exists():
        return "there is no Maven (mvn) to fetch Apache Kafka: install it (Debian, Ubuntu: the package maven)"
    return ""


def java_version() -> int | None:
    """Return the major version of the Java on PATH; None if there is none that starts."""
    if not shutil.which("java"):
        return None
    try:
        answer = subprocess.run(
            ["java", "-version"], capture_output=True, text=True, errors="replace", timeout=JAVA_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)  # Java 8 calls itself 1.8
    return int(version.group(1)) if version and answer.returncode == 0 else None


def _jars(folder: Path) -> Path:
    return folder / f"kafka-{KAFKA_VERSION}"


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process holds the folder; the lock ends with the process that holds it."""
    import fcntl  # Windows does not have it, and is told so before

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(jars: Path) -> None:
    """Fetch the jars beside their place, and move them there when all have come."""
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="download-") as name:
        staging = Path(name)
        (staging / "pom.xml").write_text(POM, encoding="utf-8")
        run_maven(
            staging, "Apache Kafka", "-f", "pom.xml", COPY_JARS, "-DoutputDirectory=jars", "-DincludeScope=runtime"
        )
        (staging / "jars").rename(jars)


def run_maven(folder: Path, what: str, *arguments: str) -> None:
    """Let Maven work in a folder.

    Args:
        folder: where.
        what: it fetches, for people.
        arguments: of Maven.

    Raises:
        ConfigurationError: it failed; the message has its words.
    """
    try:
        done = subprocess.run(
            ["mvn", "-q", "-B", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            f"Maven could not fetch {what} within {DOWNLOAD_LIMIT_S:.0f} s: check the network"
        ) from None
    if done.returncode != 0:
        complaint = next((line for line in done.stdout.splitlines() if line.startswith("[ERROR]")), done.stdout[-500:])
        raise ConfigurationError(
            f"Maven could not fetch {what}, check the network and Maven's settings.xml: {complaint.strip()}"
        )
