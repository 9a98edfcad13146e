"""What the threads of a process are doing, as far as /proc tells: proc_pid_task(5).

Some of these files need the right to look into the process as a debugger would; without it, and when the
thread is gone, the answer is None.
"""

import os
from pathlib import Path
from typing import Final, NamedTuple

from reaperd.kernel import procfs

_SHORT_BYTES: Final = 4096
_ELF_BYTES: Final = 16  # e_ident
_LISTED: Final = 1024  # descriptors looked at; who has more is not held up for
_CGROUP_V2: Final = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")


class Call(NamedTuple):
    """The system call that a thread sleeps in: syscall(2)."""

    number: int
    arguments: tuple[int, ...]  # six, unsigned, as the registers hold them
    is_32_bit: bool = False  # of a 32-bit program on a 64-bit machine, where numbers mean other calls


def current_call(pid: int, tid: int) -> Call | None:
    """Return the system call that a thread sleeps in; None if it runs, is in none, or may not be looked into.

    Needs the right to attach: proc_pid_syscall(5).
    """
    words = (procfs.read_permitted(f"/proc/{pid}/task/{tid}/syscall", _SHORT_BYTES) or b"").split()
    if len(words) < 7:  # "running", or "-1" with two registers: blocked outside of a call
        return None
    return Call(int(words[0]), tuple(int(word, 16) for word in words[1:7]), is_32_bit(pid))


def is_32_bit(pid: int) -> bool:
    """Tell whether a process runs a program for 32 bits: elf(5). Not where that is secret."""
    header = procfs.read_permitted(f"/proc/{pid}/exe", _ELF_BYTES)
    return header is not None and header[:4] == b"\x7fELF" and header[4:5] == b"\x01"


def wait_channel(pid: int, tid: int) -> str | None:
    """Return the kernel function that a thread sleeps in; None if it does not, or it is secret."""
    name = procfs.read_permitted(f"/proc/{pid}/task/{tid}/wchan", _SHORT_BYTES)
    return name.decode("ascii", "replace") if name and name != b"0" else None


def thread_children(pid: int, tid: int) -> list[int]:
    """Return the children that one thread forked or took over; none if it is gone: proc_tid_children(5)."""
    data = procfs.read_permitted(f"/proc/{pid}/task/{tid}/children", 1 << 20)
    return [int(word) for word in (data or b"").split()]


def has_signalfd(pid: int, signal: int) -> bool | None:
    """Tell whether a process reads `signal` through a signalfd(2); None where its descriptors are secret."""
    try:
        names = os.listdir(f"/proc/{pid}/fdinfo")  # noqa: PTH208 - no need for paths
    except OSError:
        return None
    bit = 1 << (signal - 1)
    for name in names[:_LISTED]:
        data = procfs.read_permitted(f"/proc/{pid}/fdinfo/{name}", _SHORT_BYTES) or b""
        for line in data.split(b"\n"):
            if line.startswith(b"sigmask:") and int(line.split()[1], 16) & bit:
                return True
    return False


def pid_namespace(pid: int) -> str | None:
    """Return the name of the PID namespace of a process or zombie; None where it is secret: namespaces(7)."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - text, not a path
    except OSError:
        return None


def frozen_by(pid: int) -> str | None:
    """Return the file that says that the cgroup of a process is frozen, None where none does: cgroups(7)."""
    data = procfs.read_permitted(f"/proc/{pid}/cgroup", 65536) or b""
    for line in os.fsdecode(data).split("\n"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if line.startswith("0::"):
            for root in _CGROUP_V2:
                events = f"{root}{path}/cgroup.events"
                if "frozen 1" in _text_of(events).split("\n"):
                    return events
        elif controllers == "freezer":
            state = f"/sys/fs/cgroup/freezer{path}/freezer.state"
            if _text_of(state).strip() == "FROZEN":
                return state
    return None


def thaws(frozen_by: str) -> tuple[str, str]:
    """Return the file that thaws what this other one says is frozen, and what to write to it: cgroups(7).

    Version 1 has one file for both, freezer.state.
    """
    folder, _, name = frozen_by.rpartition("/")
    file, text = (name, "THAWED") if name == "freezer.state" else ("cgroup.freeze", "0")
    return f"{folder}/{file}", text


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
