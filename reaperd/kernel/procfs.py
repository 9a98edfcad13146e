"""What /proc tells about processes: proc(5).

Everything may vanish between two reads: a process that is gone is an answer (None), not an error. Every
read is one open, bounded reads, one close. Pids are those of the PID namespace that /proc was mounted in.
What a process says about itself (its name, command line, environment) is hostile input: any bytes but NUL.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from sys import intern
from typing import Final, NamedTuple

from reaperd.kernel.failure import failure
from reaperd.kernel.procread import GONE, SECRET, STAT_BYTES, STATUS_BYTES, numbers_in, whole

_STATES: Final = {state.encode(): state for state in "RSDZTtXI"}
PF_FORKNOEXEC: Final = 0x40

_STAT_WORDS: Final = 50  # after the name, up to f52
_WORDS_BYTES: Final = 262_144  # of an environment or a command line
_CHILDREN_BYTES: Final = 64 * 1024 * 1024  # 4,194,304 pids (pid_max at its highest) with room to spare


class Stat(NamedTuple):
    """One line of /proc/PID/stat; field numbers as in proc_pid_stat(5)."""

    pid: int
    comm: str  # f2: at most 15 bytes; undecodable ones as surrogates
    state: str  # f3: R S D Z T t X I
    ppid: int  # f4: 0 where the parent lives outside this PID namespace
    pgid: int  # f5
    sid: int  # f6
    tty_nr: int  # f7
    flags: int  # f9
    utime: int  # f14, ticks
    stime: int  # f15, ticks
    num_threads: int  # f20: above 1 on a zombie, a leader whose threads live on
    start_time: int  # f22, ticks since boot
    rss_pages: int  # f24
    exit_signal: int  # f38
    processor: int  # f39
    exit_code: int  # f52, a wait status; 0 without permission to ptrace

    @property
    def key(self) -> tuple[int, int]:
        """Return what names this process for ever: its pid and start time."""
        return self.pid, self.start_time

    @property
    def is_zombie(self) -> bool:
        """Tell whether its leader has ended and has not been reaped; threads of it may still live."""
        return self.state == "Z"

    @property
    def is_dead_leader(self) -> bool:
        """Tell whether the leader has ended while other threads are left: nothing to reap yet."""
        return self.state == "Z" and self.num_threads > 1

    @property
    def is_kernel_thread(self) -> bool:
        """Tell whether no program runs in it: PF_KTHREAD."""
        return bool(self.flags & 0x200000)

    @property
    def never_execed(self) -> bool:
        """Tell whether it still runs the program of who forked it: PF_FORKNOEXEC."""
        return bool(self.flags & PF_FORKNOEXEC)

    @property
    def core_dumped(self) -> bool:
        """Tell whether it has dumped core: PF_DUMPCORE."""
        return bool(self.flags & 0x200)

    @property
    def was_killed(self) -> bool:
        """Tell whether a signal ended it: PF_SIGNALED; unlike `exit_code` readable by everybody."""
        return bool(self.flags & 0x400)

    @property
    def cpu_s(self) -> float:
        """Return the seconds of processor time it has used, in user and kernel mode."""
        return (self.utime + self.stime) / clock_ticks()

    @property
    def rss_bytes(self) -> int:
        """Return its resident memory, shared pages included."""
        return self.rss_pages * page_bytes()

    @property
    def age_s(self) -> float:
        """Return how many seconds ago it was started; suspended time counts."""
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_time / clock_ticks())


@cache
def clock_ticks() -> int:
    """Return how many ticks /proc counts in a second: sysconf(3)."""
    return os.sysconf("SC_CLK_TCK")


@cache
def page_bytes() -> int:
    """Return the size of a page of memory."""
    return os.sysconf("SC_PAGE_SIZE")


def started_at(stat: Stat) -> float:
    """Return when the process started, in seconds of the wall clock as it is set now."""
    return time.time() - stat.age_s


# --- one process ----------------------------------------------------------------------------------------


def read_stat_bytes(pid: int) -> bytes | None:
    """Return the raw line of /proc/PID/stat, or None if the process is gone: cheap, to be parsed later.

    Raises:
        KernelError: no descriptor is left, or /proc is mounted with hidepid=1.
    """
    return _read(f"/proc/{pid}/stat", STAT_BYTES)


def parse_stat(line: bytes) -> Stat:
    """Return what a line of /proc/PID/stat says.

    The name stands in parentheses and may itself hold spaces, parentheses and newlines: it ends at the last
    closing parenthesis, since only numbers follow.
    """
    before, _, after = line.rpartition(b")")
    pid, _, comm = before.partition(b" (")
    word = after.split()
    if len(word) < _STAT_WORDS:  # old kernels have fewer fields
        word += [b"0"] * (_STAT_WORDS - len(word))
    # Field N of the manual page is word N - 3. By position and without a loop: thousands are read at a time.
    return Stat(
        int(pid),
        os.fsdecode(comm),
        word[0].decode("ascii"),
        int(word[1]),
        int(word[2]),
        int(word[3]),
        int(word[4]),
        int(word[6]),
        int(word[11]),
        int(word[12]),
        int(word[17]),
        int(word[19]),
        int(word[21]),
        int(word[35]),
        int(word[36]),
        int(word[49]),
    )


Place = tuple[int, int, int, int, int, str, str, int, int]
"""pid, ppid, pgid, sid, start time in ticks, name, state, number of threads, flags: as in `Stat`."""


def parse_place(line: bytes) -> Place:
    """Return what a line of /proc/PID/stat says of a process's place among others: a fifth of the whole."""
    before, _, after = line.rpartition(b")")
    pid, _, comm = before.partition(b" (")
    word = after.split(None, 20)
    return (
        int(pid),
        int(word[1]),
        int(word[2]),
        int(word[3]),
        int(word[19]),
        intern(comm.decode("utf-8", "surrogateescape")),  # ten thousand processes have some hundred names
        _STATES.get(word[0]) or word[0].decode("ascii"),
        int(word[17]),
        int(word[6]),
    )


def parse_exit_code(line: bytes) -> int:
    """Return what a line of /proc/PID/stat says in its last field: `Stat.exit_code`."""
    return int(line.rsplit(None, 1)[-1])


def read_stat(pid: int) -> Stat | None:
    """Return what /proc/PID/stat says, or None if the process is gone.

    Raises:
        KernelError: no descriptor is left, or /proc is mounted with hidepid=1.
    """
    line = read_stat_bytes(pid)
    return parse_stat(line) if line else None


def read_thread_stat(pid: int, tid: int) -> Stat | None:
    """Return what /proc/PID/task/TID/stat says of one thread, or None if it is gone: proc_pid_task(5).

    Raises:
        KernelError: as `read_stat`.
    """
    line = _read(f"/proc/{pid}/task/{tid}/stat", STAT_BYTES)
    return parse_stat(line) if line else None


def read_status(pid: int, tid: int | None = None) -> dict[str, str] | None:
    """Return the fields of /proc/PID/status, or of the thread `tid`; None if it is gone: proc_pid_status(5).

    Values are text as the kernel prints it after the tab.
    """
    data = _read(f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status", STATUS_BYTES)
    return parse_status(data) if data else None


def parse_status(data: bytes) -> dict[str, str]:
    """Return the fields of what was read from a file `status`."""
    # Names are escaped by the kernel: no line of theirs can look like a field.
    return dict([line.split(":\t", 1) for line in os.fsdecode(data).split("\n") if ":\t" in line])


def threads(pid: int) -> list[int]:
    """Return the thread ids of a process in ascending order; none if it is gone."""
    return sorted(_numbers_in(f"/proc/{pid}/task"))


def memory(pid: int) -> int | None:
    """Return the resident bytes of a process, shared pages included; None if it is gone."""
    stat = read_stat(pid)
    return stat.rss_bytes if stat else None


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time of a process in seconds, ended threads included; None if it is gone."""
    stat = read_stat(pid)
    return stat.cpu_s if stat else None


def read_cmdline(pid: int) -> list[bytes] | None:
    """Return the words a process was started with, or has put there since; None if it is gone.

    Empty for a zombie and a kernel thread. At most 256 KiB are read.
    """
    data = _read(f"/proc/{pid}/cmdline", _WORDS_BYTES)
    if data is None:
        return None
    return data.rstrip(b"\0").split(b"\0") if data else []


def read_environ(pid: int) -> dict[bytes, bytes] | None:
    """Return the environment a process was started with: of equal names the first, as getenv(3) finds it.

    At most 256 KiB are read; an entry cut there is left out. None if the process is gone or may not be
    looked into (another user's, or one that gained privileges). A process can overwrite what stands here.
    """
    data = read_permitted(f"/proc/{pid}/environ", _WORDS_BYTES)
    if data is None:
        return None
    entries = data.split(b"\0")
    if len(data) >= _WORDS_BYTES:
        entries.pop()
    result: dict[bytes, bytes] = {}
    for entry in entries:
        name, equals, value = entry.partition(b"=")
        if equals:
            result.setdefault(name, value)
    return result


def environ_value(pid: int, name: bytes) -> bytes | None:
    """Return one variable of what `read_environ` tells, None where it is not there."""
    environ = read_environ(pid)
    return None if environ is None else environ.get(name)


def soft_limit(pid: int, line: bytes) -> int | None:
    """Return a soft limit of a process, living or dead, by how its line begins: proc_pid_limits(5).

    Everybody may read it of everybody. None where it is unlimited, the line is missing or the process gone.

    Raises:
        KernelError: no descriptor is left, or /proc is mounted with hidepid=1.
    """
    data = _read(f"/proc/{pid}/limits", STATUS_BYTES) or b""
    soft, _, _ = data.partition(b"\n" + line + b" ")[2].lstrip().partition(b" ")
    return int(soft) if soft.isdigit() else None


def last_ran_ms(pid: int) -> float | None:
    """Return when a process was last seen running, in milliseconds of the scheduler's own clock.

    For a zombie that is the moment of its death. Only differences mean anything, against the same reading of
    a process that runs now: the clock is kept per processor (some milliseconds apart) and stands still while
    the machine is suspended. None if the process is gone, or the kernel was built without SCHED_DEBUG.

    Source: proc_sched_show_task in the kernel's kernel/sched/debug.c; the first line holds the raw name.
    """
    return parse_last_ran(read_permitted(f"/proc/{pid}/sched", STATUS_BYTES) or b"")


def parse_last_ran(data: bytes) -> float | None:
    """Return `last_ran_ms` of what was read from a file `sched`."""
    before, _, after = data.rpartition(b"\nse.exec_start")  # the last one: a name with newlines stands first
    value = after.partition(b":")[2].partition(b"\n")[0] if before else b""
    return float(value) if value else None


def may_inspect(pid: int) -> bool:
    """Tell whether we may look into a process as a debugger would: PTRACE_MODE_READ, ptrace(2).

    Without that right its `Stat.exit_code` reads 0 whatever it was. Also False if it is gone.
    """
    try:
        os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - a text, and ten times cheaper than a path
    except OSError:
        return False
    return True


# --- many processes -------------------------------------------------------------------------------------


def list_pids() -> list[int]:
    """Return every process of this PID namespace, in ascending order.

    Raises:
        KernelError: no descriptor is left.
    """
    return sorted(_numbers_in("/proc"))


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process, zombies included, in ascending order.

    A process that is gone has none. The kernel may leave living children out while others of them are being
    reaped: proc_tid_children(5). Who must have all looks again until nothing new turns up.
    """
    if not has_children_files():
        return sorted(stat.pid for stat in _all_stats() if stat.ppid == pid)
    found: set[int] = set()
    for tid in threads(pid):
        words = _read(f"/proc/{pid}/task/{tid}/children", _CHILDREN_BYTES)
        found.update(map(int, (words or b"").split()))
    return sorted(found)


def descendants(pid: int, *, most: int | None = None) -> list[Stat]:
    """Return all below a process, parents before their children, nobody twice, itself left out.

    With `most` it stops at the first process whose children make them more than so many.

    Whoever has left the tree by the time it is looked at, or whose pid has been given to a stranger by then,
    is not in the answer: each one's parent was seen in the tree.
    """
    if not has_children_files():
        return _descendants_among(pid, _all_stats())[:most]
    inside = {pid}
    found: list[Stat] = []
    for parent in _then_each(pid, found):
        if most is not None and len(found) >= most:
            break
        for child in children(parent):
            stat = None if child in inside else read_stat(child)
            if stat is not None and stat.ppid in inside:
                inside.add(child)
                found.append(stat)
    return found


def _then_each(root: int, found: list[Stat]) -> Iterator[int]:
    """Yield `root`, then the pid of each of `found`, which grows meanwhile."""
    yield root
    for stat in found:  # a list's iterator sees what is appended
        yield stat.pid


def _descendants_among(root: int, stats: Iterable[Stat]) -> list[Stat]:
    by_parent: defaultdict[int, list[Stat]] = defaultdict(list)
    for stat in stats:
        if stat.pid != root:
            by_parent[stat.ppid].append(stat)
    found: list[Stat] = []
    for parent in _then_each(root, found):
        found.extend(by_parent.pop(parent, ()))
    return found


def _all_stats() -> Iterator[Stat]:
    for pid in list_pids():
        stat = read_stat(pid)
        if stat is not None:
            yield stat


@cache
def has_children_files() -> bool:
    """Tell whether the kernel was built with CONFIG_PROC_CHILDREN; nearly all are."""
    return Path("/proc/thread-self/children").exists()


# --- reading --------------------------------------------------------------------------------------------


def read_permitted(path: str, limit: int) -> bytes | None:
    """Return the file's bytes, at most `limit`; None if its process is gone or may not be looked into."""
    try:
        return whole(path, limit)
    except OSError as error:
        if error.errno in GONE | SECRET:
            return None
        raise failure("read", error, what=f"look at {path}") from error


def _numbers_in(path: str) -> list[int]:
    try:
        return numbers_in(path)
    except OSError as error:
        if error.errno in GONE:
            return []
        raise failure("getdents64", error, what=f"list {path}") from error


def _read(path: str, limit: int) -> bytes | None:
    """Return the file's bytes, at most `limit`; None if its process is gone."""
    try:
        return whole(path, limit)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise failure("read", error, what=f"look at {path}") from error
