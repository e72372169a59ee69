"""The resources of processes, from Linux: CPU, memory, open files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Stat:
    """The CPU seconds of a process, user and system time together."""

    pid: int
    parent: int
    cpu_s: float
    cpu_of_ended_children_s: float


def process_stat(pid: int) -> Stat:
    """Return the CPU time that a process has used so far.

    Raises:
        OSError: The process does not exist.
    """
    # The second field, the name, may hold anything; after its parenthesis follow state, parent and so on.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    user, system, children_user, children_system = (int(field) / TICKS_PER_S for field in fields[11:15])
    return Stat(pid, int(fields[1]), user + system, children_user + children_system)


def process_stats() -> Iterator[Stat]:
    """Yield the CPU time that each process of the machine has used so far."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield process_stat(int(entry.name))
            except OSError:
                continue  # it ended meanwhile


def memory_mib(pid: int, kind: str = "VmRSS") -> int:
    """Return the resident memory of a process, or with `VmHWM` its peak."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) >> 10 for line in status if line.startswith(kind))


def open_files(pid: int) -> int:
    """Return the number of a process's open files, sockets and pipes."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
