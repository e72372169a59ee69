"""The jars of the broker come once and whole; what is missing is told. Maven and Java are stand-ins here."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freight.demo import kafka_jars
from freight.demo.embedded_kafka import EmbeddedKafka
from freight.demo.kafka_jars import fetch_broker, why_not
from freight.demo.local_kafka import LocalKafka, new_cluster_id, open_broker
from freight.errors import ConfigurationError
from freight.settings import PROJECT_ROOT
from tests.lib.waiting import LIMIT_S

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")

JAVA_17 = """echo 'openjdk version "17.0.15" 2025-04-15' >&2"""
MAVEN = "mkdir jars; echo jar > jars/kafka.jar; echo call >> ../calls"
BROKEN_MAVEN = "mkdir jars; echo half > jars/kafka.jar; echo '[ERROR] no route to the repository'; exit 1"

Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script first on PATH; neither Java nor Maven of this machine is on it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "sleep"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (folder / name).chmod(0o755)

    return write


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for jars; the list names the one that Maven brings here."""
    monkeypatch.setattr(kafka_jars, "LISTED", listed(tmp_path, "jar\n"))
    return tmp_path / "cache"


def listed(folder: Path, content: str) -> Path:
    path = folder / "kafka_jars.sha256"
    path.write_text(f"{hashlib.sha256(content.encode()).hexdigest()}  kafka.jar\n", encoding="utf-8")
    return path


@pytest.mark.usefixtures("program")
def test_without_java_it_says_what_to_install(cache: Path) -> None:
    assert fetch_broker(cache) is None
    assert "default-jre-headless" in why_not(cache)


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_told(program: Program, cache: Path, version: str) -> None:
    program("java", f"""echo 'openjdk version "{version}"' >&2""")
    assert fetch_broker(cache) is None
    assert "too old: install Java 17" in why_not(cache)


@pytest.mark.parametrize("body", ["echo 'Unable to locate a Java Runtime' >&2; exit 1", "exit 0"])
def test_a_java_that_does_not_work_is_none(program: Program, cache: Path, body: str) -> None:
    program("java", body)
    assert "there is no Java" in why_not(cache)


def test_without_maven_it_says_what_to_install(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    assert fetch_broker(cache) is None
    assert "package maven" in why_not(cache)


def test_the_jars_are_fetched_once(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    program("mvn", MAVEN)
    jars = fetch_broker(cache)
    assert jars
    assert [jar.name for jar in jars.iterdir()] == ["kafka.jar"]
    program("mvn", "exit 1")
    assert fetch_broker(cache) == jars
    assert why_not(cache) == ""


def test_a_download_that_fails_does_not_count(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    program("mvn", BROKEN_MAVEN)
    with pytest.raises(ConfigurationError, match="no route to the repository"):
        fetch_broker(cache)
    program("mvn", MAVEN)
    jars = fetch_broker(cache)
    assert jars
    assert (jars / "kafka.jar").read_text(encoding="utf-8") == "jar\n"
    assert {path.name for path in cache.iterdir()} == {jars.name, "lock", "calls"}


def test_a_jar_that_maven_brings_in_place_of_another_is_not_kept(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    program("mvn", MAVEN.replace("echo jar", "echo evil"))
    with pytest.raises(ConfigurationError, match=r"kafka\.jar has another SHA-256\. Nothing of it was started or kept"):
        fetch_broker(cache)
    assert {path.name for path in cache.iterdir()} == {"lock", "calls"}
    assert "because Maven has fetched another Apache Kafka" in open_broker(cache.parent).kind


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda jars: (jars / "kafka.jar").write_text("evil"), "kafka.jar has another SHA-256"),
        (lambda jars: (jars / "kafka.jar").unlink(), "kafka.jar is missing"),
        (lambda jars: (jars / "aaa.jar").write_text("evil"), "aaa.jar is not listed"),
        (lambda jars: (jars / "aaa.JAR").write_text("evil"), "aaa.JAR is not listed"),
    ],
    ids=["changed", "missing", "extra", "extra in capitals"],
)
def test_jars_that_somebody_has_spoilt_since_are_named_with_the_remedy(
    program: Program, cache: Path, spoil: Callable[[Path], object], fault: str
) -> None:
    program("java", JAVA_17)
    program("mvn", MAVEN)
    jars = fetch_broker(cache)
    assert jars
    spoil(jars)
    with pytest.raises(ConfigurationError) as refused:
        fetch_broker(cache)
    assert str(refused.value) == f"{jars}: {fault}: nothing of it is started. Delete the folder to fetch it again"
    shutil.rmtree(jars)
    assert fetch_broker(cache) == jars


def test_of_two_processes_at_once_one_downloads(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    program("mvn", f"sleep 1; {MAVEN}")
    imports = "from pathlib import Path; from freight.demo import kafka_jars"
    told = f"kafka_jars.LISTED = Path({str(kafka_jars.LISTED)!r})"
    code = f"{imports}; {told}; print(kafka_jars.fetch_broker(Path({str(cache)!r})))"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=LIMIT_S)[0] for process in both}
    assert len(said) == 1
    assert "kafka-" in said.pop()
    assert (cache / "calls").read_text(encoding="utf-8") == "call\n"


def test_the_demo_takes_the_real_broker_where_it_can_be_had(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    program("mvn", MAVEN)
    broker = open_broker(cache)
    assert isinstance(broker, LocalKafka)
    assert broker.kind == "Apache Kafka 4.3.1"


@pytest.mark.usefixtures("program")
def test_the_demo_takes_the_embedded_broker_without_java_and_says_so(cache: Path) -> None:
    broker = open_broker(cache)
    assert isinstance(broker, EmbeddedKafka)
    assert broker.kind.startswith("librdkafka's embedded broker, because there is no Java: install")


def test_the_demo_takes_the_embedded_broker_where_maven_fails_and_says_so(program: Program, cache: Path) -> None:
    program("java", JAVA_17)
    program("mvn", BROKEN_MAVEN)
    assert "because Maven could not fetch Apache Kafka" in open_broker(cache).kind


def test_a_cluster_id_never_looks_like_an_option() -> None:
    ids = {new_cluster_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {(len(cluster_id), cluster_id[0]) for cluster_id in ids} == {(22, "A")}
