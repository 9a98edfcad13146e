import errno
import os
import resource
import select
import signal
import subprocess
import sys
import threading

import pytest

from reaperd.errors import KernelError
from reaperd.kernel import pidfd
from tests.support.processes import (
    ROOT,
    call_in_process,
    fork_child,
    need_root,
    owned,
    owned_child,
    sleep_forever,
    system_python,
    unprivileged,
    wait_gone,
    wait_reaped,
)


def _open_or_fail(pid: int) -> int:
    fd = pidfd.open(pid)
    assert fd is not None, f"pid {pid} is gone"
    return fd


def test_a_signal_reaches_exactly_its_process() -> None:
    """A signal sent through the descriptor ends the process."""
    with owned(["sleep", "60"]) as process:
        fd = _open_or_fail(process.pid)
        assert pidfd.send(fd, signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        os.close(fd)


def test_the_descriptor_is_closed_by_exec() -> None:
    """A pidfd of ours never leaks into a program that we start."""
    with owned(["sleep", "60"]) as process:
        fd = _open_or_fail(process.pid)
        assert not os.get_inheritable(fd)
        os.close(fd)


def _life_and_afterlife() -> list[bool]:
    with owned_child(sleep_forever) as child:
        fd = _open_or_fail(child)
        living = pidfd.send(fd, 0)
        os.kill(child, signal.SIGKILL)
        wait_gone(child)
        zombie = pidfd.send(fd, signal.SIGTERM)
        late = _open_or_fail(child)
        os.waitpid(child, 0)
        answers = [living, zombie, not pidfd.send(fd, signal.SIGTERM), not pidfd.send(late, 0)]
        answers.append(pidfd.open(child) is None)
        os.close(fd)
        os.close(late)
        return answers


def test_a_zombie_accepts_signals_and_a_reaped_process_is_gone() -> None:
    """A descriptor can be opened on a zombie; after the reap it says gone and never means another."""
    assert all(call_in_process(_life_and_afterlife))


def _readable_at_death() -> list[bool]:
    with owned_child(sleep_forever) as child:
        fd = _open_or_fail(child)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        before = poll.poll(0)
        os.kill(child, signal.SIGKILL)
        after = poll.poll(20_000)
        os.close(fd)
        return [before == [], [events & select.POLLIN for _, events in after] == [select.POLLIN]]


def test_the_descriptor_polls_readable_at_death() -> None:
    """Not while the process lives; from its end on."""
    assert all(call_in_process(_readable_at_death))


def id_of_a_group_without_leader() -> bool:
    """Open the number of a reaped leader whose group lives on: it is in use, but by no process."""
    read, write = os.pipe()

    def leader() -> None:
        os.setpgid(0, 0)
        member = os.fork()
        if member == 0:
            os.close(write)
            os.read(read, 1)  # end of file once the scenario lets go
            os._exit(0)

    pid = fork_child(leader)
    os.waitpid(pid, 0)
    os.killpg(pid, 0)  # the group exists
    answer = pidfd.open(pid)
    os.close(write)
    return answer is None


def test_the_id_of_a_group_is_no_process() -> None:
    """A number that only a process group still uses is a process that is gone."""
    assert call_in_process(id_of_a_group_without_leader)


def test_a_thread_is_no_process() -> None:
    """The id of a thread that leads no process is answered as gone, not as its process."""
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    assert thread.native_id is not None
    assert pidfd.open(thread.native_id) is None
    release.set()
    thread.join()


@pytest.mark.parametrize("pid", [0, -1])
def test_a_pid_below_one_is_refused(pid: int) -> None:
    """Zero and negative numbers are mistakes, not processes that are gone."""
    with pytest.raises(KernelError) as caught:
        pidfd.open(pid)
    assert caught.value.errno == errno.EINVAL


def test_no_signal_has_that_number() -> None:
    """An impossible signal is refused and named."""
    fd = _open_or_fail(os.getpid())
    with pytest.raises(KernelError, match="cannot send signal 4711: pidfd_send_signal: Invalid argument"):
        pidfd.send(fd, 4711)
    os.close(fd)


def _without_descriptors() -> list[str | int | None]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (os.dup(0), hard))
    try:
        pidfd.open(os.getpid())
    except KernelError as error:
        return [error.errno, error.hint]
    return []


def test_a_full_descriptor_table_is_an_error_with_a_hint() -> None:
    """EMFILE is never mistaken for a process that is gone."""
    number, hint = call_in_process(_without_descriptors)
    assert number == errno.EMFILE
    assert "limit" in hint


SIGNAL_PID_1 = """
import sys
from reaperd.errors import KernelError
from reaperd.kernel import pidfd
try:
    pidfd.send(pidfd.open(int(sys.argv[1])), 0)
except KernelError as error:
    print(error.call, error.errno, error.hint)
"""


def test_another_users_process_cannot_be_signalled() -> None:
    """EPERM is an error that says whose process it must be."""
    need_root()
    with owned(["sleep", "60"]) as target:
        done = subprocess.run(
            unprivileged([system_python(), "-c", SIGNAL_PID_1, str(target.pid)]),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.startswith(f"pidfd_send_signal {errno.EPERM} needs the same user")


def test_a_process_that_is_gone_is_none() -> None:
    """A reaped child's pid opens nothing."""
    with owned([sys.executable, "-c", ""]) as process:
        process.wait(20)
    wait_reaped(process.pid)
    assert pidfd.open(process.pid) is None
