"""The bootstrap finds a fitting Python and notices every virtual environment that is not as locked."""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bootstrap

SOURCE = Path(bootstrap.__file__)
REPOSITORY = SOURCE.parent
LOCKS = ["requirements-uv.lock", "requirements.lock", "requirements-dev.lock", "requirements-bench.lock"]
THOROUGH = ("-m", "chaos or hypothesis", "--hypothesis-profile", "thorough")
TOO_OLD = 'echo "3.8.18 64-bit CPython /opt/old/python3"'

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in interpreters are shell scripts")


def write_program(path: Path, body: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def fitting(path: Path) -> Path:
    """Write a stand-in that is really the Python of this test."""
    return write_program(path, f'exec "{sys.executable}" "$@"')


class OldSys:
    """The `sys` of an old Python; everything but who is running is that of this one."""

    version_info = (3, 8, 18, "final", 0)

    def __init__(self, executable: str) -> None:
        self.executable = executable

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Python but an old one, which runs the bootstrap; returns its only PATH folder."""
    path = tmp_path / "bin"
    path.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("PATH", str(path))
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("PYENV_ROOT", "XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR", "DPA_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bootstrap, "sys", OldSys(str(write_program(tmp_path / "running" / "python", TOO_OLD))))
    return path


@posix_only
class TestFindingPython:
    real = (sys.executable, ".".join(map(str, sys.version_info[:3])))

    def found(self) -> bool:
        """Whether the interpreter found is the real one behind the stand-ins, not a stand-in."""
        interpreter = bootstrap.find_python()
        return interpreter.version == self.real[1] and Path(interpreter.path).exists()

    def test_passes_over_an_old_default(self, machine: Path) -> None:
        write_program(machine / "python3", TOO_OLD)
        fitting(machine / "python3.13")
        assert self.found()

    def test_passes_over_a_shim_that_fails(self, machine: Path) -> None:
        write_program(machine / "python3.12", 'echo "pyenv: python3.12: command not found" >&2; exit 127')
        fitting(machine / "python3")
        assert self.found()

    def test_passes_over_a_hanging_program(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_program(machine / "python3.12", f"exec {shutil.which('sleep', path=os.defpath)} 60")
        interpreter = write_program(machine / "python3.13", "echo '3.13.0 64-bit CPython /opt/new/python'")
        monkeypatch.setattr(bootstrap, "PROBE_TIMEOUT_S", 1.0)
        assert (str(interpreter),) in bootstrap.candidates()
        assert bootstrap.find_python() == bootstrap.Interpreter("/opt/new/python", "3.13.0")

    def test_looks_behind_a_shim_further_down_the_path(
        self, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_program(machine / "python3.12", "exit 127")
        fitting(tmp_path / "later" / "python3.12")
        monkeypatch.setenv("PATH", f"{machine}{os.pathsep}{tmp_path / 'later'}")
        assert self.found()

    @pytest.mark.usefixtures("machine")
    @pytest.mark.parametrize(
        "place",
        [".pyenv/versions/3.12.1", ".local/share/uv/python/cpython-3.12.4-linux-x86_64-gnu"],
    )
    def test_finds_what_version_managers_hide(self, tmp_path: Path, place: str) -> None:
        fitting(tmp_path / "home" / place / "bin" / "python")
        assert self.found()

    def test_follows_pyenv_root(self, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fitting(tmp_path / "elsewhere" / "versions" / "3.13.0" / "bin" / "python")
        monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "elsewhere"))
        assert self.found()
        assert not list(machine.iterdir())

    def test_prefers_the_lowest_minor_and_leaves_old_versions_alone(self, machine: Path, tmp_path: Path) -> None:
        versions = tmp_path / "home" / ".pyenv" / "versions"
        for version in ("2.7.18", "3.11.7", "3.13.0", "3.12.1"):
            fitting(versions / version / "bin" / "python")
        fitting(machine / "python3")
        assert bootstrap.candidates() == [
            (str(versions / "3.12.1" / "bin" / "python"),),
            (str(versions / "3.13.0" / "bin" / "python"),),
            (str(machine / "python3"),),
        ]

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (
                "echo '3.12.1 64-bit CPython /p'; printf \"Traceback\\nNo module named 'ensurepip'\\n\" >&2; exit 1",
                "not a whole one (No module named 'ensurepip')",
            ),
            ("echo '3.13.0 64-bit CPython-without-GIL /p'", "without-GIL"),
            ("echo '3.12.1 32-bit CPython /p'", "32-bit"),
            ("echo '3.12.1 64-bit PyPy /p'", "PyPy"),
            ("echo '3.11.7 64-bit CPython /p'", "3.11.7, which is too old"),
            ("echo 'Python was not found; run without arguments to install'; exit 9", "exit code 9"),
        ],
    )
    def test_says_why_a_python_will_not_do(self, tmp_path: Path, body: str, reason: str) -> None:
        interpreter, refusal = bootstrap.probe((str(write_program(tmp_path / "python3.12", body)),))
        assert interpreter is None
        assert reason in refusal

    def test_override_is_the_only_candidate(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fitting(machine / "python3.12")
        monkeypatch.setenv("DPA_PYTHON", str(write_program(machine / "mine", TOO_OLD)))
        with pytest.raises(bootstrap.BootstrapError, match="unset DPA_PYTHON") as caught:
            bootstrap.find_python()
        assert caught.value.exit_code == 2
        fitting(machine / "mine")
        assert self.found()

    def test_override_may_be_a_name(self, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fitting(machine / "mine")
        monkeypatch.setenv("DPA_PYTHON", "mine")
        assert self.found()

    def test_none_at_all_exits_2_and_says_what_to_install(
        self,
        machine: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        complaint = "pyenv: python3: command not found\\n\\nNote: see 'pyenv help global'"
        broken = write_program(machine / "python3", f'printf "{complaint}\\n" >&2; exit 127')
        monkeypatch.setattr(bootstrap, "ROOT", checkout(tmp_path / "checkout"))
        assert bootstrap.main(["test"]) == 2
        complaint = capsys.readouterr().err
        assert f"{broken} does not work (pyenv: python3: command not found)" in complaint
        for remedy in ("apt-get install python3.12 python3.12-venv", "brew install", "winget install", "DPA_PYTHON="):
            assert remedy in complaint
        assert not (tmp_path / "checkout" / ".venv").exists()


def checkout(folder: Path) -> Path:
    """Make a folder that looks like the repository to the bootstrap."""
    (folder / "freight" / "console").mkdir(parents=True)
    (folder / "freight" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "freight" / "console" / "cli.py").write_text(
        "import sys\ndef main(): print('dpa', *sys.argv[1:])\n", encoding="utf-8"
    )
    shutil.copy(SOURCE, folder)
    for lock in LOCKS:
        (folder / lock).write_text(f"# packages of {lock}\nit==1\n", encoding="utf-8")
    return folder


class Setups:
    """A checkout whose virtual environments are real but empty: pip and uv, which would download, are stood in for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venvs_made = 0
        self.installed: list[str] = []
        self.uv_exit_code = 0
        self.told: list[str] = []

    def call(self, argv: list[str], environment: dict[str, str]) -> int:
        """Stand in for `bootstrap._call`: make virtual environments without pip, and only note what uv is told."""
        if argv[1:3] == ["-m", "venv"]:
            self.venvs_made += 1
            # Without pip since that takes seconds, and here nobody would call it.
            return subprocess.run([*argv, "--without-pip"], env=environment, check=False).returncode
        assert "--require-hashes" in argv
        assert not (self.root / argv[0]).parents[1].joinpath(bootstrap.STAMP).exists()
        if argv[1:4] == ["-m", "pip", "install"]:
            assert argv[-2:] == ["-r", "requirements-uv.lock"]
            return 0
        assert argv[1:3] == ["pip", "sync"]
        self.told = argv
        self.installed += [argument for argument in argv if argument in LOCKS]
        return self.uv_exit_code

    def prepare(self, setup: bootstrap.Setup) -> tuple[int, list[str]]:
        """Prepare a setup; return how many virtual environments that made and which locks it installed."""
        made, self.installed = self.venvs_made, []
        bootstrap.prepare(setup)
        return self.venvs_made - made, self.installed


@pytest.fixture
def setups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setups:
    """A fresh checkout, in a folder whose name is a trial for quoting and encoding."""
    setups = Setups(checkout(tmp_path / "Gare de Ngaoundéré's"))
    monkeypatch.setattr(bootstrap, "ROOT", setups.root)
    monkeypatch.setattr(bootstrap, "__file__", str(setups.root / SOURCE.name))  # what a setup locks
    monkeypatch.setattr(bootstrap, "_call", setups.call)
    monkeypatch.setattr(bootstrap, "_pip_settings", lambda _: {})
    monkeypatch.setenv("DPA_PYTHON", sys.executable)
    return setups


class TestSetup:
    def test_second_call_does_nothing(self, setups: Setups) -> None:
        assert setups.prepare(bootstrap.RUN) == (1, ["requirements.lock"])
        assert setups.prepare(bootstrap.RUN) == (0, [])

    def test_says_once_what_it_does(self, setups: Setups, capsys: pytest.CaptureFixture[str]) -> None:
        setups.prepare(bootstrap.RUN)
        setups.prepare(bootstrap.RUN)
        version = ".".join(map(str, sys.version_info[:3]))
        assert capsys.readouterr().out.splitlines() == [
            f"Setting up .venv with Python {version} - a minute, once",
            "  1/2 uv, which installs the packages",
            "  2/2 1 packages: fetched, checked against their hashes, compiled",
        ]

    def test_uv_shows_its_progress_on_a_terminal_alone(self, setups: Setups, monkeypatch: pytest.MonkeyPatch) -> None:
        setups.prepare(bootstrap.RUN)
        assert "--quiet" in setups.told
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        setups.prepare(bootstrap.BENCH)
        assert "--quiet" not in setups.told

    @pytest.mark.parametrize("lock", ["requirements.lock", "requirements-uv.lock"])
    def test_stale_lock_is_installed(self, setups: Setups, lock: str) -> None:
        setups.prepare(bootstrap.RUN)
        (setups.root / lock).write_text("# newer\n", encoding="utf-8")
        assert setups.prepare(bootstrap.RUN) == (0, ["requirements.lock"])
        assert setups.prepare(bootstrap.RUN) == (0, [])

    def test_development_packages_serve_the_run_too(self, setups: Setups) -> None:
        assert setups.prepare(bootstrap.DEV) == (1, ["requirements-dev.lock"])
        assert setups.prepare(bootstrap.RUN) == (0, [])
        (setups.root / "requirements-dev.lock").write_text("# newer\n", encoding="utf-8")
        assert setups.prepare(bootstrap.RUN) == (0, [])
        assert setups.prepare(bootstrap.DEV) == (0, ["requirements-dev.lock"])

    def test_development_packages_are_added_to_those_of_the_run(self, setups: Setups) -> None:
        setups.prepare(bootstrap.RUN)
        assert setups.prepare(bootstrap.DEV) == (0, ["requirements-dev.lock"])
        assert setups.prepare(bootstrap.RUN) == (0, [])

    def test_benchmarks_have_a_venv_of_their_own(self, setups: Setups) -> None:
        setups.prepare(bootstrap.DEV)
        assert setups.prepare(bootstrap.BENCH) == (1, ["requirements-bench.lock"])
        assert setups.prepare(bootstrap.DEV) == (0, [])

    @pytest.mark.parametrize("already_there", [None, bootstrap.RUN])
    def test_half_made_venv_is_made_again(self, setups: Setups, already_there: bootstrap.Setup | None) -> None:
        if already_there:
            setups.prepare(already_there)
        setups.uv_exit_code = -9
        with pytest.raises(bootstrap.BootstrapError, match=r"requirements-dev\.lock"):
            setups.prepare(bootstrap.DEV)
        setups.uv_exit_code = 0
        assert setups.prepare(bootstrap.DEV) == (1, ["requirements-dev.lock"])

    @pytest.mark.parametrize("left_over", ["", "{", "[]", '{"root": 1}'])
    def test_folder_without_a_valid_stamp_is_made_again(self, setups: Setups, left_over: str) -> None:
        (setups.root / ".venv").mkdir()
        (setups.root / ".venv" / bootstrap.STAMP).write_text(left_over, encoding="utf-8")
        assert setups.prepare(bootstrap.RUN) == (1, ["requirements.lock"])

    def test_venv_whose_python_is_gone_is_made_again(self, setups: Setups) -> None:
        setups.prepare(bootstrap.RUN)
        stamp = setups.root / ".venv" / bootstrap.STAMP
        gone = json.loads(stamp.read_text(encoding="utf-8")) | {"base": str(setups.root / "uninstalled")}
        stamp.write_text(json.dumps(gone), encoding="utf-8")
        assert setups.prepare(bootstrap.RUN) == (1, ["requirements.lock"])

    def test_moved_checkout_is_set_up_again(self, setups: Setups, monkeypatch: pytest.MonkeyPatch) -> None:
        setups.prepare(bootstrap.RUN)
        setups.root = setups.root.rename(setups.root.with_name("moved"))
        monkeypatch.setattr(bootstrap, "ROOT", setups.root)
        monkeypatch.setattr(bootstrap, "__file__", str(setups.root / SOURCE.name))
        assert setups.prepare(bootstrap.RUN) == (1, ["requirements.lock"])

    @posix_only
    def test_other_override_is_obeyed(self, setups: Setups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        setups.prepare(bootstrap.RUN)
        monkeypatch.setenv("DPA_PYTHON", str(fitting(tmp_path / "other")))
        assert setups.prepare(bootstrap.RUN) == (1, ["requirements.lock"])
        assert setups.prepare(bootstrap.RUN) == (0, [])
        monkeypatch.delenv("DPA_PYTHON")
        assert setups.prepare(bootstrap.RUN) == (0, [])

    @posix_only
    def test_folder_behind_a_link_is_left_alone(self, setups: Setups, tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        (theirs / "file").touch()
        (setups.root / ".venv").symlink_to(theirs)
        assert setups.prepare(bootstrap.RUN) == (1, ["requirements.lock"])
        assert [path.name for path in theirs.iterdir()] == ["file"]

    def test_missing_lock_is_named(self, setups: Setups, capsys: pytest.CaptureFixture[str]) -> None:
        (setups.root / "requirements-dev.lock").unlink()
        assert bootstrap.main(["test"]) == 1
        assert "requirements-dev.lock" in capsys.readouterr().err

    def test_two_at_a_time_set_up_once(self, setups: Setups) -> None:
        threads = [threading.Thread(target=bootstrap.prepare, args=(bootstrap.RUN,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (setups.venvs_made, setups.installed) == (1, ["requirements.lock"])

    @posix_only
    def test_lock_outlives_a_killed_setup_while_its_installer_runs(self, tmp_path: Path) -> None:
        root = checkout(tmp_path / "checkout")
        installer = write_program(tmp_path / "installer", "echo started; read line")
        code = f"import bootstrap\nwith bootstrap._one_at_a_time(): bootstrap._call([{str(installer)!r}], {{}})"
        command = [sys.executable, "-c", code]
        with (root / SOURCE.name).open("rb") as handle:
            with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
                assert killed.stdout is not None
                assert killed.stdout.readline() == b"started\n"
                killed.kill()
                killed.wait()
                assert not bootstrap._try_lock(handle)
            # Leaving the block closed the pipe that the stand-in for an installer was waiting for.
            while not bootstrap._try_lock(handle):
                time.sleep(0.01)

    @posix_only
    def test_project_is_importable_and_dpa_starts_from_anywhere(self, setups: Setups, tmp_path: Path) -> None:
        setups.prepare(bootstrap.RUN)
        (tmp_path / "freight").mkdir()  # must not stand in for the project's
        started = subprocess.run(
            [setups.root / ".venv" / "bin" / "dpa", "status", "a b"],
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (started.returncode, started.stdout, started.stderr) == (0, "dpa status a b\n", "")

    @pytest.mark.parametrize("left", ["from freight.cli import main", None])
    def test_launcher_is_renewed_though_the_lock_is_as_before(self, setups: Setups, left: str | None) -> None:
        setups.prepare(bootstrap.RUN)
        (launcher,) = (path for path in bootstrap._program(bootstrap.RUN, "dpa").parent.glob("dpa*"))
        fresh = launcher.read_bytes()
        if left:
            launcher.write_text(left, encoding="ascii")
        else:
            launcher.unlink()
        assert setups.prepare(bootstrap.RUN) == (0, [])
        assert launcher.read_bytes() == fresh
        assert os.access(launcher, os.X_OK)


def wheel(folder: Path, name: str) -> str:
    """Write a wheel of one module; return the line of a lock that pins it."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@posix_only
class TestUv:
    """What is installed, by the real uv, on a machine with a folder of wheels and no network."""

    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        root = checkout(tmp_path / "checkout")
        wheels = tmp_path / "wheels"
        wheels.mkdir()
        pins = [wheel(wheels, name) for name in ("needed", "developing")]
        (root / "requirements.lock").write_text(pins[0], encoding="utf-8")
        (root / "requirements-dev.lock").write_text("".join(pins), encoding="utf-8")
        (tmp_path / "pip.conf").write_text(
            f"[global]\nno-index = true\nfind-links =\n  {wheels}\n  /no/folder\n", "utf-8"
        )
        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("DPA_PYTHON", sys.executable)
        monkeypatch.setattr(bootstrap, "ROOT", root)
        monkeypatch.setattr(bootstrap, "__file__", str(root / SOURCE.name))
        call, pip_settings = bootstrap._call, bootstrap._pip_settings

        def with_what_the_tests_have(argv: list[str], environment: dict[str, str]) -> int:
            """Run a program but pip, which the environment gets in name only: the real one takes seconds to install."""
            if argv[1:3] == ["-m", "venv"]:
                return call([*argv, "--without-pip"], environment)
            if argv[1:4] != ["-m", "pip", "install"]:
                return call(argv, environment)
            Path(argv[0]).with_name("uv").symlink_to(Path(sys.executable).with_name("uv"))
            wheel(wheels, "pip")
            with zipfile.ZipFile(wheels / "pip-1.0-py3-none-any.whl") as archive:
                archive.extractall(next(root.glob(".venv/lib/python3*/site-packages")))
            return 0

        monkeypatch.setattr(bootstrap, "_call", with_what_the_tests_have)
        monkeypatch.setattr(bootstrap, "_pip_settings", lambda _: pip_settings(sys.executable))
        return root

    def modules(self, root: Path) -> set[str]:
        return {path.stem for path in root.glob(".venv/lib/python3*/site-packages/*.py")}

    def test_installs_what_is_locked_and_nothing_else(self, root: Path) -> None:
        bootstrap.prepare(bootstrap.DEV)
        assert self.modules(root) == {"needed", "developing", "pip"}
        (root / "requirements.lock").write_text(
            f"# newer\n{(root / 'requirements.lock').read_text()}", encoding="utf-8"
        )
        (root / ".venv" / "bin" / "uv").unlink()
        bootstrap.prepare(bootstrap.RUN)
        assert self.modules(root) == {"needed", "pip"}

    def test_refuses_a_file_of_another_hash(self, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
        lock = root / "requirements.lock"
        lock.write_text(re.sub("sha256:.{4}", "sha256:0000", lock.read_text(encoding="utf-8")), encoding="utf-8")
        with pytest.raises(bootstrap.BootstrapError, match=r"uv could not cope with requirements.lock"):
            bootstrap.prepare(bootstrap.RUN)
        assert "hash" in capfd.readouterr().err.lower()
        assert self.modules(root) == {"pip"}


class TestSettingsOfTheMachine:
    def test_uv_goes_by_those_of_pip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in bootstrap.SETTINGS_OF_UV.values():
            monkeypatch.delenv(variable, raising=False)
        settings = {"index-url": "https://a/simple", "extra-index-url": "https://b\n  https://c", "cert": "/ca.pem"}
        environment = bootstrap._environment_of_uv(settings)
        assert {name: environment.get(name) for name in bootstrap.SETTINGS_OF_UV.values()} == {
            "UV_DEFAULT_INDEX": "https://a/simple",
            "UV_INDEX": "https://b https://c",
            "SSL_CERT_FILE": "/ca.pem",
        } | dict.fromkeys(["UV_INSECURE_HOST", "SSL_CLIENT_CERT", "ALL_PROXY", "UV_HTTP_TIMEOUT"])

    def test_uv_goes_by_its_own_first_and_pip_by_those_of_uv_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("UV_DEFAULT_INDEX", "mirror=https://uv/simple?a=b")
        monkeypatch.delenv("PIP_INDEX_URL", raising=False)
        settings = {"index-url": "https://pip/simple"}
        assert bootstrap._environment_of_uv(settings)["UV_DEFAULT_INDEX"] == "mirror=https://uv/simple?a=b"
        assert "PIP_INDEX_URL" not in bootstrap._environment_of_pip(settings)
        assert bootstrap._environment_of_pip({})["PIP_INDEX_URL"] == "https://uv/simple?a=b"

    def test_variables_win_over_commands_and_those_over_all(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "pip.conf"
        file.write_text("[install]\nproxy = b\ntimeout = 5\n[global]\nproxy = a\ntimeout = 4\ncert = it's\n", "utf-8")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
        monkeypatch.setenv("PIP_TIMEOUT", "6")
        monkeypatch.delenv("PIP_CERT", raising=False)
        settings = bootstrap._pip_settings(sys.executable)
        assert (settings["proxy"], settings["timeout"], settings["cert"]) == ("b", "6", "it's")


class TestCommands:
    @pytest.fixture
    def started(self, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """The programs that a command starts, recorded instead of started."""
        started: list[list[str]] = []
        self.exit_codes: dict[str, int] = {}

        def record(argv: list[str], environment: dict[str, str]) -> int:
            assert environment["MALLOC_ARENA_MAX"] == "7"
            assert environment["DO_NOT_TRACK"] == "1"
            started.append(argv[1:] if argv[1] == "-m" else [Path(argv[0]).name, *argv[1:]])
            return self.exit_codes.get(" ".join(argv[2:4]), 0)

        def ready(setup: bootstrap.Setup) -> Path:
            return Path(setup.folder, "python")

        monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
        monkeypatch.delenv("DO_NOT_TRACK", raising=False)
        monkeypatch.setattr(bootstrap, "prepare", ready)
        monkeypatch.setattr(bootstrap, "_call", record)
        monkeypatch.setattr(bootstrap, "_become", record)
        return started

    def test_run_simulates_then_loads(self, started: list[list[str]]) -> None:
        self.exit_codes["freight.console.cli run"] = 3
        assert bootstrap.main(["run", "--help"]) == 3
        assert started == [["-m", "freight.console.cli", "demo"], ["-m", "freight.console.cli", "run", "--help"]]

    def test_run_stops_when_the_simulation_fails(self, started: list[list[str]]) -> None:
        self.exit_codes["freight.console.cli demo"] = 4
        assert bootstrap.main(["run"]) == 4
        assert len(started) == 1

    def test_check_runs_all_and_reports_all_failures(
        self, started: list[list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.exit_codes = {"ruff check": 1, "mypy": 2}
        assert bootstrap.main(["check"]) == 1
        assert [argv[1] for argv in started] == ["ruff", "ruff", "mypy", "--no-logo", "pytest"]
        assert capsys.readouterr().out.endswith("Failed: ruff check, mypy\n")

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["test", "-k", "x"], ["-m", "pytest", "-k", "x"]),
            (["chaos", "-x"], ["-m", "pytest", *THOROUGH, "-n", "2", "-x"]),
            (["bench"], ["-m", "benchmarks"]),
            (["stream", "--seconds", "8"], ["-m", "freight.console.cli", "stream", "--seconds", "8"]),
            (["reset", "--yes"], ["-m", "freight.console.cli", "reset", "--yes"]),
        ],
    )
    def test_arguments_are_passed_on(self, started: list[list[str]], arguments: list[str], expected: list[str]) -> None:
        assert bootstrap.main(arguments) == 0
        assert started == [expected]

    @pytest.mark.parametrize(("arguments", "exit_code"), [([], 2), (["fly"], 2), (["help"], 0), (["--help"], 0)])
    def test_usage_lists_every_command(
        self, arguments: list[str], exit_code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert bootstrap.main(arguments) == exit_code
        printed = "".join(capsys.readouterr())
        assert set(re.findall(r"^  (\S+) ", printed, re.MULTILINE)) == bootstrap.COMMANDS.keys()

    @posix_only
    @pytest.mark.parametrize(("start", "exit_code"), [("_become", 3), ("_call", 130)])
    def test_ctrl_c_ends_a_command_unless_its_last_program_ends_well_on_it(
        self, tmp_path: Path, start: str, exit_code: int
    ) -> None:
        script = "trap 'sleep 0.3; exit 3' INT; sleep 0.3; kill -INT $PPID $$; sleep 9"
        program = write_program(tmp_path / "program", script)
        command = f"b.COMMANDS['it'] = lambda _: b.{start}([{str(program)!r}], {{}})"
        code = f"import bootstrap as b, sys; b.WINDOWS = True; {command}; sys.exit(b.main(['it']))"
        assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == exit_code

    @posix_only
    @pytest.mark.parametrize(("script", "exit_code"), [("exit 5", 5), ("kill -9 $$", 137)])
    def test_exit_codes_come_through(self, tmp_path: Path, script: str, exit_code: int) -> None:
        assert bootstrap._call([str(write_program(tmp_path / "program", script))], dict(os.environ)) == exit_code


def test_an_old_python_understands_the_file() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 6))
    # Annotations are evaluated on import, and the parser takes `X | Y` and `list[X]` whatever its feature version.
    hints = [
        hint for node in ast.walk(tree) for name in ("annotation", "returns") if (hint := getattr(node, name, None))
    ]
    parts = [part for hint in hints for part in ast.walk(hint)]
    assert parts
    assert not [part for part in parts if isinstance(part, ast.BinOp)]
    assert not [
        part
        for part in parts
        if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name) and part.value.id.islower()
    ]


def test_the_launcher_starts_what_the_product_calls_dpa() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"dpa": f"{bootstrap.CLI}:main"}


def test_only_the_standard_library_is_imported() -> None:
    imported = [
        name
        for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    assert set(imported) <= sys.stdlib_module_names


@pytest.fixture(scope="module")
def pins() -> Callable[[str], dict[str, str]]:
    """Read the versions that a lock file pins, by package."""

    def read(lock: str) -> dict[str, str]:
        text = (REPOSITORY / lock).read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE))

    return read


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("requirements.lock", "requirements-dev.lock"), ("requirements-dev.lock", "requirements-bench.lock")],
)
def test_each_lock_holds_the_one_before(pins: Callable[[str], dict[str, str]], smaller: str, larger: str) -> None:
    assert pins(smaller)
    assert pins(smaller).items() <= pins(larger).items()


def test_locks_hold_every_package_that_is_asked_for(pins: Callable[[str], dict[str, str]]) -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    extras = project["optional-dependencies"]
    for lock, requirements in (
        ("requirements-uv.lock", settings["dependency-groups"]["setup"]),
        ("requirements.lock", project["dependencies"]),
        ("requirements-dev.lock", extras["dev"]),
        ("requirements-bench.lock", extras["bench"]),
    ):
        names = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in requirements}  # type: ignore[index]
        assert names <= pins(lock).keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_server(lock: str) -> None:
    assert "://" not in (REPOSITORY / lock).read_text(encoding="utf-8")
