"""Real zombies, orphans and living controls, one of each kind that a scan can tell apart.

Each body below is a parent: it makes what it is about, says who plays which part, and goes on as its kind
does.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import c_char_p, c_int, c_long, c_void_p
from dataclasses import dataclass
from typing import Final

from reaperd.kernel import libc, procfs, ptrace
from reaperd.zombies import isolated
from reaperd.zombies.keeper import Body, dead, forever, fork, kept, say

_WNOTHREAD: Final = 0x20000000  # wait4(2)
_CLONE_VFORK: Final = 0x4000  # clone(2)
_SA_NOCLDWAIT: Final = 2
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_EXIT: Final = {"x86_64": 60, "aarch64": 93}  # of one thread


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of specimen.

    Attributes:
        summary: what it is, for the list.
        cause: the name that a scan gives it once it is old enough; None for controls, which leave no zombie.
        body: makes it.
    """

    summary: str
    cause: str | None
    body: Body


def _number(of: Mapping[str, int]) -> int:
    return of[os.uname().machine]  # a KeyError ends the child, and says so


def _ready(report: int, *zombies: int) -> None:
    for zombie in zombies:
        say(report, "zombie", zombie)
    say(report, "ready", 0)


def _never_waits(report: int) -> None:
    _ready(report, dead())
    forever()


def _blocks(report: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _never_waits(report)


def _reads_a_signalfd(report: int) -> None:
    mask = (1 << signal.SIGCHLD - 1).to_bytes(128, "little")  # sigset_t of the C library
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    fd = libc.declare("signalfd", c_int, c_char_p, c_int)(-1, mask, 0)
    pid = dead()
    os.read(fd, 4096)  # is told, and forgets it
    _ready(report, pid)
    while True:
        os.read(fd, 4096)


def _takes_signals(report: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _ready(report, dead())
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, 1000)


def _waits_once_per_signal(report: int) -> None:
    """Lose signals as such programs do: while SIGCHLD is held back, any number of deaths is one signal."""
    signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pids = [dead() for _ in range(5)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    _ready(report, *pids[1:])
    forever()


def _knows_its_own_only(report: int) -> None:
    signal.signal(signal.SIGCHLD, lambda *_: None)  # looks for children that it knows, none of them
    _never_waits(report)


def _ignores_too_late(report: int) -> None:
    pid = dead()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _ready(report, pid)
    forever()


def _stopped(report: int) -> None:
    pid, parent = dead(), os.getpid()

    def stop() -> None:
        os.kill(parent, signal.SIGSTOP)
        _until(parent, "T")
        _ready(report, pid)
        forever()

    fork(stop)
    forever()


def _traced(report: int) -> None:
    pid, parent = dead(), os.getpid()

    def tracer() -> None:
        ptrace.seize(parent, 0)
        ptrace.interrupt(parent)
        os.waitpid(parent, wait_all)
        say(report, "tracer", os.getpid())
        _ready(report, pid)
        forever()

    wait_all = 0x40000000  # __WALL
    fork(tracer)
    forever()


def _held_by_a_tracer(report: int) -> None:
    """Have a child traced by a sibling, which does not wait for it."""
    child = fork(forever)

    def tracer() -> None:
        ptrace.seize(child, 0)
        os.kill(child, signal.SIGKILL)
        _until(child, "Z")
        say(report, "tracer", os.getpid())
        _ready(report, child)
        forever()

    fork(tracer)
    forever()


def _until(pid: int, state: str) -> None:
    while (stat := procfs.read_stat(pid)) is not None and stat.state != state:
        time.sleep(0.005)


def _thread_held_by_a_tracer(report: int) -> None:
    """Have a sibling trace a thread, not the leader, of a child that ends."""
    told, tells = os.pipe()

    def child() -> None:
        thread = threading.Thread(target=forever, daemon=True)
        thread.start()
        os.write(tells, b"%d\n" % (thread.native_id or 0))
        forever()

    pid = fork(child)
    tid = int(os.read(told, 32))

    def tracer() -> None:
        ptrace.seize(tid, 0)
        os.kill(pid, signal.SIGKILL)
        _until(pid, "Z")
        _until(tid, "Z")
        say(report, "tracer", os.getpid())
        _ready(report, pid)
        forever()

    fork(tracer)
    forever()


def _syscall() -> Callable[..., int]:
    return libc.declare("syscall", c_long, c_long, c_long, c_long, c_long, c_long)


def _in_vfork(report: int) -> None:
    """Sleep as vfork does, until a child ends that never will; unlike vfork's it has memory of its own."""
    _ready(report, dead())
    if _syscall()(_number(_CLONE), _CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        forever()


def _clone_child(report: int) -> None:
    pid = _syscall()(_number(_CLONE), 0, 0, 0, 0, 0)  # no signal at its end
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | 0x40000000)  # __WALL
    _ready(report, pid)
    forever()


def _waits_for_another(report: int) -> None:
    other = fork(forever)
    _ready(report, dead())
    os.waitpid(other, 0)


def _computes(report: int) -> None:
    _ready(report, dead())
    while True:
        pass


def _waits_for_its_own(report: int) -> None:
    """Wait, in the first thread, for children of this thread alone; let another thread make one."""

    def make_one() -> None:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        _ready(report, pid)
        forever()

    fork(forever)  # there has to be one to wait for
    threading.Thread(target=make_one, daemon=True).start()
    libc.declare("wait4", c_int, c_void_p, c_int, c_void_p)(-1, None, _WNOTHREAD, None)


def _leader_ends(report: int) -> None:
    """Let the first thread of the parent end, another live on."""
    pid = dead()
    threading.Thread(target=forever).start()
    _ready(report, pid)
    _syscall()(_number(_EXIT), 0, 0, 0, 0, 0)


def _dead_leader(report: int) -> None:
    """Have a child whose first thread ends while another lives on: it looks like a zombie."""

    def child() -> None:
        threading.Thread(target=forever).start()
        _syscall()(_number(_EXIT), 0, 0, 0, 0, 0)

    pid = fork(child)
    _until(pid, "Z")
    _ready(report, pid)
    forever()


# --- controls: what leaves no zombie, or none that stays ------------------------------------------------


def _waits(report: int) -> None:
    say(report, "ready", 0)
    while True:
        os.waitpid(fork(lambda: time.sleep(0.2)), 0)


def _polls(report: int) -> None:
    say(report, "ready", 0)
    while True:
        pid = fork(lambda: None)
        time.sleep(0.2)
        os.waitpid(pid, os.WNOHANG)


def _ignores(report: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    say(report, "ready", 0)
    while True:
        dead()
        time.sleep(0.2)


def _nocldwait(report: int) -> None:
    """Keep the default disposition and say that nobody will wait: struct sigaction of 64-bit C libraries."""
    action = bytes(8) + bytes(128) + _SA_NOCLDWAIT.to_bytes(8, "little") + bytes(8)
    libc.declare("sigaction", c_int, c_char_p, c_void_p)(signal.SIGCHLD, action, None)
    say(report, "ready", 0)
    while True:
        dead()
        time.sleep(0.2)


def _handler_loops(report: int) -> None:
    def collect(*_: object) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return

    signal.signal(signal.SIGCHLD, collect)
    say(report, "ready", 0)
    while True:
        fork(lambda: None)
        time.sleep(0.2)


def _orphan(report: int) -> None:
    """Leave a living child behind."""
    told, tells = os.pipe()

    def middle() -> None:
        os.write(tells, b"%d" % fork(forever, is_bound=False))

    os.waitpid(fork(middle), 0)
    say(report, "orphan", int(os.read(told, 32)))
    say(report, "ready", 0)
    forever()


KINDS: Final[Mapping[str, Kind]] = {
    "never-waits": Kind("a parent that never waits", "parent-never-waits", _never_waits),
    "blocked": Kind("a parent that blocks SIGCHLD", "sigchld-blocked", _blocks),
    "signalfd": Kind(
        "a parent that reads a signalfd and does not wait", "sigchld-signalfd", _reads_a_signalfd
    ),
    "sigwait": Kind(
        "a parent that takes signals one by one and does not wait", "sigwait-loop", _takes_signals
    ),
    "handler-once": Kind("a handler that waits once per signal", "handler-missed", _waits_once_per_signal),
    "handler-own": Kind("a handler that looks for its own pids only", "handler-missed", _knows_its_own_only),
    "ignored-late": Kind(
        "SIGCHLD ignored after the child had ended", "sigchld-ignored-late", _ignores_too_late
    ),
    "stopped": Kind("a parent that is stopped", "parent-stopped", _stopped),
    "traced": Kind("a parent that is held by a tracer", "parent-traced", _traced),
    "frozen": Kind("a parent in a frozen cgroup (root)", "parent-frozen", isolated.frozen_v2),
    "frozen-v1": Kind("a parent in a frozen cgroup of version 1 (root)", "parent-frozen", isolated.frozen_v1),
    "vfork": Kind("a parent that sleeps in vfork", "parent-in-vfork", _in_vfork),
    "waits-for-another": Kind(
        "a parent that waits for another child", "waits-for-another", _waits_for_another
    ),
    "busy": Kind("a parent that computes", "parent-busy", _computes),
    "clone-child": Kind("a child that ends without SIGCHLD", "clone-child", _clone_child),
    "own-thread": Kind(
        "a thread that waits for its own children", "waits-for-own-thread", _waits_for_its_own
    ),
    "leader-ended": Kind("a parent whose first thread has ended", "parent-leader-ended", _leader_ends),
    "dead-leader": Kind("a process whose first thread has ended: no zombie", "dead-leader", _dead_leader),
    "held": Kind("a zombie that a tracer does not wait for", "held-by-tracer", _held_by_a_tracer),
    "thread-held": Kind(
        "a zombie with a thread that a tracer holds", "held-by-tracer", _thread_held_by_a_tracer
    ),
    "lazy-init": Kind(
        "an init that does not reap, in a PID namespace", "init-does-not-reap", isolated.lazy_init
    ),
    "outside": Kind(
        "a zombie in a PID namespace whose parent is outside", "parent-never-waits", isolated.outside
    ),
    "held-up": Kind("a zombie that keeps a container from ending", "holds-up-namespace", isolated.held_up),
    "orphan": Kind("a living process that has lost its parent", None, _orphan),
    "waits": Kind("control: a parent that waits", None, _waits),
    "polls": Kind("control: a parent that polls with WNOHANG; zombies in transit", None, _polls),
    "handler-loops": Kind("control: a handler that waits until nobody is left", None, _handler_loops),
    "ignores": Kind("control: a parent that ignores SIGCHLD", None, _ignores),
    "nocldwait": Kind("control: a parent with SA_NOCLDWAIT", None, _nocldwait),
}


@contextmanager
def specimen(name: str) -> Iterator[dict[str, list[int]]]:
    """Make one specimen, yield the pids of who plays which part ("parent", "zombie", ...), and clean up.

    The calling process keeps it: it becomes a subreaper meanwhile, and should not do much else.

    Raises:
        RuntimeError: it cannot be made here; its own process has said why on standard error.
    """
    with kept(KINDS[name].body, isolated.thaw, isolated.remove_cgroups) as roles:
        yield roles
