"""Set DPA up and start it, with nothing installed but some Python: `python bootstrap.py COMMAND [args...]`.

It finds an interpreter that DPA can use, makes a virtual environment with the locked packages beside this file,
and starts the command in it. All of that happens once; later calls start the command at once.

Exit codes: that of the command; 2 when the usage is wrong or no interpreter will do; 1 when the setup fails.
"""

# Any Python >= 3.6 has to understand this file, because the oldest one at hand is what starts it and its first job is
# to find a newer one: standard library only, no walrus, no dataclasses, no `X | Y` types, no match.

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
PYTHON_OVERRIDE = "DPA_PYTHON"

# One line without double quotes, and valid in Python 2: it has to pass through Windows batch shims and to get an
# answer from any candidate. ssl and sqlite3 are asked for since a self-built Python may silently lack them.
PROBE = (
    "import platform, struct, sys, sysconfig; "
    "print(' '.join([platform.python_version(), platform.python_implementation(), str(struct.calcsize('P') * 8), "
    "str(sysconfig.get_config_var('Py_GIL_DISABLED') or 0), getattr(sys, '_base_executable', '') or sys.executable])); "
    "import ensurepip, sqlite3, ssl, venv"
)

# Defaults that a user's own setting overrides.
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its own 20 s are too short on a busy small machine
    "PYTHONUTF8": "1",  # French names in logs, on Windows too
    "MALLOC_ARENA_MAX": "2",  # one for each thread holds 100 MiB that nobody uses
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000",  # Polars gives memory back at once, and asks for it again at once
}
RUN_ENVIRONMENT = {"PREFECT_LOGGING_LEVEL": "WARNING"}  # the flow prints its own summary


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


class Interpreter(NamedTuple):
    """A Python that DPA can use: the program itself, not a shim or launcher, and its version, such as `3.12.1`."""

    path: str
    version: str


Candidate = Tuple[str, ...]


# --- Finding an interpreter ---------------------------------------------------------------------------------------


def candidates() -> List[Candidate]:
    """Return the commands that may start a fitting Python: the oldest known minor first, unknown versions last."""
    found: Dict[Candidate, Tuple[int, ...]] = {}
    for version, candidate in _all_candidates():
        if version is None or version >= OLDEST:
            found.setdefault(candidate, version or (sys.maxsize,))
    return sorted(found, key=lambda candidate: found[candidate])  # stable: equal versions stay in order of search


def _all_candidates() -> Iterator[Tuple[Optional[Tuple[int, int]], Candidate]]:
    """Yield each candidate with the version its place or name promises, None if that says nothing."""
    if sys.executable:
        yield (sys.version_info[0], sys.version_info[1]), (sys.executable,)
    for minor in KNOWN_MINORS:
        for path in _on_path("python3.%d" % minor):
            yield (3, minor), (path,)
        if WINDOWS:
            for launcher in _on_path("py"):
                yield (3, minor), (launcher, "-3.%d" % minor)
    for folder, pattern in _version_folders():
        for program in sorted(folder.glob(pattern)):
            yield _version_in(program.relative_to(folder).parts[0]), (str(program),)
    for name in ("python3", "python"):
        for path in _on_path(name):
            yield None, (path,)


def _on_path(name: str) -> List[str]:
    """Return every program of that name on PATH, since the first may be a shim that fails."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    hits = [shutil.which(name, path=folder) for folder in folders if folder]
    return [hit for hit in hits if hit]


def _version_folders() -> List[Tuple[Path, str]]:
    """Return (folder, pattern) pairs where version managers keep their interpreters."""
    home = os.path.expanduser("~")
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    if WINDOWS:
        pyenv = os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv", "pyenv-win")
        roaming = os.environ.get("APPDATA") or os.path.join(home, "AppData", "Roaming")
        uv, program = os.path.join(roaming, "uv", "python"), "*/python.exe"
    else:
        pyenv = os.environ.get("PYENV_ROOT") or os.path.join(home, ".pyenv")
        uv, program = os.path.join(data, "uv", "python"), "*/bin/python"
    return [
        (Path(pyenv, "versions"), program),
        (Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or uv), program),
    ]


def _version_in(folder_name: str) -> Optional[Tuple[int, int]]:
    """Read (3, 12) out of `3.12.1` or `cpython-3.12.4-linux-x86_64-gnu`; None for a named environment."""
    match = re.match(r"(?:cpython-)?(\d+)\.(\d+)", folder_name)
    return (int(match.group(1)), int(match.group(2))) if match else None


def probe(candidate: Candidate) -> Tuple[Optional[Interpreter], str]:
    """Start a candidate and return it as an interpreter, or None and why it will not do."""
    try:
        answer = subprocess.run(
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
    match = re.search(r"^((\d+)\.(\d+)\S*) (\S+) (\d+) (\d+) (.+)$", answer.stdout, re.MULTILINE)
    complaints = answer.stderr.strip().splitlines() or ["exit code {}".format(answer.returncode)]
    complaint = complaints[-1 if complaints[0].startswith("Traceback") else 0]  # a shim adds advice below its complaint
    if match is None:
        return None, "does not work ({})".format(complaint)
    version, implementation, bits, no_gil, path = match.group(1, 4, 5, 6, 7)
    if (int(match.group(2)), int(match.group(3))) < OLDEST:
        return None, "is Python {}, which is too old".format(version)
    # The locked packages have ready-made wheels for the ordinary 64-bit CPython only.
    if (implementation, bits, no_gil) != ("CPython", "64", "0"):
        kind = implementation + (" without the GIL" if no_gil != "0" else "")
        return None, "is Python {}, but {}-bit {}".format(version, bits, kind)
    if answer.returncode != 0:
        return None, "is Python {}, but not a whole one ({})".format(version, complaint)
    return Interpreter(path, version), ""


def _override() -> Optional[str]:
    """Return the program that DPA_PYTHON names, be it by path or by name, None if it is unset or empty."""
    name = os.environ.get(PYTHON_OVERRIDE)
    return shutil.which(name) or name if name else None


def find_python() -> Interpreter:
    """Return the first candidate that works, or the one that DPA_PYTHON names.

    Raises:
        BootstrapError: none works (exit code 2).
    """
    override = _override()
    wanted = [(override,)] if override else candidates()
    refusals = []
    for candidate in wanted:
        interpreter, refusal = probe(candidate)
        if interpreter is not None:
            return interpreter
        refusals.append("  {} {}".format(" ".join(candidate), refusal))
    raise BootstrapError(_no_python_message(refusals, override), exit_code=2)


def _no_python_message(refusals: List[str], override: Optional[str]) -> str:
    """Say what was tried and what to install."""
    tried = ["These will not do:", *refusals] if refusals else ["There is no Python on PATH at all."]
    if override:
        tried.append("Correct or unset {}, which names it.".format(PYTHON_OVERRIDE))
    return "\n".join(
        [
            "DPA needs Python 3.12 or newer (64-bit CPython with venv and ensurepip).",
            *tried,
            "Install one and repeat the command:",
            "  Debian, Ubuntu  sudo apt-get install python3.12 python3.12-venv",
            "                  or, where the release has none: pyenv install 3.12, or: uv python install 3.12",
            "  macOS           brew install python@3.12",
            "  Windows         winget install Python.Python.3.12",
            "If you have one elsewhere, name it: {}=/path/to/python".format(PYTHON_OVERRIDE),
        ]
    )


# --- Making the virtual environment -------------------------------------------------------------------------------


def prepare(setup: Setup) -> Path:
    """Return the Python of the setup's virtual environment, which is made or brought up to date if need be.

    Raises:
        BootstrapError: no interpreter will do, or the packages cannot be installed.
    """
    if not _is_ready(setup):
        with _one_at_a_time():
            if not _is_ready(setup):  # another call may have done it while this one waited
                _set_up(setup)
    return _venv_python(setup)


def _venv_bin(setup: Setup) -> Path:
    return ROOT / setup.folder / ("Scripts" if WINDOWS else "bin")


def _venv_python(setup: Setup) -> Path:
    return _venv_bin(setup) / ("python.exe" if WINDOWS else "python")


def _digest(lock: str) -> str:
    """Return the SHA-256 of a lock file.

    Raises:
        BootstrapError: the file is missing.
    """
    try:
        return hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()
    except FileNotFoundError:
        raise BootstrapError("{} is missing: restore it, or make it with: bootstrap.py lock".format(lock)) from None


def _read_stamp(setup: Setup) -> Dict[str, Any]:
    """Return what the finished setup left, empty if it never finished or is not usable any more."""
    try:
        stamp = json.loads((ROOT / setup.folder / STAMP).read_bytes().decode("utf-8"))
    except (OSError, ValueError):
        return {}
    # A virtual environment holds absolute paths and a link to its Python: it survives the move of neither.
    usable = isinstance(stamp, dict) and stamp.get("root") == str(ROOT) and _venv_python(setup).exists()
    if not usable or not os.path.exists(str(stamp.get("base"))):
        return {}
    # Another Python was asked for since; no override means that any fitting one will do.
    return stamp if _override() in (None, stamp["base"], stamp.get("override")) else {}


def _is_ready(setup: Setup) -> bool:
    """Whether the virtual environment was finished with exactly the lock file that is there now."""
    locks = _read_stamp(setup).get("locks", {})
    return bool(locks.get(setup.lock) == _digest(setup.lock))


def _can_be_extended(setup: Setup) -> bool:
    """Whether what is installed is still as locked, so that more packages may simply be added."""
    locks = _read_stamp(setup).get("locks", {})
    return bool(locks) and all(lock in setup.covers and _digest(lock) == digest for lock, digest in locks.items())


def _set_up(setup: Setup) -> None:
    """Make or extend the virtual environment; the stamp goes first and comes back last, so a kill leaves none."""
    extend = _can_be_extended(setup)
    base = str(_read_stamp(setup).get("base", ""))
    stamp = ROOT / setup.folder / STAMP
    if stamp.exists():
        stamp.unlink()
    if extend:
        _say("Adding the packages of {} to {} - a minute, once".format(setup.lock, setup.folder))
    else:
        base = _make_venv(setup)
    _install(setup)
    _link_project(setup)
    _write_stamp(setup, base)


def _make_venv(setup: Setup) -> str:
    """Make the virtual environment anew and return the path of the Python it is made from.

    What is left of an older one is removed rather than repaired: pip never removes packages that left the lock.
    """
    interpreter = find_python()
    folder = ROOT / setup.folder
    _say("Setting up {} with Python {} - a minute or two, once".format(setup.folder, interpreter.version))
    try:
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(str(folder))
    except OSError as error:
        raise BootstrapError("Cannot remove the old {} ({}): close what uses it".format(folder, error)) from None
    _need([interpreter.path, "-m", "venv", str(folder)], "{} cannot make {}".format(interpreter.path, setup.folder))
    return interpreter.path


def _install(setup: Setup) -> None:
    """Install the locked packages, each checked against its hash."""
    command = [str(_venv_python(setup)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    failure = "pip could not install {}, see its message above: check the network and repeat the command"
    # Without dependencies: the lock has them all, and pip would look for a newer one where a package wants an extra.
    _need([*command, "--require-hashes", "--no-deps", "-r", setup.lock], failure.format(setup.lock))


def _link_project(setup: Setup) -> None:
    """Make the packages of the repository importable from any folder, and give it the `dpa` command.

    This stands for an editable install, which needs a build backend and hence packages that are in no lock.
    """
    site_packages = sorted((ROOT / setup.folder).glob("Lib/site-packages" if WINDOWS else "lib/python3*/site-packages"))
    for folder in site_packages:
        # Relative, hence plain ASCII whatever the checkout is called: .pth files are read in the locale's encoding.
        (folder / "dpa.pth").write_bytes(os.path.relpath(str(ROOT), str(folder)).encode("ascii") + b"\n")
    # -P: a folder called freight in the current directory must not stand in for ours.
    start = '-P -c "from freight.console.cli import main; main()"'
    if WINDOWS:
        (_venv_bin(setup) / "dpa.cmd").write_bytes('@"%~dp0python.exe" {} %*\r\n'.format(start).encode("ascii"))
        return
    launcher = _venv_bin(setup) / "dpa"
    # sh instead of a Python shebang line, which can hold neither a blank nor a long path.
    script = '#!/bin/sh\nexec {} {} "$@"\n'.format(shlex.quote(str(_venv_python(setup))), start)
    launcher.write_bytes(os.fsencode(script))
    launcher.chmod(0o755)


def _write_stamp(setup: Setup, base: str) -> None:
    """Record the finished setup: the digests of the locks that are installed, where, and from which Python."""
    locks = {lock: _digest(lock) for lock in (setup.lock, *setup.covers)}
    record = {"root": str(ROOT), "base": base, "override": _override(), "locks": locks}
    stamp = ROOT / setup.folder / STAMP
    draft = stamp.with_suffix(".new")
    draft.write_bytes(json.dumps(record, indent=2).encode("utf-8"))
    os.replace(str(draft), str(stamp))


_shared_handles: List[int] = []


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold back a second setup in this checkout while one is under way; the system frees the lock of a dead one.

    The programs started meanwhile share the lock: a pip that outlives a killed bootstrap still writes into the folder.
    """
    with open(__file__, "rb") as handle:
        told = False
        while not _try_lock(handle):
            if not told:
                _say("Waiting for another setup in this folder to finish")
                told = True
            time.sleep(LOCK_RETRY_S)
        _shared_handles.append(handle.fileno())
        try:
            yield
        finally:
            _shared_handles.clear()


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
    environment["PATH"] = os.pathsep.join([str(_venv_bin(setup)), environment.get("PATH", os.defpath)])
    return environment


def _call(argv: List[str], environment: Dict[str, str]) -> int:
    """Run a program in the repository and return its exit code, 128 + n if signal n ended it."""
    code, interrupted = _run_to_end(argv, environment)
    if interrupted:
        raise KeyboardInterrupt
    return code


def _run_to_end(argv: List[str], environment: Dict[str, str]) -> Tuple[int, bool]:
    """Run a program in the repository; return its exit code, and whether Ctrl-C came meanwhile."""
    # Windows cannot share single handles; there the lock ends with this process.
    process = subprocess.Popen(argv, cwd=str(ROOT), env=environment, pass_fds=() if WINDOWS else _shared_handles)
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True  # the program got the same Ctrl-C and is given the time to end well
    return (code if code >= 0 else 128 - code), interrupted


def _need(argv: List[str], failure: str) -> None:
    """Run a step of the setup.

    Raises:
        BootstrapError: it failed.
    """
    environment = _clean_environment()
    environment["PIP_USER"] = "0"  # a user's pip setting that no virtual environment accepts
    code = _call(argv, environment)
    if code != 0:
        raise BootstrapError("{} (exit code {}).".format(failure, code))


def _become(argv: List[str], environment: Dict[str, str]) -> int:
    """Hand over to the last program of a command; its exit code is ours.

    Where the system can, it takes the place of this process, so that a scheduler's signals reach it.
    """
    if not WINDOWS:
        os.chdir(str(ROOT))
        os.execve(argv[0], argv, environment)
    return _run_to_end(argv, environment)[0]


def _module(setup: Setup, *argv: str) -> int:
    """Set up, then hand over to `python -m ...`."""
    python = prepare(setup)
    return _become([str(python), "-m", *argv], _environment(setup))


# --- Commands -----------------------------------------------------------------------------------------------------


def run(args: List[str]) -> int:
    """Simulate today's deliveries and load them all."""
    python = str(prepare(RUN))
    environment = dict(RUN_ENVIRONMENT, **_environment(RUN))
    code = _call([python, "-m", "freight.console.cli", "demo"], environment)
    return code or _become([python, "-m", "flows.load_nightly", *args], environment)


def stream(args: List[str]) -> int:
    """Stream simulated events through a local Kafka into the warehouse, until Ctrl-C."""
    return _module(RUN, "freight.console.cli", "stream", *args)


def up(args: List[str]) -> int:
    """Start Prefect on this machine, with every deployment and a worker."""
    return _module(RUN, "deployments.local", "up", *args)


def down(args: List[str]) -> int:
    """End what `up` has started, the runs first."""
    return _module(RUN, "deployments.local", "down", *args)


def test(args: List[str]) -> int:
    """Run the tests, without the chaos tests."""
    return _module(DEV, "pytest", *args)


def check(args: List[str]) -> int:
    """Lint, check format, types, the layering of imports and the documents."""
    python = str(prepare(DEV))
    checks = {
        "ruff check": [python, "-m", "ruff", "check", *args],
        "ruff format": [python, "-m", "ruff", "format", "--check", *args],
        "mypy": [python, "-m", "mypy", *args],
        "lint-imports": [str(_venv_bin(DEV) / "lint-imports"), "--no-logo"],
        "documents": [python, "-m", "pytest", "-q", "-n", "0", os.path.join("tests", "unit", "test_docs.py")],
    }
    failed = []
    for name, argv in checks.items():
        _say("== " + name)
        if _call(argv, _environment(DEV)) != 0:
            failed.append(name)
    _say("Failed: " + ", ".join(failed) if failed else "All checks passed.")
    return 1 if failed else 0


def bench(args: List[str]) -> int:
    """Measure DPA against the alternatives, in an environment of its own."""
    return _module(BENCH, "benchmarks", *args)


def chaos(args: List[str]) -> int:
    """Run only the chaos tests, which kill and starve it."""
    return _module(DEV, "pytest", "-m", "chaos", "-n", "2", *args)


def test_kubernetes(args: List[str]) -> int:
    """Run only the tests on the Kubernetes of KUBECONFIG, with the image DPA_TEST_IMAGE."""
    missing = [name for name in ("KUBECONFIG", "DPA_TEST_IMAGE") if not os.environ.get(name)]
    if missing:
        raise BootstrapError("NOT TESTED on Kubernetes: set {}, see CONTRIBUTING.md".format(" and ".join(missing)), 2)
    return _module(DEV, "pytest", "-m", "kubernetes", "-n", "0", *(args or [os.path.join("tests", "kubernetes")]))


def reset(args: List[str]) -> int:
    """Remove what DPA has made: warehouse, deliveries, reports."""
    return _module(RUN, "freight.console.cli", "reset", *args)


def lock(args: List[str]) -> int:
    """Resolve the packages again; --upgrade takes the newest."""
    python = find_python()
    with tempfile.TemporaryDirectory() as scratch:
        uv = shutil.which("uv") or _throwaway_uv(python, Path(scratch))
        shared = [uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "--universal"]
        shared += ["--python-version", "{}.{}".format(*OLDEST), "--python", python.path, *args, "pyproject.toml"]
        dev = ["--extra", "dev", "--extra", "kubernetes"]
        # Each lock holds the ones before it in the same versions.
        for name, *options in (
            [RUN.lock],
            [DEV.lock, *dev, "-c", RUN.lock],
            [BENCH.lock, *dev, "--extra", "bench", "-c", RUN.lock, "-c", DEV.lock],
        ):
            _say("Resolving " + name)
            _need([*shared, *options, "--output-file", name], "uv could not resolve " + name)
    return 0


def _throwaway_uv(python: Interpreter, folder: Path) -> str:
    """Install uv into a temporary virtual environment and return its path."""
    _need([python.path, "-m", "venv", str(folder)], "{} cannot make a virtual environment".format(python.path))
    programs = folder / ("Scripts" if WINDOWS else "bin")
    _need([str(programs / "python"), "-m", "pip", "install", "--quiet", "uv"], "pip could not install uv")
    return str(programs / "uv")


COMMANDS: Dict[str, Callable[[List[str]], int]] = {
    command.__name__.replace("_", "-"): command
    for command in (run, stream, up, down, test, check, bench, chaos, test_kubernetes, reset, lock)
}


def usage() -> str:
    """Return the list of commands."""
    lines = ["  {:15} {}".format(name, command.__doc__) for name, command in COMMANDS.items()]
    return "\n".join(["Usage: python bootstrap.py COMMAND [args...]", *lines])


def main(argv: List[str]) -> int:
    """Carry out the command line (without the program's name) and return the exit code."""
    if argv[:1] in (["help"], ["-h"], ["--help"]):
        _say(usage())
        return 0
    if not argv or argv[0] not in COMMANDS:
        print(usage(), file=sys.stderr)
        return 2
    try:
        return COMMANDS[argv[0]](argv[1:])
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
