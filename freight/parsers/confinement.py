"""Confines a parser to its file and what Python needs to run, away from the rest of the machine and the network.

A parser that a hostile file has taken over runs as the user who loads, and could reach whatever that user reaches. So
the process gives up its unneeded access for good before it opens the file; this needs no root rights. On Linux,
Landlock closes the file system, and seccomp closes the network, other processes and further kernel features. If the
kernel lacks one of them, files are parsed all the same, and `dpa doctor` reports it.
"""

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

NO_NEW_PRIVILEGES, SET_SECCOMP, SECCOMP_FILTER = 38, 22, 2  # of prctl
CAPABILITIES = 0x20080522  # version of capget and capset
READ_WHAT_OTHERS_OWN = 0b110  # DAC_OVERRIDE and DAC_READ_SEARCH

# Files that any Python may load late. They are the same on every machine of a kind, and not secret.
SYSTEM_FILES = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
)
KINDS_OF_FILES = ("etc/mime.types", "etc/*/mime.types", "etc/*/conf/mime.types")  # Python reads the existing ones
LOADERS = "lib*/ld-*.so*"  # the kernel runs them to start a program
SETTINGS_OF_JAVA = "etc/java*"  # Linux distributions keep some files of a Java here


class Reach(NamedTuple):
    """The access that one parser needs besides Python's.

    Attributes:
        reads: The files, and the folders with everything below them, that it may read.
        starts: The folders of programs that it may start and read; without any it cannot start a process.
        clears: The folder whose files it may remove.
    """

    reads: Sequence[str]
    starts: Sequence[str]
    clears: str


class Confinement(NamedTuple):
    """The confinement in force on a process.

    Attributes:
        landlock: The version of Landlock that closes the file system; 0 if the kernel has none.
        seccomp: True if the network and other processes are closed.
    """

    landlock: int
    seccomp: bool


def confine(reach: Reach) -> Confinement:
    """Give up all other access, for good, for this process and its children.

    Args:
        reach: The files and programs that are needed; missing ones are left out.

    Returns:
        The confinement from now on; none if the system is not Linux.
    """
    if sys.platform != "linux" or _prctl(NO_NEW_PRIVILEGES, 1) != 0:
        return Confinement(0, seccomp=False)
    _give_up_rights_of_root()
    return Confinement(_close_files(reach), _close_kernel(may_start=bool(reach.starts)))


def _prctl(option: int, *arguments: object) -> int:
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _libc().prctl(option, *(ctypes.c_long(a) if isinstance(a, int) else a for a in padded))  # type: ignore[no-any-return]


def _system_call(number: int, *arguments: object) -> int:
    """Make a system call; return -1 if the kernel refuses it."""
    passed = (ctypes.c_long(a) if isinstance(a, int) else a for a in (number, *arguments))
    return _libc().syscall(*passed)  # type: ignore[no-any-return]


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _give_up_rights_of_root() -> None:
    """Drop all capabilities except reading other users' files, if present: a delivery may belong to another user."""
    header, held = struct.pack("=Ii", CAPABILITIES, 0), ctypes.create_string_buffer(24)
    if _libc().capget(header, held) == 0:
        _, permitted, *_ = struct.unpack("=6I", held.raw)
        kept = permitted & READ_WHAT_OTHERS_OWN
        _libc().capset(header, struct.pack("=6I", kept, kept, 0, 0, 0, 0))


# --- Landlock: the file system ------------------------------------------------------------------------------------

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on all processors
TELL_VERSION = 1
BELOW_PATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE
READ = READ_FILE | READ_DIR
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # the number of rights that a version knows; all are taken
FILE_RIGHTS_NOW = 16
TCP, TCP_SINCE = 0b11, 4  # bind and connect
SCOPES, SCOPES_SINCE = 0b11, 6  # abstract sockets, and signals to others


def _close_files(reach: Reach) -> int:
    """Limit this thread and its children to the listed places; return the version of Landlock, 0 without it."""
    version = max(0, _system_call(CREATE_RULESET, None, 0, TELL_VERSION))
    ruleset = _ruleset(version) if version else -1
    if ruleset < 0:
        return 0
    for path, rights in _allowed(reach):
        _allow(ruleset, path, rights)
    closed = _system_call(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return version if closed else 0


def _ruleset(version: int) -> int:
    files = (1 << FILE_RIGHTS.get(version, FILE_RIGHTS_NOW)) - 1
    network = TCP if version >= TCP_SINCE else 0
    # Some Red Hat kernels have version 6 without the signals, and refuse to scope them.
    for scopes in (SCOPES, 0) if version >= SCOPES_SINCE else (0,):
        wanted = struct.pack("=QQQ", files, network, scopes)
        ruleset = _system_call(CREATE_RULESET, wanted, len(wanted), 0)
        if ruleset >= 0:
            return ruleset
    return -1


def _allowed(reach: Reach) -> Iterator[tuple[Path, int]]:
    for path in chain(map(Path, (*SYSTEM_FILES, *reach.reads)), _glob(*KINDS_OF_FILES), _files_of_python()):
        yield path, READ
    yield Path(os.devnull), WRITE_FILE
    yield Path(reach.clears), READ | REMOVE_DIR | REMOVE_FILE
    if reach.starts:
        for path in chain(map(Path, reach.starts), _glob(LOADERS)):
            yield path, READ | EXECUTE
        for path in _glob(SETTINGS_OF_JAVA):
            yield path, READ


def _glob(*patterns: str) -> Iterator[Path]:
    return chain.from_iterable(map(Path("/").glob, patterns))


def _files_of_python() -> Iterator[Path]:
    """Yield the places from which modules load; of the project's folder only the package, since data is beside it."""
    package = Path(__file__).resolve().parents[1]
    yield package
    yield Path(sys.base_prefix, "lib")
    for folder in map(Path, filter(None, sys.path)):
        if folder.name.endswith("-packages") or folder.resolve() not in package.parents:
            yield folder


def _allow(ruleset: int, path: Path, rights: int) -> None:
    with suppress(OSError):  # missing, or closed to this user: then nothing needs it
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rights &= -1 if path.is_dir() else OF_A_FILE
        _system_call(ADD_RULE, ruleset, BELOW_PATH, struct.pack("=Qi", rights, place), 0)
        os.close(place)


# --- seccomp: the rest of the kernel -------------------------------------------------------------------------------

MACHINES = {"x86_64": 0, "aarch64": 1}  # column in the tables below
ARCHITECTURES = (0xC000003E, 0xC00000B7)
OTHER_NUMBERS = 0x4000_0000  # x86's 32-bit calls in 64-bit mode

# Refused system calls, by their numbers on the two kinds of processors.
REACH_OTHERS = {
    "socket": (41, 198),
    "bind": (49, 200),
    "connect": (42, 203),
    "io_uring_setup": (425, 425),  # performs other calls past this filter
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setpriority": (141, 140),  # these can slow down other processes of the same user for good
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "process_madvise": (440, 440),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "kcmp": (312, 272),
    "inotify_add_watch": (254, 27),  # reveals file names in folders that Landlock closes
    "clone3": (435, 435),  # hides its arguments from a filter; the C library falls back to clone
}
# Landlock does not stop changes to a file's metadata, such as who may read it.
CHANGE_ATTRIBUTES = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
}
START_PROGRAMS = {"execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None)}
SIGNAL = {"kill": (62, 129), "tgkill": (234, 131)}
# Commands to a descriptor, in the second argument, that make it signal any named process.
NAME_AN_OWNER = {"fcntl": (72, 25), "ioctl": (16, 29)}
F_SETOWN, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP = 8, 15, 0x8901, 0x8902
LIMITS, CLONE = {"prlimit64": (302, 261)}, {"clone": (56, 220)}
CLONE_THREAD = 0x10000

# Instructions of the filter.
LOAD, JUMP_IF_EQUAL, JUMP_IF_ABOVE, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT, SECOND_ARGUMENT_AT = 0, 4, 16, 24
ALLOW, REFUSE = 0x7FFF_0000, 0x0005_0000
Calls = Mapping[str, tuple[int, int | None]]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _close_kernel(*, may_start: bool) -> bool:
    """Refuse the calls above to this thread and its children; return whether the kernel supports it."""
    column = MACHINES.get(os.uname().machine)
    if column is None:
        return False
    instructions = b"".join(_filter(column, may_start=may_start))
    program = _Program(len(instructions) // 8, instructions)
    return _prctl(SET_SECCOMP, SECCOMP_FILTER, ctypes.byref(program)) == 0


def _filter(column: int, *, may_start: bool) -> Iterator[bytes]:
    yield _do(LOAD, ARCHITECTURE_AT)
    yield _do(JUMP_IF_EQUAL, ARCHITECTURES[column], 1, 0)
    yield _do(RETURN, REFUSE | errno.EPERM)
    yield _do(LOAD, NUMBER_AT)
    yield _do(JUMP_IF_ABOVE, OTHER_NUMBERS, 0, 1)
    yield _do(RETURN, REFUSE | errno.EPERM)
    for number in _numbers(column, REACH_OTHERS, CHANGE_ATTRIBUTES, *(() if may_start else (START_PROGRAMS,))):
        yield _do(JUMP_IF_EQUAL, number, 0, 1)
        yield _do(RETURN, REFUSE | (errno.ENOSYS if number == REACH_OTHERS["clone3"][column] else errno.EPERM))
    for number in _numbers(column, LIMITS, *(() if may_start else (SIGNAL,))):
        yield from _only(number, JUMP_IF_EQUAL, 0)  # 0 is this process, or its group
    for number in _numbers(column, *(() if may_start else (CLONE,))):
        yield from _only(number, JUMP_IF_SET, CLONE_THREAD)
    for number in _numbers(column, NAME_AN_OWNER):
        yield from _never(number, (F_SETOWN, F_SETOWN_EX, FIOSETOWN, SIOCSPGRP))
    yield _do(RETURN, ALLOW)


def _numbers(column: int, *tables: Calls) -> Iterator[int]:
    return (number for table in tables for numbers in table.values() if (number := numbers[column]) is not None)


def _only(number: int, test: int, operand: int) -> Iterator[bytes]:
    """Refuse a call unless its first argument passes a test."""
    yield _do(JUMP_IF_EQUAL, number, 0, 4)
    yield _do(LOAD, FIRST_ARGUMENT_AT)
    yield _do(test, operand, 1, 0)
    yield _do(RETURN, REFUSE | errno.EPERM)
    yield _do(RETURN, ALLOW)


def _never(number: int, operands: Sequence[int]) -> Iterator[bytes]:
    """Refuse a call if its second argument is in a list."""
    yield _do(JUMP_IF_EQUAL, number, 0, 2 * len(operands) + 2)
    yield _do(LOAD, SECOND_ARGUMENT_AT)
    for operand in operands:
        yield _do(JUMP_IF_EQUAL, operand, 0, 1)
        yield _do(RETURN, REFUSE | errno.EPERM)
    yield _do(RETURN, ALLOW)


def _do(code: int, operand: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_so, if_not, operand)


if __name__ == "__main__":  # shows `dpa doctor` the confinement on this machine
    print(*confine(Reach((), (), os.devnull)))
