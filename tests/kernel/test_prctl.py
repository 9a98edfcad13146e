import os
import signal

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import prctl, procfs
from tests.support.processes import (
    call_in_pid_namespace,
    call_in_process,
    owned_child,
    sleep_forever,
    wait_gone,
)


def _become_and_stop() -> list[bool]:
    answers = [prctl.is_child_subreaper()]
    for on in (True, False):
        prctl.set_child_subreaper(on)
        answers.append(prctl.is_child_subreaper())
    return answers


def test_a_process_can_become_a_subreaper_and_stop_being_one() -> None:
    """The attribute is off at first and can be set and cleared."""
    assert call_in_process(_become_and_stop) == [False, True, False]


def _seen_while_not_dumpable() -> list[bool]:
    """Tell, as a plain user, whether what only one's equals may see can be seen of oneself."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresuid(65534, 65534, 65534)
    answers = []
    for on in (True, False):
        prctl.set_dumpable(on)
        answers.append(os.stat(f"/proc/{os.getpid()}/environ").st_uid == os.geteuid())  # noqa: PTH116
    return answers


def test_a_process_can_stop_being_dumpable() -> None:
    """Then its files in /proc are root's: proc(5)."""
    assert call_in_process(_seen_while_not_dumpable) == [True, False]


def _inherited_by_fork() -> int:
    prctl.set_child_subreaper(True)
    pid = os.fork()
    if pid == 0:
        os._exit(prctl.is_child_subreaper())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forked_child_is_no_subreaper() -> None:
    """Fork does not inherit the attribute."""
    assert call_in_process(_inherited_by_fork) == 0


def _adopts_an_orphan() -> bool:
    prctl.set_child_subreaper(True)
    read, write = os.pipe()

    def leave_an_orphan() -> None:
        orphan = os.fork()
        if orphan == 0:
            os.close(write)
            sleep_forever()
        os.write(write, b"%d" % orphan)

    with owned_child(leave_an_orphan) as middle:
        orphan = int(os.read(read, 16))
        wait_gone(middle)
        stat = procfs.read_stat(orphan)
    os.kill(orphan, signal.SIGKILL)
    os.waitpid(orphan, 0)
    return stat is not None and stat.ppid == os.getpid()


def test_a_subreaper_gets_the_orphans_below_it() -> None:
    """An orphan's new parent is its nearest subreaper, here not PID 1."""
    assert call_in_process(_adopts_an_orphan)


def dies_with_its_parent() -> int:
    """Return how the grandchild ended, as this PID 1 sees it after adopting it."""
    read, write = os.pipe()

    def parent() -> None:
        child = os.fork()
        if child == 0:
            prctl.set_parent_death_signal(signal.SIGUSR1)
            os.write(write, b"%d" % os.getpid())
            sleep_forever()
        os.read(keep_read, 1)

    keep_read, keep_write = os.pipe()
    with owned_child(parent) as middle:
        grandchild = int(os.read(read, 16))
        os.write(keep_write, b".")
        wait_gone(middle)
        return os.WTERMSIG(os.waitpid(grandchild, 0)[1])


def test_the_parent_death_signal_arrives() -> None:
    """A process that asked for it gets the signal when its parent ends."""
    assert call_in_pid_namespace(dies_with_its_parent) == signal.SIGUSR1


def _death_signal_over_fork() -> list[int]:
    prctl.set_parent_death_signal(signal.SIGTERM)
    mine = prctl.parent_death_signal()
    pid = os.fork()
    if pid == 0:
        os._exit(prctl.parent_death_signal())
    return [mine, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]


def test_the_parent_death_signal_is_cleared_by_fork() -> None:
    """A forked child has to ask for itself."""
    assert call_in_process(_death_signal_over_fork) == [signal.SIGTERM, 0]


def test_no_signal_has_that_number() -> None:
    """The kernel's EINVAL becomes a KernelError that names the call."""
    with pytest.raises(KernelError, match="cannot prctl: Invalid argument"):
        prctl.set_parent_death_signal(4711)


def _named(name: str) -> str:
    prctl.set_name(name)
    stat = procfs.read_stat(os.getpid())
    return stat.comm if stat else ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("reaperd", "reaperd"),
        ("a name far too long for it", "a name far too "),
        ("a) S 1 (b\nc", "a) S 1 (b\nc"),
        ("zoë", "zoë"),
        ("up to\0here", "up to"),
        ("", ""),
    ],
)
def test_a_name_is_shown_by_proc(name: str, shown: str) -> None:
    """Fifteen bytes of any kind but NUL come back from /proc as they were set."""
    assert call_in_process(_named, name) == shown
