"""A parser that a hostile file has taken over tries what the user who loads can do; the real runner holds it back."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from freight.errors import SourceError
from freight.parsers.confinement import _filter
from freight.readers import find_files, isolated
from freight.readers.isolated import read_isolated
from freight.readers.raw import RawTable
from freight.settings import PROJECT_ROOT

pytestmark = [
    pytest.mark.apart,
    pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: only Linux confines a process without root"),
]

HERE = Path(__file__).parents[1] / "lib"
SECRET = "*:*:*:dpa:S3cret"

Attack = Callable[[str], str]


def read(path: Path, attack: str, starts: tuple[Path, ...] = (), parser: str = "attempt") -> RawTable:
    """Let the hostile parser have a file."""
    (file,) = find_files(str(path), path.parent)
    return read_isolated(file, f"hostile_parser.{parser}", {"attack": attack}, starts)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A delivery; its parser is the hostile one of the tests."""
    ours = isolated._environment()["PYTHONPATH"]
    monkeypatch.setattr(isolated, "_environment", lambda: {"PYTHONPATH": os.pathsep.join((ours, str(HERE)))})
    (tmp_path / "landing").mkdir()
    path = tmp_path / "landing" / "delivery.txt"
    path.write_text("what was delivered", encoding="utf-8")
    return path


@pytest.fixture
def attack(file: Path) -> Attack:
    """Returns what lines of Python get, run by the parser of a delivery."""

    def try_it(lines: str) -> str:
        return "".join(row[0] for batch in read(file, lines).batches for row in batch.rows.iter_rows())

    return try_it


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """A password file, as libpq takes it from the home of the user."""
    path = tmp_path / ".pgpass"
    path.write_text(SECRET, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_it_reads_its_file(attack: Attack) -> None:
    assert attack("got = path.read_text()") == "got 'what was delivered'"


@pytest.mark.parametrize(
    "lines",
    ["got = open({!r}).read()", "import os; got = os.listdir(os.path.dirname({!r}))"],
    ids=["its content", "the folder it is in"],
)
def test_it_does_not_read_the_passwords_of_the_user(attack: Attack, passwords: Path, lines: str) -> None:
    assert attack(lines.format(str(passwords))) == "refused: EACCES"


def test_it_does_not_make_them_readable_to_everybody(attack: Attack, passwords: Path) -> None:
    assert attack(f"import os; os.chmod({str(passwords)!r}, 0o644)") == "refused: EPERM"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["database", "logs", "pyproject.toml"])
def test_it_reads_nothing_that_lies_beside_the_package(attack: Attack, name: str) -> None:
    beside = PROJECT_ROOT / name
    read_it = f"open({str(beside)!r}).read()" if beside.is_file() else f"__import__('os').listdir({str(beside)!r})"
    assert attack(f"got = {read_it}") in ("refused: EACCES", "refused: ENOENT")


@pytest.mark.parametrize("mode", ["rb", "r+b", "wb"])
def test_it_reaches_no_warehouse(attack: Attack, tmp_path: Path, mode: str) -> None:
    warehouse = tmp_path / "warehouse.sqlite"
    warehouse.write_bytes(b"SQLite format 3\0")
    assert attack(f"got = open({str(warehouse)!r}, {mode!r})") == "refused: EACCES"
    assert warehouse.read_bytes() == b"SQLite format 3\0"


@pytest.mark.parametrize(
    "lines",
    [
        "(path.parent / 'next.csv').write_text('forged')",
        "path.write_text('forged')",
        "path.unlink()",
        "path.rename(path.with_name('gone'))",
        "import os; os.symlink('/etc/passwd', path.with_name('next.csv'))",
        "import tempfile; tempfile.mkstemp()",
        "import os; open(os.getcwd() + '/more', 'w')",
    ],
    ids=["a new delivery", "its own file", "remove it", "move it", "a link", "temporary files", "its own folder"],
)
def test_it_writes_nowhere(attack: Attack, file: Path, lines: str) -> None:
    assert attack(lines).startswith(("refused: EACCES", "refused: EXDEV", "refused: No usable", "refused: ENOENT"))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_text(encoding="utf-8") == "what was delivered"


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Addresses where somebody listens, as a PostgreSQL does on TCP and on a socket in a folder."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        path = os.path.relpath(tmp_path / ".s.PGSQL.5432", Path.cwd())
        unix.bind(path)
        unix.listen()
        yield {"AF_INET": tcp.getsockname(), "AF_UNIX": str(tmp_path / ".s.PGSQL.5432")}


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
def test_it_calls_nobody(attack: Attack, listening: dict[str, object], family: str) -> None:
    lines = f"import socket; got = socket.socket(socket.{family}).connect({listening[family]!r})"
    assert attack(lines) == "refused: EPERM"


@pytest.mark.parametrize("kind", ["AF_INET, socket.SOCK_DGRAM", "AF_INET6", "AF_NETLINK, socket.SOCK_RAW"])
def test_it_has_no_socket_of_any_kind(attack: Attack, kind: str) -> None:
    assert attack(f"import socket; got = socket.socket(socket.{kind})") == "refused: EPERM"


def test_it_sends_the_load_no_signal(attack: Attack) -> None:
    assert attack("import os; os.kill(os.getppid(), 18)") == "refused: EPERM"


@pytest.mark.parametrize(
    "call",
    [
        "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
        "fcntl.fcntl(os.pipe()[0], 15, struct.pack('ii', 1, os.getppid()))",
        "fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', os.getppid()))",
        "fcntl.ioctl(socket.socketpair()[0], 0x8902, struct.pack('i', os.getppid()))",
    ],
    ids=["F_SETOWN", "F_SETOWN_EX", "FIOSETOWN", "SIOCSPGRP"],
)
def test_no_descriptor_sends_the_load_a_signal_either(
    attack: Attack, older_kernel: Callable[[int, int], None], call: str
) -> None:
    older_kernel(LANDLOCK, NOT_LACKING)
    assert attack(f"import fcntl, os, socket, struct; got = {call}") == "refused: EPERM"


@pytest.mark.parametrize(
    "call",
    [
        "os.setpriority(os.PRIO_PROCESS, 0, 19)",
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
        "os.sched_setparam(0, os.sched_param(0))",
        "os.sched_setaffinity(0, [0])",
    ],
)
def test_it_slows_nobody_down(attack: Attack, call: str) -> None:
    assert attack(f"import os; got = {call}") == "refused: EPERM"


def test_it_does_not_watch_what_others_deliver(attack: Attack) -> None:
    lines = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.inotify_add_watch(libc.inotify_init(), os.fsencode(path.parent), 0x100) < 0:
    raise OSError(ctypes.get_errno(), "inotify_add_watch")
"""
    assert attack(lines) == "refused: EPERM"


@pytest.mark.parametrize("name", ["environ", "mem", "fd", "maps", "cmdline"])
def test_it_sees_nothing_of_the_load(attack: Attack, name: str) -> None:
    assert attack(f"import os; got = os.open(f'/proc/{{os.getppid()}}/{name}', os.O_RDONLY)") == "refused: EACCES"


TRACE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(0x4206, os.getppid(), None, None) != 0:
    raise OSError(ctypes.get_errno(), "ptrace")
"""


def test_it_does_not_trace_the_load(attack: Attack) -> None:
    assert attack(TRACE) == "refused: EPERM"


@pytest.mark.parametrize(
    "lines",
    [
        "import subprocess; got = subprocess.check_output(['/bin/sh', '-c', 'id'])",
        "import os; os.execv('/bin/sh', ['sh'])",
        "import os; got = os.fork()",
    ],
    ids=["beside it", "in its place", "a copy of itself"],
)
def test_it_starts_no_program(attack: Attack, lines: str) -> None:
    assert attack(lines) in ("refused: EPERM", "refused: EACCES")


def test_one_that_starts_java_starts_nothing_else(file: Path) -> None:
    lines = "import subprocess; got = subprocess.check_output(['/bin/sh', '-c', 'id'])"
    (batch,) = read(file, lines, starts=(HERE,)).batches
    assert batch.rows["0"].to_list() == ["refused: EACCES"]


def test_its_threads_are_held_back_too(attack: Attack, passwords: Path) -> None:
    """A thread that was there before would not be, and memory is shared."""
    lines = f"""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor() as pool:
    got = pool.submit(open, {str(passwords)!r}).result()
"""
    assert attack(lines) == "refused: EACCES"


def test_no_thread_is_there_before_it_is_held_back() -> None:
    """Its memory would be shared, and its doors open."""
    script = f"import sys; sys.path.insert(0, {str(PROJECT_ROOT)!r}); import freight.parsers.__main__, os; " + (
        "print(len(os.listdir('/proc/self/task')), 'pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_it_has_no_right_of_root_and_gets_none(attack: Attack) -> None:
    lines = """
import ctypes, os
libc, name = ctypes.CDLL(None, use_errno=True), os.uname().nodename.encode()
if libc.sethostname(name, len(name)) != 0:
    raise OSError(ctypes.get_errno(), "sethostname")
"""
    assert attack(lines) == "refused: EPERM"


def test_its_home_and_its_folder_hold_nothing_of_the_user(attack: Attack) -> None:
    lines = "import os; got = os.environ['HOME'] == os.getcwd() and os.listdir('.')"
    assert attack(lines) == "got ['stderr.txt']"


def test_it_holds_no_open_file_but_its_own(attack: Attack, passwords: Path) -> None:
    lines = """
import os, stat
got = []
for number in range(3, 256):
    try:
        got += [number] if stat.S_ISREG(os.fstat(number).st_mode) else []
    except OSError:
        pass
"""
    with passwords.open() as secret:
        os.set_inheritable(secret.fileno(), True)
        assert attack(lines) == "got []"


LANDLOCK, SECCOMP = 444, 22  # a system call, and an option of prctl
OLDER_KERNEL = """#!{python}
import ctypes, errno, os, sys
sys.path.insert(0, {root!r})
from freight.parsers import confinement as c

instructions = [
    c._do(c.LOAD, c.NUMBER_AT),
    c._do(c.JUMP_IF_EQUAL, {landlock}, 0, 1),
    c._do(c.RETURN, c.REFUSE | errno.ENOSYS),
    c._do(c.LOAD, c.FIRST_ARGUMENT_AT),
    c._do(c.JUMP_IF_EQUAL, {option}, 0, 1),
    c._do(c.RETURN, c.REFUSE | errno.EINVAL),
    c._do(c.RETURN, c.ALLOW),
]
program = c._Program(len(instructions), b"".join(instructions))
assert c._prctl(c.NO_NEW_PRIVILEGES, 1) == 0
assert c._prctl(c.SET_SECCOMP, c.SECCOMP_FILTER, ctypes.byref(program)) == 0
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""
NOT_LACKING = 0xFFFF


@pytest.fixture
def older_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes parsers find a kernel that lacks a system call, or an option."""

    def lack(landlock: int, option: int) -> None:
        python = tmp_path / "python"
        values = {"python": sys.executable, "root": str(PROJECT_ROOT), "landlock": landlock, "option": option}
        python.write_text(OLDER_KERNEL.format(**values), encoding="utf-8")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))

    return lack


@pytest.mark.parametrize(
    ("landlock", "option"),
    [(LANDLOCK, NOT_LACKING), (NOT_LACKING, SECCOMP), (LANDLOCK, SECCOMP)],
    ids=["no Landlock", "no seccomp", "neither"],
)
def test_where_the_kernel_lacks_something_files_are_parsed_all_the_same_and_the_rest_holds(
    attack: Attack,
    passwords: Path,
    older_kernel: Callable[[int, int], None],
    landlock: int,
    option: int,
) -> None:
    older_kernel(landlock, option)
    assert attack("got = path.read_text()") == "got 'what was delivered'"
    outcome = attack(f"got = open({str(passwords)!r}).read()")
    assert outcome == (f"got {SECRET!r}" if landlock == LANDLOCK else "refused: EACCES")
    outcome = attack("import socket; got = socket.socket(socket.AF_UNIX).family")
    assert outcome.startswith("got" if option == SECCOMP else "refused: EPERM")


@pytest.mark.parametrize("column", [0, 1], ids=["x86_64", "aarch64"])
@pytest.mark.parametrize("may_start", [False, True])
def test_the_filter_is_one_that_a_kernel_takes(column: int, may_start: bool) -> None:
    """Each instruction has 8 bytes, no jump leaves the filter, and it ends with an answer."""
    instructions = [*_filter(column, may_start=may_start)]
    assert {len(instruction) for instruction in instructions} == {8}
    for place, (code, _, if_so, if_not, *_) in enumerate(instructions):
        assert code == 0x06 or place + 1 + max(if_so, if_not) < len(instructions)
    assert instructions[-1][0] == 0x06


# --- What it says is not taken on trust ---------------------------------------------------------------------------

SEND_TABLE = """
import struct, pyarrow as pa, pyarrow.ipc as ipc
def stream(batch):
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()
output.begin(["a"])
"""
A_NUMBER = "output._send('rows', stream(pa.record_batch({'0': [1], 'row_number': [1]})))"
FAR_BEHIND_THE_END = """
from freight.parsers.output import rows_schema
texts = [pa.array([text], pa.large_string()) for text in ("seventy", "0")]
good = stream(pa.record_batch([*texts, pa.array([1])], schema=rows_schema(1)))
before, _, after = good.rpartition(struct.pack("<qq", 0, 7))
output._send("rows", before + struct.pack("<qq", 1 << 40, 1 << 41) + after)
"""
SIGNED = """
texts = {{name: pa.array([text], pa.large_string()) for name, text in (("0", "a"), ("native_numbers", {!r}))}}
rows = {{**texts, "row_number": pa.array([{}], pa.int64())}}
output._send("rows", stream(pa.record_batch(rows)))
"""
FAULTY = """
from freight.parsers.output import FAULTS
row = {{"row_number": 1, "column_name": "a", "reason": "ragged_row", "detail": "d", "raw": b"r", **{!r}}}
output._send("faults", stream(pa.RecordBatch.from_pylist([row], schema=FAULTS)))
"""


@pytest.mark.parametrize(
    "lines",
    [
        """output._send("header", b'{"a": [1, null]}')""",
        """output._send("header", b'[1, null]')""",
        """output._send("header", b'[' * 100_000)""",
        """output._send("failed", b'{"fault": "odd", "message": 1}')""",
        """output._send("progress", b"a lot")""",
        """output._send("rows", b"")""",
        """output.begin(["a"]); output._send("rows", b"\\xff" * 1_000)""",
        SEND_TABLE + A_NUMBER,
        SEND_TABLE + FAR_BEHIND_THE_END,
        *(SEND_TABLE + SIGNED.format("0", number) for number in (None, -1, 1 << 62)),
        *(SEND_TABLE + SIGNED.format(signs, 1) for signs in ("", "2", "00", None)),
        *(
            SEND_TABLE + FAULTY.format(lie)
            for lie in (
                {"row_number": None},
                {"reason": None},
                {"reason": "because"},
                {"reason": "required"},
                {"detail": None},
                {"detail": "\0"},
                {"column_name": "\0"},
                {"raw": None},
            )
        ),
    ],
    ids=[
        "an object for a header",
        "a header of no texts",
        "a header without end",
        "a fault that there is not",
        "progress that is no number",
        "rows before the header",
        "rows that are none",
        "numbers for texts",
        "a text far behind the end of its memory",
        "a row without a number",
        "a row before the first",
        "a row behind the last of any file",
        "too few signs of numbers",
        "a sign that there is not",
        "too many signs of numbers",
        "no signs of numbers",
        "a bad row without a number",
        "a bad row without a reason",
        "a reason that there is not",
        "a rule of the contract, by which no parser judges",
        "a bad row without details",
        "a NUL, which PostgreSQL takes nowhere",
        "a NUL in the name of a column",
        "a bad row without its text",
    ],
)
def test_an_answer_that_no_parser_gives_costs_its_file_only(file: Path, lines: str) -> None:
    with pytest.raises(SourceError, match="may have been made to break it") as caught:
        [*read(file, lines, parser="answer").batches]
    assert (caught.value.fault, caught.value.location) == ("corrupt", file.name)


def test_a_fault_that_it_tells_is_kept_short(file: Path) -> None:
    told = "{'fault': 'corrupt', 'message': 'x' * 5_000_000, 'remedy': 'y' * 5_000_000, 'column': 'z' * 5_000_000}"
    with pytest.raises(SourceError, match="xxx") as caught:
        read(file, f"import json; output._send('failed', json.dumps({told}).encode())", parser="answer")
    assert len(str(caught.value)) < 10_000


def test_a_fault_that_it_tells_is_text_that_every_log_and_database_takes(file: Path) -> None:
    told = r"""{"fault": "corrupt", "message": "half a \\ud800", "row": 9999999999999999999999}"""
    with pytest.raises(SourceError, match="half a") as caught:
        read(file, f"output._send('failed', b'{told}')", parser="answer")
    assert str(caught.value).encode().startswith(rb"delivery.txt: half a \ud800 [corrupt]")
