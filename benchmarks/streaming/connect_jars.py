"""Kafka Connect and the Debezium JDBC sink, fetched once by Maven; see `freight.java` for the check of the jars."""

import tarfile
from pathlib import Path
from typing import NamedTuple

from freight.demo.kafka_jars import KAFKA_VERSION
from freight.errors import ConfigurationError
from freight.java import COPY_JARS, fault_of_jars, fetch_once, refuse_other_jars, run_maven, why_no_maven

SINK_VERSION = "3.6.0.Final"
COPY_ONE = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
SINK = f"io.debezium:debezium-connector-jdbc:{SINK_VERSION}:tar.gz:plugin"
PARTS = ("connect-runtime", "connect-json", "connect-transforms")
LISTED = Path(__file__).with_suffix(".sha256")
LOG4J = ("log4j-slf4j-impl", "log4j-core")


class Connect(NamedTuple):
    """The folder of the worker's jars, and that of its plugins."""

    libs: Path
    plugins: Path


def fetch_connect(folder: Path) -> Connect:
    """Return Connect within `folder`; download it (about 100 MiB) if it is missing.

    Raises:
        ConfigurationError: Maven is missing or cannot download, or a jar differs from the one that this project knows.
    """
    whole = folder / f"connect-{KAFKA_VERSION}-jdbc-{SINK_VERSION}"
    if not whole.exists() and (reason := why_no_maven("Kafka Connect")):
        raise ConfigurationError(f"{reason}, or leave out the candidate `connect` with --only")
    fetch_once(whole, _verified)
    refuse_other_jars(whole, LISTED)
    return Connect(whole / "libs", whole / "plugins")


def _verified(staging: Path) -> Path:
    whole = unverified_connect(staging)
    if fault := fault_of_jars(whole, LISTED):
        raise ConfigurationError(f"Maven has brought another Kafka Connect than {LISTED.name} names: {fault}")
    return whole


def unverified_connect(staging: Path) -> Path:
    """Fetch Connect into a folder without verification; return the folder of the jars within it."""
    (staging / "pom.xml").write_text(_pom(), encoding="utf-8")
    worker = ("-f", "pom.xml", COPY_JARS, "-DoutputDirectory=whole/libs", "-DincludeScope=runtime")
    run_maven(staging, "Kafka Connect", *worker)
    sink = (COPY_ONE, f"-Dartifact={SINK}", "-DoutputDirectory=archive")
    run_maven(staging, "the Debezium JDBC sink", *sink)
    for archive in (staging / "archive").iterdir():
        with tarfile.open(archive) as packed:
            packed.extractall(staging / "whole" / "plugins", filter="data")
    return staging / "whole"


def _pom() -> str:
    parts = [_dependency("org.apache.kafka", part, KAFKA_VERSION) for part in PARTS]
    logging = [_dependency("org.apache.logging.log4j", part, "2.25.3") for part in LOG4J]
    return (
        "<project xmlns='http://maven.apache.org/POM/4.0.0'><modelVersion>4.0.0</modelVersion>"
        "<groupId>local</groupId><artifactId>connect-worker</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(parts + logging)}</dependencies></project>"
    )


def _dependency(group: str, artifact: str, version: str) -> str:
    names = f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>"
    return f"<dependency>{names}</dependency>"
