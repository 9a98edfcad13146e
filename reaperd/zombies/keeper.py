"""Fork what specimens are made of, hold it, and let nothing of it survive.

The process that keeps a specimen becomes a subreaper, so that whatever of it loses its parent comes back
here. If the keeper itself is killed, the kernel kills what it forked: PR_SET_PDEATHSIG.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from ctypes import c_long
from typing import Final, NoReturn

from reaperd.kernel import libc, prctl, procfs, signals, wait

Body = Callable[[int], None]  # gets the descriptor to report to
_PAUSE_S: Final = 0.01


def fork(body: Callable[[], object], *, is_bound: bool = True) -> int:
    """Fork a child that runs `body` and leaves; `is_bound`, it is killed when the thread that forked it ends.

    It begins with default handlers and no signal blocked: an ordinary program.
    """
    parent = os.getpid()
    mask = signals.block_all()
    pid = os.fork()
    if pid == 0:
        _run(body, parent if is_bound else None)
    signals.restore(mask)
    return pid


def _run(body: Callable[[], object], parent: int | None) -> NoReturn:
    status = 1
    try:
        signals.reset(signals.changed())
        signals.restore(())
        if parent is not None:
            prctl.set_parent_death_signal(signal.SIGKILL)
            if os.getppid() not in (parent, 0):  # 0: the parent is outside of our new PID namespace
                os._exit(1)
        body()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the keeper's code must never run twice
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def dead() -> int:
    """Fork a child that ends at once, and return when it has: it is a zombie, or has vanished already."""
    pid = fork(lambda: None)
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | wait.WALL)
    return pid


def forever() -> None:
    """Sleep until a signal ends this process."""
    while True:
        time.sleep(1000)


def say(report: int, role: str, pid: int) -> None:
    """Report who plays which part."""
    os.write(report, b"%s %d\n" % (role.encode(), pid))


def ready(report: int, *zombies: int) -> None:
    """Report the zombies, and that all is as it is going to be."""
    for zombie in zombies:
        say(report, "zombie", zombie)
    say(report, "ready", 0)


def until(pid: int, state: str) -> None:
    """Return once a process is in that state, or gone."""
    while (stat := procfs.read_stat(pid)) is not None and stat.state != state:
        time.sleep(_PAUSE_S)


def syscall() -> Callable[..., int]:
    """Return the C library's function that makes any system call."""
    return libc.declare("syscall", c_long, c_long, c_long, c_long, c_long, c_long)


CLONE: Final = {"x86_64": 56, "aarch64": 220}  # clone(2), by machine


def number(of: Mapping[str, int]) -> int:
    """Return a call's number on this machine, of those that are known.

    Raises:
        KeyError: it is not known here; that ends the child, and says so.
    """
    return of[os.uname().machine]


@contextmanager
def kept(body: Body, thaw: Callable[[], None], remove: Callable[[], None]) -> Iterator[dict[str, list[int]]]:
    """Run `body` in a child until it has reported "ready", yield who plays which part, and end them all.

    `thaw` is called before they are killed, `remove` once nobody is left.
    """
    was_subreaper = prctl.is_child_subreaper()
    prctl.set_child_subreaper(True)
    before = set(procfs.children(os.getpid()))
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = fork(lambda: body(write))
        os.close(write)
        yield {"parent": [pid]} | _roles(read)
    finally:
        os.close(read)
        thaw()
        _end_all(before)
        remove()
        prctl.set_child_subreaper(was_subreaper)


def _roles(read: int) -> dict[str, list[int]]:
    roles: dict[str, list[int]] = {}
    data = b""
    while not data.endswith(b"ready 0\n"):
        chunk = os.read(read, 4096)
        if not chunk:
            raise RuntimeError("the specimen could not be made")
        data += chunk
    for line in data.decode().splitlines():
        role, number = line.split()
        roles.setdefault(role, []).append(int(number))
    roles.pop("ready")
    return roles


def _end_all(before: set[int]) -> None:
    """Kill and reap everything below us but what was there before."""
    while left := [stat for stat in procfs.descendants(os.getpid()) if not _is_of(stat, before)]:
        for stat in left:
            with suppress(ProcessLookupError):
                os.kill(stat.pid, signal.SIGKILL)
        for child in set(procfs.children(os.getpid())) - before:
            wait.reap(child)
        time.sleep(_PAUSE_S)


def _is_of(stat: procfs.Stat, before: set[int]) -> bool:
    return stat.pid in before or stat.ppid in before
