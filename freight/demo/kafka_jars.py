"""The jars of Apache Kafka, fetched once by Maven."""

import os
from pathlib import Path

from freight.java import copy_jars, fetch_once, refuse_other_jars, why_no_java, why_no_maven

KAFKA_VERSION = "4.3.1"
APACHE_KAFKA = "Apache Kafka"
LISTED = Path(__file__).with_suffix(".sha256")

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
    """Return the folder of the broker's jars within `folder`; download them (44 MiB) if they are missing.

    A download counts once it is complete, and of simultaneous processes only one downloads. Returns None if this
    machine lacks a requirement; `why_not` names it.

    Raises:
        ConfigurationError: Maven could not download, with its output in the message; or a jar differs from the one that
            this project knows.
    """
    if why_not(folder):
        return None
    place = fetch_once(_jars(folder), lambda staging: copy_jars(staging, APACHE_KAFKA, POM, LISTED))
    return refuse_other_jars(place, LISTED)


def has_to_fetch(folder: Path) -> bool:
    """Return True if `fetch_broker` would download."""
    return not why_not(folder) and not _jars(folder).exists()


def why_not(folder: Path) -> str:
    """Return the reason why `fetch_broker` returns None, with the remedy; empty if it does not."""
    if os.name == "nt":
        return "Apache Kafka does not run well on Windows: use Linux, macOS or WSL"
    return why_no_java() or ("" if _jars(folder).exists() else why_no_maven(APACHE_KAFKA))


def _jars(folder: Path) -> Path:
    return folder / f"kafka-{KAFKA_VERSION}"
