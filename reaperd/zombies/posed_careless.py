"""Parents that could collect a child and do not: how they wait, and how they treat SIGCHLD."""

import os
import signal
import threading
from ctypes import c_char_p, c_int, c_void_p
from typing import Final

from reaperd.kernel import libc, wait
from reaperd.zombies.keeper import CLONE, dead, forever, fork, number, ready, syscall, until

_WNOTHREAD: Final = 0x20000000  # wait4(2)
_EXIT: Final = {"x86_64": 60, "aarch64": 93}  # of one thread


def never_waits(report: int) -> None:
    """Have a child that has ended, and sleep."""
    ready(report, dead())
    forever()


def blocks(report: int) -> None:
    """Block SIGCHLD, and sleep."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    never_waits(report)


def reads_a_signalfd(report: int) -> None:
    """Read SIGCHLD from a signalfd, and do nothing about it."""
    mask = (1 << signal.SIGCHLD - 1).to_bytes(128, "little")  # sigset_t of the C library
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    fd = libc.declare("signalfd", c_int, c_char_p, c_int)(-1, mask, 0)
    pid = dead()
    os.read(fd, 4096)  # is told, and forgets it
    ready(report, pid)
    while True:
        os.read(fd, 4096)


def takes_signals(report: int) -> None:
    """Take SIGCHLD by sigtimedwait, and do nothing about it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    ready(report, dead())
    while True:
        signal.sigtimedwait({signal.SIGCHLD}, 1000)


def waits_once_per_signal(report: int) -> None:
    """Lose signals as such programs do: while SIGCHLD is held back, any number of deaths is one signal."""
    signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    pids = [dead() for _ in range(5)]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    ready(report, *pids[1:])
    forever()


def knows_its_own_only(report: int) -> None:
    """Have a handler that looks for children that it knows, none of them."""
    signal.signal(signal.SIGCHLD, lambda *_: None)  # looks for children that it knows, none of them
    never_waits(report)


def ignores_too_late(report: int) -> None:
    """Ignore SIGCHLD after a child has ended."""
    pid = dead()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ready(report, pid)
    forever()


def clone_child(report: int) -> None:
    """Have a child that ends without SIGCHLD."""
    pid = syscall()(number(CLONE), 0, 0, 0, 0, 0)  # no signal at its end
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | wait.WALL)
    ready(report, pid)
    forever()


def waits_for_another(report: int) -> None:
    """Wait for a child that lives on."""
    other = fork(forever)
    ready(report, dead())
    os.waitpid(other, 0)


def computes(report: int) -> None:
    """Have no time for children."""
    ready(report, dead())
    while True:
        pass


def waits_for_its_own(report: int) -> None:
    """Wait, in the first thread, for children of this thread alone; let another thread make one."""

    def make_one() -> None:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        ready(report, pid)
        forever()

    fork(forever)  # there has to be one to wait for
    threading.Thread(target=make_one, daemon=True).start()
    libc.declare("wait4", c_int, c_void_p, c_int, c_void_p)(-1, None, _WNOTHREAD, None)


def leader_ends(report: int) -> None:
    """Let the first thread of the parent end, another live on."""
    pid = dead()
    threading.Thread(target=forever).start()
    ready(report, pid)
    syscall()(number(_EXIT), 0, 0, 0, 0, 0)


def dead_leader(report: int) -> None:
    """Have a child whose first thread ends while another lives on: it looks like a zombie."""

    def child() -> None:
        threading.Thread(target=forever).start()
        syscall()(number(_EXIT), 0, 0, 0, 0, 0)

    pid = fork(child)
    until(pid, "Z")
    ready(report, pid)
    forever()
