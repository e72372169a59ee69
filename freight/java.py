"""Java programs that others wrote: their jars are fetched once by Maven, from wherever this machine's Maven fetches.

The project knows the SHA-256 of each (`*_jars.sha256`, which `python -m benchmarks.lock_jars` writes). A jar that has
another one, or that is not named there, is never started: neither right after the download nor later from the folder.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from freight.errors import ConfigurationError

OLDEST_JAVA = 17
DOWNLOAD_LIMIT_S = 600.0
JAVA_LIMIT_S = 60.0

COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class Java(NamedTuple):
    """A Java that starts: its major version, and its folder."""

    version: int
    home: Path


def why_no_java() -> str:
    """Return what to install before a Java program can run here; empty if nothing."""
    try:
        find_java()
    except ConfigurationError as error:
        return str(error)
    return ""


def find_java() -> Java:
    """Return the Java on PATH.

    Raises:
        ConfigurationError: there is none, or one that is too old; the message says what to install.
    """
    java = _java()
    if java is None:
        raise ConfigurationError(
            f"there is no Java: install Java {OLDEST_JAVA} or newer (Debian, Ubuntu: the package default-jre-headless)"
        )
    if java.version < OLDEST_JAVA:
        raise ConfigurationError(
            f"Java {java.version} is too old: install Java {OLDEST_JAVA} or newer and put it first on PATH"
        )
    return java


def why_no_maven(what: str) -> str:
    """Return what to install before something can be fetched; empty if nothing."""
    if shutil.which("mvn"):
        return ""
    return f"there is no Maven (mvn) to fetch {what}: install it (Debian, Ubuntu: the package maven)"


def _java() -> Java | None:
    """Return the Java on PATH; None if there is none that starts. It says where it is: PATH may lead to a script."""
    program = shutil.which("java")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            ["java", "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=JAVA_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)  # Java 8 calls itself 1.8
    home = re.search(r"^ *java\.home = (.*\S)", answer.stderr, re.MULTILINE)
    if not version or answer.returncode != 0:
        return None
    return Java(int(version.group(1)), Path(home.group(1)) if home else Path(program).resolve().parents[1])


def fetch_once(place: Path, make: Callable[[Path], Path]) -> Path:
    """Return a folder, made if it is not there yet: it counts once it is whole, and of processes at once one makes it.

    Args:
        place: the folder.
        make: gets an empty folder to work in; returns what becomes the folder, a part of it.

    Raises:
        ConfigurationError: it could not be made.
    """
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(place.parent):
            if not place.exists():  # another process may have fetched it while this one waited
                _make(place, make)
    return place


def _make(place: Path, make: Callable[[Path], Path]) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="download-") as staging:
        make(Path(staging)).rename(place)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process holds the folder; the lock ends with the process that holds it."""
    import fcntl  # Windows does not have it, and is told so before

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_jars(folder: Path, what: str, pom: str, listed: Path) -> Path:
    """Let Maven fetch what a pom.xml needs to run.

    Args:
        folder: where Maven works.
        what: it fetches, for people.
        pom: the dependencies.
        listed: file with the SHA-256 of each jar.

    Returns:
        The folder of the jars, within the other.

    Raises:
        ConfigurationError: it failed, and the message has Maven's words; or it has brought something else.
    """
    jars = unverified_jars(folder, what, pom)
    if fault := fault_of_jars(jars, listed):
        raise ConfigurationError(
            f"Maven has brought another {what} than the project names in {listed.name}: {fault}. Nothing of it was "
            "started or kept: clear Maven's cache (~/.m2), and look from where its settings.xml lets it fetch"
        )
    return jars


def unverified_jars(folder: Path, what: str, pom: str) -> Path:
    """Do what `copy_jars` does, whatever comes."""
    (folder / "pom.xml").write_text(pom, encoding="utf-8")
    run_maven(folder, what, "-f", "pom.xml", COPY_JARS, "-DoutputDirectory=jars", "-DincludeScope=runtime")
    return folder / "jars"


def refuse_other_jars(folder: Path, listed: Path) -> Path:
    """Return a folder that was fetched before, if its jars are still those of the list.

    Raises:
        ConfigurationError: one is not; the message names it.
    """
    if fault := fault_of_jars(folder, listed):
        raise ConfigurationError(f"{folder}: {fault}: nothing of it is started. Delete the folder to fetch it again")
    return folder


def fault_of_jars(folder: Path, listed: Path) -> str:
    """Return which jar within a folder is not as listed, is not listed at all, or is missing; empty if none."""
    wanted = set(listed.read_text(encoding="utf-8").splitlines())
    found = set(sums_of_jars(folder))
    names, there = set(map(_name_in, wanted)), set(map(_name_in, found))
    faults = {
        "is not listed": sorted(there - names),
        "has another SHA-256": sorted(set(map(_name_in, found - wanted)) & names),
        "is missing": sorted(names - there),
    }
    return next((f"{of_fault[0]} {fault}" for fault, of_fault in faults.items() if of_fault), "")


def sums_of_jars(folder: Path) -> list[str]:
    """Return a line for each jar within a folder, as `sha256sum` writes them: SHA-256, two blanks, name."""
    jars = {path for path in folder.rglob("*") if path.name.lower().endswith(".jar")}
    return sorted({f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in jars}, key=_name_in)


def _name_in(line: str) -> str:
    return line.split("  ", 1)[1]


def compile_java(compiler: Path, jars: Path, source: Path, target: Path) -> None:
    """Compile a program of one file; a Java that only runs programs has no compiler of its own.

    Args:
        compiler: jar of Eclipse's compiler.
        jars: folder of the jars that the program needs.
        source: the file.
        target: folder of what it becomes.

    Raises:
        ConfigurationError: it does not compile.
    """
    command = ["java", "-jar", str(compiler), f"-{OLDEST_JAVA}", "-proc:none", "-nowarn"]
    done = subprocess.run(
        [*command, "-cp", os.pathsep.join(map(str, jars.glob("*.jar"))), "-d", str(target), str(source)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=JAVA_LIMIT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ConfigurationError(f"{source.name} cannot be compiled: {done.stderr[-500:]}")


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
            # Strict: a file whose checksum is not that of the repository fails, also one of Maven's own plugins.
            ["mvn", "-q", "-B", "--strict-checksums", *arguments],
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
