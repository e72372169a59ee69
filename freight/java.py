"""Third-party Java programs: Maven fetches their jars once, from the repository in this machine's Maven settings.

The project lists the SHA-256 of each jar (`*_jars.sha256`, which `python -m benchmarks.lock_jars` writes). A jar with
another hash, or that is not listed, never starts: neither right after the download nor later from the folder.
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
    """A working Java: its major version and its folder."""

    version: int
    home: Path


def why_no_java() -> str:
    """Return what to install before a Java program can run; empty if nothing is missing."""
    try:
        find_java()
    except ConfigurationError as error:
        return str(error)
    return ""


def find_java() -> Java:
    """Return the Java on PATH.

    Raises:
        ConfigurationError: There is no Java, or it is too old; the message says what to install.
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
    """Return what to install before Maven can fetch jars; empty if nothing is missing."""
    if shutil.which("mvn"):
        return ""
    return f"there is no Maven (mvn) to fetch {what}: install it (Debian, Ubuntu: the package maven)"


def _java() -> Java | None:
    """Return the Java on PATH; None if none starts. It reports its own folder, since PATH may lead to a script."""
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
    """Return a folder, and make it if it is missing: it appears only when complete, and one process at a time makes it.

    Args:
        place: The folder.
        make: The function that fills an empty work folder, and returns the part of it that becomes the folder.

    Raises:
        ConfigurationError: The folder could not be made.
    """
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(place.parent):
            if not place.exists():  # another process may have made it while this one waited
                _make(place, make)
    return place


def _make(place: Path, make: Callable[[Path], Path]) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="download-") as staging:
        make(Path(staging)).rename(place)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process holds the folder; the lock ends with the process that holds it."""
    import fcntl  # not on Windows, where an earlier check has refused

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def copy_jars(folder: Path, what: str, pom: str, listed: Path) -> Path:
    """Let Maven fetch the runtime dependencies of a pom.xml.

    Args:
        folder: The folder in which Maven works.
        what: The name of the program for people.
        pom: The text of the pom.xml.
        listed: The file with the SHA-256 of each jar.

    Returns:
        The folder of the jars, inside `folder`.

    Raises:
        ConfigurationError: Maven failed, and the message quotes it; or Maven has fetched other jars.
    """
    jars = unverified_jars(folder, what, pom)
    if fault := fault_of_jars(jars, listed):
        raise ConfigurationError(
            f"Maven has fetched another {what} than the project lists in {listed.name}: {fault}. Nothing of it was "
            "started or kept: clear Maven's cache (~/.m2), and check which repository its settings.xml names"
        )
    return jars


def unverified_jars(folder: Path, what: str, pom: str) -> Path:
    """Do what `copy_jars` does, without checking the jars."""
    (folder / "pom.xml").write_text(pom, encoding="utf-8")
    run_maven(folder, what, "-f", "pom.xml", COPY_JARS, "-DoutputDirectory=jars", "-DincludeScope=runtime")
    return folder / "jars"


def refuse_other_jars(folder: Path, listed: Path) -> Path:
    """Return a folder that was fetched before, if its jars still match the list.

    Raises:
        ConfigurationError: A jar does not match; the message names it.
    """
    if fault := fault_of_jars(folder, listed):
        raise ConfigurationError(f"{folder}: {fault}: nothing of it is started. Delete the folder to fetch it again")
    return folder


def fault_of_jars(folder: Path, listed: Path) -> str:
    """Return the first jar of a folder that differs from the list, is not listed, or is missing; empty if none."""
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
    """Return a line for each jar in a folder in the format of `sha256sum`: SHA-256, two spaces, name."""
    jars = {path for path in folder.rglob("*") if path.name.lower().endswith(".jar")}
    return sorted({f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in jars}, key=_name_in)


def _name_in(line: str) -> str:
    return line.split("  ", 1)[1]


def compile_java(compiler: Path, jars: Path, source: Path, target: Path) -> None:
    """Compile a one-file program with Eclipse's compiler; a Java runtime has none of its own.

    Args:
        compiler: The jar of Eclipse's compiler.
        jars: The folder of the jars that the program needs.
        source: The source file.
        target: The folder for the classes.

    Raises:
        ConfigurationError: The program does not compile.
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
    """Run Maven in a folder.

    Args:
        folder: The folder.
        what: The name of what Maven fetches, for people.
        arguments: The arguments for Maven.

    Raises:
        ConfigurationError: Maven failed; the message quotes it.
    """
    try:
        done = subprocess.run(
            # Strict: a file fails if its checksum differs from the repository's, even one of Maven's own plugins.
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
