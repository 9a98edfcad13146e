"""The race between a pid and its next owner, settled by signalling through pidfds only."""

import os
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from reaperd.kernel import pidfd, procfs
from tests.support.processes import (
    call_in_pid_namespace,
    fork_child,
    need_root,
    sleep_forever,
    wait_gone,
)

LAST_PID: Final = Path("/proc/sys/kernel/ns_last_pid")  # of this PID namespace: pid_namespaces(7)
ROUNDS: Final = 100


def _reused() -> Any:
    """Give a reaped child's pid to another one; count signals that reached the wrong process."""
    try:
        LAST_PID.write_text("100")
    except OSError as error:
        return f"cannot choose pids here: {error.strerror}"
    reused = wrong = same_key = 0
    for _ in range(ROUNDS):
        first = fork_child(sleep_forever)
        fd = pidfd.open(first)
        before = procfs.read_stat(first)
        assert fd is not None
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        LAST_PID.write_text(str(first - 1))
        second = fork_child(sleep_forever)
        after = procfs.read_stat(second)
        assert before is not None
        assert after is not None
        reused += second == first
        wrong += pidfd.send(fd, signal.SIGKILL)
        same_key += after.key == before.key
        os.close(fd)
        os.kill(second, signal.SIGTERM)
        wrong += os.WTERMSIG(os.waitpid(second, 0)[1]) != signal.SIGTERM
    return [reused, wrong]


def test_a_pidfd_never_reaches_the_next_owner_of_a_pid() -> None:
    """A hundred times a pid is given to another process; the old descriptor says gone each time."""
    need_root()
    answer = call_in_pid_namespace(_reused, is_storm=True)
    if isinstance(answer, str):
        pytest.skip(answer)
    assert answer == [ROUNDS, 0]


def _zombie() -> list[bool]:
    child = fork_child(sleep_forever)
    fd = pidfd.open(child)
    assert fd is not None
    os.kill(child, signal.SIGKILL)
    wait_gone(child)
    at_zombie = pidfd.send(fd, signal.SIGTERM)
    os.waitpid(child, 0)
    after = pidfd.send(fd, signal.SIGTERM)
    os.close(fd)
    return [at_zombie, after]


def test_a_pidfd_is_safe_at_a_zombie_and_after_its_reap() -> None:
    """The zombie takes any signal without effect; afterwards the process is gone."""
    assert call_in_pid_namespace(_zombie) == [True, False]
