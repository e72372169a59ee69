"""Set DPA up and start it, with nothing installed but some Python: python bootstrap.py COMMAND [args...].

  run              Simulate today's deliveries and load them all.
  stream           Stream simulated events through a local Kafka into the warehouse, until Ctrl-C.
  up               Start Prefect on this machine, with every deployment and a worker.
  down             End what `up` has started, the runs first.
  test             Run the tests, without the chaos tests.
  check            Lint, check format, types, the layering of imports and the documents.
  bench            Measure DPA against the alternatives, in an environment of its own.
  chaos            Run only the chaos tests, which kill and starve it, and properties on all of their examples.
  test-kubernetes  Run only the tests on the Kubernetes of KUBECONFIG, with the image DPA_TEST_IMAGE.
  reset            Remove what DPA has made: warehouse, deliveries, reports.
  lock             Resolve the packages again; --upgrade takes the newest.

The first call finds an interpreter that DPA can use, makes a virtual environment beside this file, and lets uv fill it
with the locked packages; later calls start the command at once. Exit codes: that of the command; 2 when the usage is
wrong or no interpreter will do; 1 when the setup fails.
"""

# Any Python >= 3.6 has to understand this file, because the oldest one at hand is what starts it and its first job is
# to find a newer one: standard library only, no walrus, no dataclasses, no `X | Y` types, no match.

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

ROOT = Path(__file__).resolve().parent
WINDOWS = os.name == "nt"
OLDEST = (3, 12)
KNOWN_MINORS = (12, 13, 14)
PROBE_TIMEOUT_S = 30.0  # a pyenv shim on a cold disk takes seconds; a hung one must not hang us
LOCK_RETRY_S = 0.5
STAMP = "dpa-setup.json"
CLI = "freight.console.cli"

# One line that passes through Windows batch shims, hence without double quotes, %, | and <, and valid in Python 2, to
# get an answer from any candidate. ssl and sqlite3 are asked for since a self-built Python may silently lack them.
PROBE = (
    "import platform, struct, sys, sysconfig; "
    "no_gil = '-without-GIL' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''; "
    "path = getattr(sys, '_base_executable', '') or sys.executable; "
    "kind = str(struct.calcsize('P') * 8) + '-bit ' + platform.python_implementation() + no_gil; "
    "print(' '.join([platform.python_version(), kind, path])); "
    "import ensurepip, sqlite3, ssl, venv"
)
FITTING = "64-bit CPython"  # what the locked packages have ready-made wheels for
NO_PYTHON = """\
DPA needs Python 3.12 or newer (64-bit CPython with venv and ensurepip).
{}
Install one and repeat the command:
  Debian, Ubuntu  sudo apt-get install python3.12 python3.12-venv
                  or, where the release has none: pyenv install 3.12, or: uv python install 3.12
  macOS           brew install python@3.12
  Windows         winget install Python.Python.3.12
If you have one elsewhere, name it: DPA_PYTHON=/path/to/python"""

# Defaults that a user's own setting overrides.
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PYTHONUTF8": "1",  # French names in logs, on Windows too
    "MALLOC_ARENA_MAX": "2",  # one for each thread holds 100 MiB that nobody uses
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000",  # Polars gives memory back at once, and asks for it again at once
}

# uv's names of pip's settings.
SETTINGS_OF_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


class BootstrapError(Exception):
    """The setup cannot go on; the message says what to do."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Setup(NamedTuple):
    """A virtual environment and the lock file that fills it; `covers` are the locks that this one contains."""

    folder: str
    lock: str
    covers: Tuple[str, ...] = ()


RUN = Setup(".venv", "requirements.lock")
DEV = Setup(".venv", "requirements-dev.lock", covers=("requirements.lock",))
BENCH = Setup(".venv-bench", "requirements-bench.lock")
UV_LOCK = "requirements-uv.lock"
FAILURE = "{} could not cope with {}, see its message above: check the network"


class Interpreter(NamedTuple):
    """A Python that DPA can use: the program itself, not a shim or launcher, and its version, such as `3.12.1`."""

    path: str
    version: str


Candidate = Tuple[str, ...]


# --- Finding an interpreter ---------------------------------------------------------------------------------------


def candidates() -> List[Candidate]:
    """Return the commands that may start a fitting Python: the oldest known minor first, unknown versions last."""
    found = [candidate for minor in KNOWN_MINORS for candidate in _with_minor(minor)]
    if sys.version_info[:2] >= OLDEST:
        found.append((sys.executable,))
    found += [(path,) for name in ("python3", "python") for path in _on_path(name)]
    return list(dict.fromkeys(found))


def _with_minor(minor: int) -> Iterator[Candidate]:
    """Yield what promises to be Python 3.`minor` by its name or place."""
    if sys.version_info[:2] == (3, minor):
        yield (sys.executable,)
    for path in _on_path("python3.%d" % minor):
        yield (path,)
    for launcher in _on_path("py") if WINDOWS else []:
        yield launcher, "-3.%d" % minor
    for folder in _version_folders():
        for version in sorted([*folder.glob("3.%d.*" % minor), *folder.glob("cpython-3.%d.*" % minor)]):
            yield (str(version / ("python.exe" if WINDOWS else "bin/python")),)


def _on_path(name: str) -> List[str]:
    """Return every program of that name on PATH, since the first may be a shim that fails."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    hits = [shutil.which(name, path=folder) for folder in folders if folder]
    return [hit for hit in hits if hit]


def _version_folders() -> List[Path]:
    """Return where pyenv and uv keep their interpreters."""
    home = os.path.expanduser("~")
    pyenv, data = os.path.join(home, ".pyenv"), os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    if WINDOWS:
        pyenv = os.path.join(pyenv, "pyenv-win")
        data = os.environ.get("APPDATA") or os.path.join(home, "AppData", "Roaming")
    return [
        Path(os.environ.get("PYENV_ROOT") or pyenv, "versions"),
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python")),
    ]


def probe(candidate: Candidate) -> Tuple[Optional[Interpreter], str]:
    """Start a candidate and return it as an interpreter, or None and why it will not do."""
    try:
        done = subprocess.run(
            [*candidate, "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            errors="replace",
            env=_clean_environment(),
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return None, "does not start ({})".format(type(error).__name__)
    lines = done.stderr.strip().splitlines() or ["exit code {}".format(done.returncode)]
    complaint = lines[-1 if lines[0].startswith("Traceback") else 0]  # a shim adds advice below its complaint
    match = re.search(r"^((\d+)\.(\d+)\S*) (\d+-bit \S+) (.+)$", done.stdout, re.MULTILINE)
    if match is None:
        return None, "does not work ({})".format(complaint)
    version, kind, path = match.group(1, 4, 5)
    if (int(match.group(2)), int(match.group(3))) < OLDEST:
        return None, "is Python {}, which is too old".format(version)
    if kind != FITTING:
        return None, "is Python {}, but {}".format(version, kind)
    if done.returncode != 0:
        return None, "is Python {}, but not a whole one ({})".format(version, complaint)
    return Interpreter(path, version), ""


def _override() -> Optional[str]:
    """Return the program that DPA_PYTHON names, be it by path or by name, None if it is unset or empty."""
    name = os.environ.get("DPA_PYTHON")
    return shutil.which(name) or name if name else None


def find_python() -> Interpreter:
    """Return the first candidate that works, or the one that DPA_PYTHON names.

    Raises:
        BootstrapError: None works (exit code 2).
    """
    override = _override()
    refusals = []
    for candidate in [(override,)] if override else candidates():
        interpreter, refusal = probe(candidate)
        if interpreter is not None:
            return interpreter
        refusals.append("  {} {}".format(" ".join(candidate), refusal))
    tried = ["These will not do:", *refusals] if refusals else ["There is no Python on PATH at all."]
    if override:
        tried.append("Correct or unset DPA_PYTHON, which names it.")
    raise BootstrapError(NO_PYTHON.format("\n".join(tried)), exit_code=2)


# --- Making the virtual environment -------------------------------------------------------------------------------


def prepare(setup: Setup) -> Path:
    """Return the Python of the setup's virtual environment, which is made or brought up to date if need be.

    Raises:
        BootstrapError: No interpreter will do, or the packages cannot be installed.
    """
    if not _is_ready(setup):
        with _one_at_a_time():
            if not _is_ready(setup):  # another call may have done it while this one waited
                _set_up(setup)
    _link_project(setup)  # each time: the launcher of an older checkout may start what has moved since
    return _program(setup, "python")


def _program(setup: Setup, name: str) -> Path:
    """Return where the virtual environment has a program."""
    return ROOT / setup.folder / ("Scripts" if WINDOWS else "bin") / (name + (".exe" if WINDOWS else ""))


def _digest(lock: str) -> str:
    return hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()


def _read_stamp(setup: Setup) -> Dict[str, Any]:
    """Return what the finished setup left, empty if it never finished or is not usable any more."""
    try:
        stamp = json.loads((ROOT / setup.folder / STAMP).read_bytes().decode("utf-8"))
    except (OSError, ValueError):
        return {}
    # A virtual environment holds absolute paths and a link to its Python: it survives the move of neither.
    usable = isinstance(stamp, dict) and stamp.get("root") == str(ROOT) and _program(setup, "python").exists()
    if not usable or not os.path.exists(str(stamp.get("base"))):
        return {}
    # Another Python was asked for since; no override means that any fitting one will do.
    return stamp if _override() in (None, stamp["base"], stamp.get("override")) else {}


def _write_stamp(setup: Setup, base: str) -> None:
    """Record the finished setup: the digests of the locks that are installed, where, and from which Python."""
    locks = {lock: _digest(lock) for lock in (setup.lock, *setup.covers, UV_LOCK)}
    record = {"root": str(ROOT), "base": base, "override": _override(), "locks": locks}
    _write(ROOT / setup.folder / STAMP, json.dumps(record, indent=2).encode("utf-8"))


def _is_ready(setup: Setup) -> bool:
    """Whether the virtual environment was finished with exactly the lock files that are there now."""
    locks = _read_stamp(setup).get("locks", {})
    return all(locks.get(lock) == _digest(lock) for lock in (setup.lock, UV_LOCK))


def _set_up(setup: Setup) -> None:
    """Make or update the virtual environment; the stamp goes first and comes back last, so a kill leaves none.

    Without a stamp nobody knows what is in the folder, so it is made anew.
    """
    base = _read_stamp(setup).get("base")
    if base:
        _say("Bringing {} up to {} - a minute, once".format(setup.folder, setup.lock))
        (ROOT / setup.folder / STAMP).unlink()
    else:
        base = _make_anew(setup)
    # The lock has all dependencies, and its hashes say which file is the right one, whichever index has it.
    hashed = ["--require-hashes", "--index-strategy", "unsafe-best-match"]
    # Compiled now, on all cores: else a flow and its server compile the same modules at once.
    sync = ["sync", "--compile-bytecode", *hashed, setup.lock]
    _say("  1/2 uv, which installs the packages")
    uv = _get_uv(setup)
    _say("  2/2 {} packages: fetched, checked against their hashes, compiled".format(_count_packages(setup.lock)))
    uv(sync, FAILURE.format("uv", setup.lock))
    _write_stamp(setup, base)


def _count_packages(lock: str) -> int:
    return len(re.findall(r"^[\w.-]+==", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE))


def _make_anew(setup: Setup) -> str:
    """Make an empty virtual environment in place of what is there; return the path of the Python it is made from."""
    interpreter = find_python()
    _say("Setting up {} with Python {} - a minute, once".format(setup.folder, interpreter.version))
    folder = ROOT / setup.folder
    if folder.is_symlink():
        folder.unlink()  # and not what is in the folder of somebody else
    failure = "{} cannot make {}: close what uses it".format(interpreter.path, setup.folder)
    _need([interpreter.path, "-m", "venv", "--clear", str(folder)], failure, _clean_environment())
    return interpreter.path


def _link_project(setup: Setup) -> None:
    """Make the packages of the repository importable from any folder, and give it the `dpa` command.

    This stands for an editable install, which needs a build backend and hence packages that are in no lock.
    """
    site_packages = sorted((ROOT / setup.folder).glob("Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"))
    for folder in site_packages:
        # Relative, hence plain ASCII whatever the checkout is called: .pth files are read in the locale's encoding.
        _write(folder / "dpa.pth", os.path.relpath(str(ROOT), str(folder)).encode("ascii") + b"\n")
    # -P: a folder called freight in the current directory must not stand in for ours.
    start = '-P -c "from {} import main; main()"'.format(CLI)
    if WINDOWS:
        launcher = '@"%~dp0python.exe" {} %*\r\n'.format(start)
        _write(_program(setup, "dpa").with_suffix(".cmd"), launcher.encode("ascii"))
    else:
        # sh instead of a Python shebang line, which can hold neither a blank nor a long path.
        launcher = '#!/bin/sh\nexec {} {} "$@"\n'.format(shlex.quote(str(_program(setup, "python"))), start)
        _write(_program(setup, "dpa"), os.fsencode(launcher), mode=0o755)


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Give a file its content in one step, unless it has it."""
    if path.exists() and path.read_bytes() == content:
        return
    draft = path.with_name("{}.{}".format(path.name, os.getpid()))
    draft.write_bytes(content)
    draft.chmod(mode)
    os.replace(str(draft), str(path))


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold back a second setup in this checkout while one is under way; the system frees the lock of a dead one.

    The programs started meanwhile share the lock, since an installer that outlives a killed bootstrap still writes into
    the folder. Windows cannot share it: there it ends with this process.
    """
    with open(__file__, "rb") as handle:
        has_said = False
        while not _try_lock(handle):
            if not has_said:
                _say("Waiting for another setup in this folder to finish")
                has_said = True
            time.sleep(LOCK_RETRY_S)
        os.set_inheritable(handle.fileno(), not WINDOWS)
        yield


def _try_lock(handle: IO[bytes]) -> bool:
    """Lock the file if nobody holds it; on a file system without locks go on without one."""
    try:
        if sys.platform == "win32":
            import msvcrt

            handle.seek(1 << 30)  # far past the end: Windows would forbid others to read what is locked
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


# --- Getting uv ---------------------------------------------------------------------------------------------------


def _get_uv(setup: Setup) -> Callable[[List[str], str], None]:
    """Let pip, which each virtual environment has, install the locked uv; return what runs a command of `uv pip`."""
    python = str(_program(setup, "python"))
    settings = _pip_settings(python)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    locked = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", UV_LOCK]
    _need([*pip, *locked], FAILURE.format("pip", UV_LOCK), _environment_of_pip(settings))
    options = ["--python", python]
    if not sys.stderr.isatty():  # on a terminal uv shows its progress, and then what it has installed
        options.append("--quiet")
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")

    def uv(arguments: List[str], failure: str) -> None:
        _need([str(_program(setup, "uv")), "pip", *arguments, *options], failure, _environment_of_uv(settings))

    return uv


def _pip_settings(python: str) -> Dict[str, str]:
    """Return what files and variables of this machine set for pip, such as the mirror of a company."""
    argv = [python, "-m", "pip", "config", "list"]
    printed = subprocess.run(argv, stdout=subprocess.PIPE, universal_newlines=True, env=_clean_environment()).stdout
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.+)$", printed, re.MULTILINE)
    found.sort(key=lambda line: ("global", "install", ":env:").index(line[0]))  # the last one wins
    return {name: ast.literal_eval(value) for _, name, value in found}


def _environment_of_pip(settings: Dict[str, str]) -> Dict[str, str]:
    """Return an environment in which pip serves a virtual environment, from uv's index if it has none of its own."""
    environment = dict(_clean_environment(), PIP_USER="0")  # a user's setting that no virtual environment accepts
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("UV_INDEX_URL")
    if index and "index-url" not in settings:
        environment["PIP_INDEX_URL"] = re.sub(r"^[\w.-]+=", "", index)  # uv lets an index have a name
    return environment


def _environment_of_uv(settings: Dict[str, str]) -> Dict[str, str]:
    """Return an environment in which uv, which does not read pip's settings, goes by them; its own come first."""
    environment = {uv: " ".join(settings[pip].split()) for pip, uv in SETTINGS_OF_UV.items() if pip in settings}
    links = settings.get("find-links", "").split()
    environment["UV_FIND_LINKS"] = ",".join(link for link in links if "://" in link or os.path.isdir(link))
    environment["UV_COMPILE_BYTECODE_TIMEOUT"] = "600"  # for one file, on however busy a machine
    if _has_certificates():
        environment["UV_SYSTEM_CERTS"] = "true"
    return dict(environment, **_clean_environment())


def _has_certificates() -> bool:
    """Whether the system keeps certificates. pip trusts them; uv does on request, and fails where there are none."""
    import ssl  # here, since an old Python that only starts this file may lack it

    paths = ssl.get_default_verify_paths()
    return sys.platform in ("win32", "darwin") or bool(paths.cafile or (paths.capath and os.listdir(paths.capath)))


# --- Starting programs --------------------------------------------------------------------------------------------


def _say(line: str) -> None:
    """Print at once, before any line of a program started next."""
    print(line, flush=True)


def _clean_environment() -> Dict[str, str]:
    """Return the environment without what would make one Python pass for another."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "__PYVENV_LAUNCHER__")}


def _environment(setup: Setup) -> Dict[str, str]:
    """Return the environment for programs in the virtual environment: as if it were activated, plus our defaults."""
    environment = dict(ENVIRONMENT, **_clean_environment())
    environment["VIRTUAL_ENV"] = str(ROOT / setup.folder)
    environment["PATH"] = os.pathsep.join([str(_program(setup, "python").parent), environment.get("PATH", os.defpath)])
    return environment


def _call(argv: List[str], environment: Dict[str, str]) -> int:
    """Run a program in the repository and return its exit code, 128 + n if signal n ended it."""
    code, interrupted = _run_to_end(argv, environment)
    if interrupted:
        raise KeyboardInterrupt
    return code


def _run_to_end(argv: List[str], environment: Dict[str, str]) -> Tuple[int, bool]:
    """Run a program in the repository; return its exit code, and whether Ctrl-C came meanwhile."""
    process = subprocess.Popen(argv, cwd=str(ROOT), env=environment, close_fds=False)  # the lock of a setup is shared
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True  # the program got the same Ctrl-C and is given the time to end well
    return (code if code >= 0 else 128 - code), interrupted


def _need(argv: List[str], failure: str, environment: Dict[str, str]) -> None:
    """Run a step of the setup, which must succeed."""
    code = _call(argv, environment)
    if code != 0:
        raise BootstrapError("{}, and repeat the command (exit code {}).".format(failure, code))


def _become(argv: List[str], environment: Dict[str, str]) -> int:
    """Hand over to the last program of a command; its exit code is ours.

    Where the system can, it takes the place of this process, so that a scheduler's signals reach it.
    """
    if not WINDOWS:
        os.chdir(str(ROOT))
        os.execve(argv[0], argv, environment)
    return _run_to_end(argv, environment)[0]


# --- Commands -----------------------------------------------------------------------------------------------------

Command = Callable[[List[str]], int]


def _module(setup: Setup, *argv: str) -> Command:
    """Return a command that hands over to `python -m ...` of a virtual environment."""
    return lambda args: _become([str(prepare(setup)), "-m", *argv, *args], _environment(setup))


def run(args: List[str]) -> int:
    """Simulate what is missing, then load."""
    python = str(prepare(RUN))
    environment = _environment(RUN)
    code = _call([python, "-m", CLI, "demo"], environment)
    return code or _become([python, "-m", CLI, "run", *args], environment)


def check(args: List[str]) -> int:
    """Run all checks, whichever of them fail."""
    python = str(prepare(DEV))
    checks = {
        "ruff check": [python, "-m", "ruff", "check", *args],
        "ruff format": [python, "-m", "ruff", "format", "--check", *args],
        "mypy": [python, "-m", "mypy", *args],
        "lint-imports": [str(_program(DEV, "lint-imports")), "--no-logo"],
        "documents": [python, "-m", "pytest", "-q", "-n", "0", os.path.join("tests", "unit", "test_docs.py")],
    }
    failed = []
    for name, argv in checks.items():
        _say("== " + name)
        if _call(argv, _environment(DEV)) != 0:
            failed.append(name)
    _say("Failed: " + ", ".join(failed) if failed else "All checks passed.")
    return 1 if failed else 0


def test_kubernetes(args: List[str]) -> int:
    """Run the tests on a cluster, if one is named."""
    missing = [name for name in ("KUBECONFIG", "DPA_TEST_IMAGE") if not os.environ.get(name)]
    if missing:
        raise BootstrapError("NOT TESTED on Kubernetes: set {}, see CONTRIBUTING.md".format(" and ".join(missing)), 2)
    command = _module(DEV, "pytest", "-m", "kubernetes", "-n", "0")
    return command(args or [os.path.join("tests", "kubernetes")])


def lock(args: List[str]) -> int:
    """Compile each lock again, in an environment apart, since .venv cannot be made while they are wrong."""
    with tempfile.TemporaryDirectory() as scratch:
        apart = Setup(scratch, UV_LOCK)
        _make_anew(apart)
        uv = _get_uv(apart)
        shared = ["compile", "--generate-hashes", "--no-header", "--no-annotate", "--universal"]
        shared += ["--python-version", "{}.{}".format(*OLDEST), *args]
        dev = ["pyproject.toml", "--extra", "dev", "--extra", "kubernetes"]
        # Each lock but uv's holds the ones before it in the same versions.
        for name, *options in (
            [UV_LOCK, "--group", "setup"],
            [RUN.lock, "pyproject.toml"],
            [DEV.lock, *dev, "-c", RUN.lock],
            [BENCH.lock, *dev, "--extra", "bench", "-c", RUN.lock, "-c", DEV.lock],
        ):
            _say("Resolving " + name)
            uv([*shared, *options, "--output-file", name], FAILURE.format("uv", name))
    return 0


COMMANDS: Dict[str, Command] = {
    "run": run,
    "stream": _module(RUN, CLI, "stream"),
    "up": _module(RUN, "deployments.local", "up"),
    "down": _module(RUN, "deployments.local", "down"),
    "test": _module(DEV, "pytest"),
    "check": check,
    "bench": _module(BENCH, "benchmarks"),
    "chaos": _module(DEV, "pytest", "-m", "chaos or hypothesis", "--hypothesis-profile", "thorough", "-n", "2"),
    "test-kubernetes": test_kubernetes,
    "reset": _module(RUN, CLI, "reset"),
    "lock": lock,
}


def main(argv: List[str]) -> int:
    """Carry out the command line (without the program's name) and return the exit code."""
    if argv[:1] in (["help"], ["-h"], ["--help"]):
        _say(__doc__)
        return 0
    if not argv or argv[0] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return COMMANDS[argv[0]](argv[1:])
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:  # such as a lock file that is missing
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
