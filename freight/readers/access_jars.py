"""What reads MS Access where Microsoft's driver is not: Jackcess, and a small program of ours that calls it.

Both come by `dpa fetch-access`, once; a load downloads nothing. The program is compiled then, since a Java that only
runs programs has no compiler.
"""

import hashlib
import os
from pathlib import Path

from freight import parsers
from freight.errors import ConfigurationError, SourceError
from freight.java import compile_java, copy_jars, fetch_once, why_no_java, why_no_maven

JACKCESS_VERSION = "4.0.11"
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
    <dependency><groupId>org.eclipse.jdt</groupId><artifactId>ecj</artifactId><version>3.33.0</version></dependency>
  </dependencies>
</project>
"""


def fetch_access(folder: Path) -> Path:
    """Return the folder of the class path within `folder`, downloaded (5 MiB) and compiled if it is not there yet.

    Raises:
        ConfigurationError: there is no Java or no Maven, or it could not download.
    """
    place = _place(folder)
    if reason := why_no_java() or ("" if place.exists() else why_no_maven("Jackcess")):
        raise ConfigurationError(f"MS Access cannot be read: {reason}")
    return fetch_once(place, _made)


def class_path(folder: Path) -> str:
    """Return the class path of the program.

    Raises:
        SourceError: something is missing on this machine; the remedy says how to get it.
    """
    place = _place(folder)
    if reason := why_no_java():
        raise _not_here(reason)
    if not place.exists():
        raise _not_here("Jackcess is not there")
    return os.pathsep.join((str(place), str(place / "*")))


def _not_here(reason: str) -> SourceError:
    return SourceError(
        "unreadable",
        f"MS Access cannot be read on this machine: {reason}",
        remedy="install Java 17 or newer and Maven, then run `dpa fetch-access` once",
    )


def _place(folder: Path) -> Path:
    written = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:8]  # another program is compiled anew
    return folder / f"jackcess-{JACKCESS_VERSION}-{written}"


def _made(staging: Path) -> Path:
    jars = copy_jars(staging, "Jackcess", POM)
    found = next(jars.glob("ecj-*.jar"))
    compiler = compiler_of(jars)
    compiler.parent.mkdir()
    found.rename(compiler)
    compile_java(compiler, jars, PROGRAM, jars)
    return jars


def compiler_of(place: Path) -> Path:
    """Return the compiler that came along, which is not on the class path."""
    return place / "compiler" / "ecj.jar"
