"""Real parents that do not collect a child, each in its own way, and the cause that is named."""

import os
import signal
import threading
import time
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_long, c_void_p
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.kernel import libc
from reaperd.zombies.explain import TRANSIT_S
from reaperd.zombies.scan import scan
from tests.support.processes import (
    call_in_pid_namespace,
    fork_child,
    need_root,
    owned_child,
    sleep_forever,
    wait_gone,
    wait_state,
    wait_until,
    wait_zombie,
)

# of x86-64: syscalls(2)
CLONE: Final = 56
EXIT_OF_ONE_THREAD: Final = 60
WNOTHREAD: Final = 0x20000000  # wait4(2)
CLONE_VFORK: Final = 0x4000  # clone(2)
CGROUP_ROOTS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
ATTACH: Final = 16  # ptrace(2)
SEIZE: Final = 0x4206  # ptrace(2)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are x86-64's")


def _made(report: int, pid: int) -> None:
    os.write(report, b"%d\n" % pid)


def _never_waits(report: int) -> None:
    _made(report, fork_child(lambda: None))
    time.sleep(1000)


def _blocks(report: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    _never_waits(report)


def _ignores_too_late(report: int) -> None:
    pid = fork_child(lambda: None)
    wait_gone(pid)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _made(report, pid)
    time.sleep(1000)


def _catches_once(report: int) -> None:
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _made(report, fork_child(lambda: None))
    while True:
        signal.pause()


def _takes_signals(report: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGUSR1})
    _made(report, fork_child(lambda: None))
    while True:
        signal.sigtimedwait({signal.SIGCHLD, signal.SIGUSR1}, 1000)


def _waits_for_another(report: int) -> None:
    other = fork_child(sleep_forever)
    _made(report, fork_child(lambda: None))
    os.waitpid(other, 0)


def _stopped(report: int) -> None:
    _made(report, fork_child(lambda: None))
    os.kill(os.getpid(), signal.SIGSTOP)


def _clone(report: int) -> None:
    pid = libc.declare("syscall", c_long, c_long, c_long, c_long, c_long, c_long)(CLONE, 0, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    _made(report, pid)
    time.sleep(1000)


def _computes(report: int) -> None:
    _made(report, fork_child(lambda: None))
    while True:
        pass


def _waits_for_its_own(report: int) -> None:
    """Wait, in the first thread, for children of this thread alone; let another thread make one."""

    def make_one() -> None:
        _made(report, os.posix_spawn("/bin/true", ["true"], {}))
        time.sleep(1000)

    fork_child(sleep_forever)  # there has to be one to wait for
    threading.Thread(target=make_one, daemon=True).start()
    libc.declare("wait4", c_int, c_void_p, c_int, c_void_p)(-1, None, WNOTHREAD, None)


def _leader_ends(report: int) -> None:
    _made(report, fork_child(lambda: None))
    threading.Thread(target=time.sleep, args=(1000,)).start()
    libc.declare("syscall", c_long, c_long)(EXIT_OF_ONE_THREAD, 0)


def _reads_a_signalfd(report: int) -> None:
    mask = (1 << signal.SIGCHLD - 1).to_bytes(128, "little")  # sigset_t of the C library
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    fd = libc.declare("signalfd", c_int, c_char_p, c_int)(-1, mask, 0)
    pid = fork_child(lambda: None)
    wait_gone(pid)
    os.read(fd, 4096)  # is told, and forgets it
    _made(report, pid)
    os.read(fd, 4096)


def _in_vfork(report: int) -> None:
    """Sleep as vfork does, until a child ends that never will; unlike vfork's it has memory of its own."""
    pid = fork_child(lambda: None)
    wait_gone(pid)
    _made(report, pid)
    clone = libc.declare("syscall", c_long, c_long, c_long, c_long, c_long, c_long)
    if clone(CLONE, CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        sleep_forever()


PARENTS: Final[dict[str, Callable[[int], None]]] = {
    "parent-never-waits": _never_waits,
    "sigchld-blocked": _blocks,
    "sigchld-ignored-late": _ignores_too_late,
    "handler-missed": _catches_once,
    "sigwait-loop": _takes_signals,
    "waits-for-another": _waits_for_another,
    "parent-stopped": _stopped,
    "clone-child": _clone,
    "parent-busy": _computes,
    "waits-for-own-thread": _waits_for_its_own,
    "parent-leader-ended": _leader_ends,
    "sigchld-signalfd": _reads_a_signalfd,
    "parent-in-vfork": _in_vfork,
}


def _cause_with(name: str) -> dict[str, Any]:
    """Make the parent, let its zombie grow old enough to be judged, and return what is said of it."""
    read, write = os.pipe()
    with owned_child(partial(PARENTS[name], write)) as parent:
        zombie = int(os.read(read, 16))
        wait_zombie(zombie)
        if name == "parent-stopped":
            wait_state(parent, "T")
        young = _cause_of(zombie)
        time.sleep(TRANSIT_S + 0.1)  # nothing happens meanwhile: that is the point
        old = _cause_of(zombie)
        os.kill(parent, signal.SIGKILL)
        wait_gone(parent)
    return {"young": young, "old": old}


def _cause_of(pid: int) -> str:
    (found,) = [zombie for zombie in scan().zombies if zombie.pid == pid]
    return found.cause.name


@pytest.mark.parametrize("name", PARENTS)
def test_a_real_parent_is_understood(name: str) -> None:
    """Young, the zombie may yet be collected, unless the parent cannot; old, the cause has its name."""
    causes = call_in_pid_namespace(_cause_with, name)
    assert causes["old"] == name
    assert causes["young"] in {"in-transit", name}


def _trace(request: int, pid: int) -> None:
    if libc.declare("ptrace", c_long, c_long, c_long, c_long)(request, pid, 0, 0) < 0:
        raise OSError(libc.last_errno(), "ptrace")


def _traced_parent() -> str:
    """Hold the parent of a zombie as a debugger does."""
    read, write = os.pipe()
    with owned_child(partial(_never_waits, write)) as parent:
        zombie = int(os.read(read, 16))
        wait_zombie(zombie)
        _trace(ATTACH, parent)
        wait_state(parent, "t")
        return _cause_of(zombie)


def test_a_traced_parent_is_understood() -> None:
    """State t and its tracer's pid are enough, however young the zombie."""
    assert call_in_pid_namespace(_traced_parent) == "parent-traced"


def _traced_zombie() -> str:
    """Hold a zombie that is another's child, as a tracer that does not wait does."""
    read, write = os.pipe()

    def parent() -> None:
        _made(write, fork_child(sleep_forever))
        sleep_forever()

    with owned_child(parent):
        child = int(os.read(read, 16))
        _trace(SEIZE, child)
        os.kill(child, signal.SIGKILL)
        wait_zombie(child)
        cause = _cause_of(child)
        os.waitpid(child, 0)  # lets go of it
    return cause


def test_a_zombie_held_by_a_tracer_is_understood() -> None:
    """The tracer is to blame, not the parent."""
    assert call_in_pid_namespace(_traced_zombie) == "held-by-tracer"


def _frozen_parent(folder: str) -> str:
    read, write = os.pipe()
    cgroup = Path(folder)
    with owned_child(partial(_never_waits, write)) as parent:
        zombie = int(os.read(read, 16))
        wait_zombie(zombie)
        (cgroup / "cgroup.procs").write_text(str(parent))
        (cgroup / "cgroup.freeze").write_text("1")
        wait_until(lambda: "frozen 1" in (cgroup / "cgroup.events").read_text(), "the freeze")
        cause = _cause_of(zombie)
        (cgroup / "cgroup.freeze").write_text("0")
    return cause


def test_a_frozen_parent_is_understood(tmp_path: Path) -> None:
    """The file of its cgroup says so."""
    need_root()
    roots = [root for root in CGROUP_ROOTS if (root / "cgroup.procs").exists()]
    if not roots:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    folder = roots[0] / f"reaperd-test-{os.getpid()}-{tmp_path.name}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made: {error.strerror}")
    try:
        assert call_in_pid_namespace(_frozen_parent, str(folder)) == "parent-frozen"
    finally:
        wait_until(lambda: "populated 0" in (folder / "cgroup.events").read_text(), "the cgroup to be empty")
        folder.rmdir()


def _own_zombie() -> list[str]:
    with owned_child(lambda: None) as child:
        wait_gone(child)
        return [_cause_of(child)]


def test_pid_1_has_longer_than_others() -> None:
    """A zombie of the namespace's init is not judged at once."""
    assert call_in_pid_namespace(_own_zombie) == ["in-transit"]


def _causes_under_a_storm() -> dict[str, int]:
    """Scan while well-behaved parents fork and wait as fast as they can; count what they are blamed for."""

    def storm() -> None:
        while True:
            for pid in [fork_child(lambda: None) for _ in range(4)]:
                os.waitpid(pid, 0)

    blamed: dict[str, int] = {}
    with owned_child(storm), owned_child(storm):
        for _ in range(300):
            for zombie in scan().zombies:
                if zombie.cause.is_leak:
                    blamed[zombie.cause.name] = blamed.get(zombie.cause.name, 0) + 1
    return blamed


def test_nobody_is_blamed_under_a_fork_storm() -> None:
    """Zombies in transit are plenty then, and none of them is called a leak."""
    assert call_in_pid_namespace(_causes_under_a_storm, is_storm=True) == {}
