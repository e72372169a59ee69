"""Read MS Access without Microsoft's driver: Jackcess, and a small program of ours that calls it.

`dpa fetch-access` fetches both once; a load downloads nothing. It also compiles the program, because a Java runtime
alone has no compiler.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from freight import parsers
from freight.errors import ConfigurationError, SourceError
from freight.java import (
    compile_java,
    copy_jars,
    fault_of_jars,
    fetch_once,
    find_java,
    refuse_other_jars,
    why_no_java,
    why_no_maven,
)

JACKCESS_VERSION, ECJ_VERSION = "4.0.11", "3.33.0"
LISTED = Path(__file__).with_suffix(".sha256")
PROGRAM_FOLDER = "program"
PROGRAM = Path(parsers.__file__).parent / "java" / "AccessTables.java"
POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>access-tables</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>com.healthmarketscience.jackcess</groupId><artifactId>jackcess</artifactId>
      <version>{JACKCESS_VERSION}</version>
    </dependency>
    <dependency><groupId>org.eclipse.jdt</groupId><artifactId>ecj</artifactId><version>{ECJ_VERSION}</version></dependency>
  </dependencies>
</project>
"""


def fetch_access(folder: Path) -> Path:
    """Return the class path folder within `folder`; download (5 MiB) and compile its content if it is missing.

    Raises:
        ConfigurationError: Java or Maven is missing, the download fails, or a jar is not the one that this project
            lists.
    """
    jars = _jars_in(folder)
    if reason := why_no_java() or ("" if jars.exists() else why_no_maven("Jackcess")):
        raise ConfigurationError(f"MS Access cannot be read: {reason}")
    return refuse_other_jars(fetch_once(jars, _made), LISTED)


class AccessProgram(NamedTuple):
    """The folders that a parser needs to read MS Access: the home of Java, and the jars with our program."""

    java: Path
    jars: Path

    @property
    def class_path(self) -> str:
        """The class path; our program comes last, so that it hides no jar."""
        return os.pathsep.join((str(self.jars / "*"), str(self.jars / PROGRAM_FOLDER)))


def find_program(folder: Path) -> AccessProgram:
    """Return the program in `folder`, and the Java that runs it.

    Raises:
        SourceError: Something is missing on this machine, or a jar is not the one that this project lists; the remedy
            says how to get it.
    """
    jars = _jars_in(folder)
    try:
        java = find_java()
    except ConfigurationError as error:
        raise _not_here(str(error)) from None
    if not os.access(jars, os.R_OK | os.X_OK):  # missing, or fetched by another user
        raise _not_here("Jackcess is missing")
    if fault := fault_of_jars(jars, LISTED):
        raise _not_here(f"{jars}: {fault}, so none of it is started", f"delete the folder {jars}, then run")
    return AccessProgram(java.home, jars)


def _not_here(reason: str, to_do: str = "install Java 17 or newer and Maven, then run") -> SourceError:
    return SourceError(
        "unreadable",
        f"MS Access cannot be read on this machine: {reason}",
        remedy=f"{to_do} `dpa fetch-access` once",
    )


def _jars_in(folder: Path) -> Path:
    made_of = PROGRAM.read_bytes() + LISTED.read_bytes()
    written = hashlib.sha256(made_of).hexdigest()[:8]  # a changed program is compiled again, with its own jars
    return folder / f"jackcess-{JACKCESS_VERSION}-{written}"


def _made(staging: Path) -> Path:
    jars = copy_jars(staging, "Jackcess", POM, LISTED)
    compiler = compiler_of(jars)
    compiler.parent.mkdir()
    (jars / compiler.name).rename(compiler)
    compile_java(compiler, jars, PROGRAM, jars / PROGRAM_FOLDER)
    return jars


def compiler_of(jars: Path) -> Path:
    """Return the compiler that was fetched with the jars; it is not on the class path."""
    return jars / "compiler" / f"ecj-{ECJ_VERSION}.jar"
