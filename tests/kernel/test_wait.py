import os
import signal
import threading
from ctypes import c_long
from typing import Final

import pytest

from reaperd.kernel import libc, procfs, wait
from tests.support.processes import (
    call_in_process,
    fork_child,
    owned_child,
    sleep_forever,
    wait_gone,
    wait_zombie,
)

# of x86-64: syscalls(2)
CLONE: Final = 56
EXIT_OF_ONE_THREAD: Final = 60


def _need_x86_64() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("system call numbers are x86-64's")


def _look_and_collect() -> list[bool]:
    nobody = wait.peek_any()
    with owned_child(sleep_forever) as living:
        seen_living, got_living = wait.peek_any(), wait.reap(living)
    child = fork_child(lambda: os._exit(3))
    wait_gone(child)
    return [
        nobody is None,
        seen_living is None,
        got_living is None,
        wait.peek_any() == child,
        wait.peek_any() == child,  # looking leaves it a zombie
        wait.exit_code(wait.reap(child) or 0) == 3,
        wait.reap(child) is None,
        wait.peek_any() is None,
    ]


def test_looking_leaves_the_zombie_and_collecting_frees_it() -> None:
    """A dead child is seen as often as wanted, collected once, and then nobody's."""
    assert all(call_in_process(_look_and_collect))


def _collect_one_of_two() -> bool:
    first, second = fork_child(lambda: os._exit(1)), fork_child(lambda: os._exit(2))
    for child in (first, second):
        wait_gone(child)
    code = wait.exit_code(wait.reap(second) or 0)
    left = wait.peek_any()
    wait.reap(first)
    return code == 2 and left == first


def test_a_child_is_collected_by_its_pid_alone() -> None:
    """Other zombies stay for whoever is responsible for them."""
    assert call_in_process(_collect_one_of_two)


def dead_leader() -> list[bool]:
    """Make a child whose leader _ends while another thread lives: it looks like a zombie, but is none."""
    read, write = os.pipe()

    def body() -> None:
        threading.Thread(target=lambda: (os.read(read, 1), os._exit(7))).start()
        libc.declare("syscall", c_long, c_long)(EXIT_OF_ONE_THREAD, 0)

    with owned_child(body) as child:
        wait_zombie(child)
        seen, got = wait.peek_any(), wait.reap(child)
        os.write(write, b".")
        wait_gone(child)
        return [seen is None, got is None, wait.exit_code(wait.reap(child) or 0) == 7]


def test_a_dead_leader_with_living_threads_is_not_collected() -> None:
    """State Z alone means nothing to collect yet; the whole process's end does."""
    _need_x86_64()
    assert all(call_in_process(dead_leader))


def clone_child() -> list[bool]:
    """Make a child whose exit signal is not SIGCHLD, as clone(2) with flags 0 does."""
    child = libc.declare("syscall", c_long, c_long, c_long, c_long, c_long, c_long)(CLONE, 0, 0, 0, 0, 0)
    if child == 0:
        os._exit(5)
    wait_gone(child)
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)
    stat = procfs.read_stat(child)
    seen = wait.peek_any()
    status = wait.reap(child)
    return [stat is not None and stat.exit_signal == 0, seen == child, wait.exit_code(status or 0) == 5]


def test_children_without_a_signal_are_seen_and_collected() -> None:
    """A child made by clone with another exit signal, for which a plain wait says ECHILD, is no leak."""
    _need_x86_64()
    assert all(call_in_process(clone_child))


def _ends(by: str) -> list[int | bool | None]:
    def body() -> None:
        if by.isdecimal():
            os._exit(int(by))
        if by != "SIGKILL":
            signal.signal(signal.Signals[by], signal.SIG_DFL)
        os.kill(os.getpid(), signal.Signals[by])

    child = fork_child(body)
    wait_gone(child)
    status = wait.reap(child)
    assert status is not None
    return [wait.exit_code(status), wait.exit_signal(status), wait.core_dumped(status)]


@pytest.mark.parametrize(
    ("by", "code", "killer"),
    [
        ("0", 0, None),
        ("255", 255, None),
        ("SIGKILL", None, signal.SIGKILL),
        ("SIGPIPE", None, signal.SIGPIPE),
    ],
)
def test_a_status_tells_how_a_child_ended(by: str, code: int | None, killer: int | None) -> None:
    """Either a code or a signal, never both, and no core for a plain kill."""
    assert call_in_process(_ends, by) == [code, killer, False]


def test_a_stop_is_no_end() -> None:
    """A raw status of a stopped child has neither a code nor a signal nor a core."""
    stopped = (signal.SIGSTOP << 8) | 0x7F
    assert (wait.exit_code(stopped), wait.exit_signal(stopped)) == (None, None)
    assert not wait.core_dumped(stopped)


def test_a_core_dump_is_told_from_its_bit() -> None:
    """Bit 0x80 beside a signal means a core: wait(2)."""
    assert wait.core_dumped(signal.SIGSEGV | 0x80)
    assert not wait.core_dumped(signal.SIGSEGV)


@pytest.mark.parametrize("pid", [0, -1, -4711])
def test_a_group_cannot_be_collected(pid: int) -> None:
    """Zero and negative numbers would collect somebody else's child."""
    with pytest.raises(ValueError, match="not one process"):
        wait.reap(pid)


def test_strangers_cannot_be_collected() -> None:
    """PID 1 is not our child: nothing to collect, no error."""
    assert wait.reap(1) is None
