"""Races around fork, each settled by a rule: signals stay blocked until the child is registered.

Without the rule a tenth of the children that end at once are reaped before `fork` has returned, as many have
no pidfd left to open, and nearly every signal that hits a new child is swallowed by inherited handlers.
"""

import os
import signal
from collections.abc import Callable
from typing import Final

from reaperd.kernel import pidfd, procfs, signals, wait
from reaperd.kernel.wakeup import Wakeup
from tests.support.processes import call_in_process

CHILDREN: Final = 1000  # without the rule 80 to 120 of these go wrong


def _fork_blocked(in_parent: Callable[[int], None], in_child: Callable[[], object]) -> int:
    """Fork by the rule: all signals blocked from before the fork until `in_parent(pid)` has returned."""
    mask = signals.block_all()
    pid = os.fork()
    if pid == 0:
        try:
            in_child()
        finally:
            os._exit(0)
    in_parent(pid)
    signals.restore(mask)
    return pid


def _collect_the_rest() -> None:
    signals.block_all()
    for pid in procfs.children(os.getpid()):
        os.waitpid(pid, 0)


def _strangers_in_the_handler() -> int:
    """Fork children that end at once; count those that the handler reaped before they were registered."""
    registered: set[int] = set()
    strangers: list[int] = []

    def handler(_number: int, _frame: object) -> None:
        while (pid := wait.peek_any()) is not None:
            if wait.reap(pid) is not None and pid not in registered:
                strangers.append(pid)

    signal.signal(signal.SIGCHLD, handler)
    for _ in range(CHILDREN):
        _fork_blocked(registered.add, lambda: None)
    _collect_the_rest()
    return len(strangers)


def test_no_child_is_reaped_before_it_is_registered() -> None:
    """Of a thousand children that end at once, none."""
    assert call_in_process(_strangers_in_the_handler, is_storm=True) == 0


def _unopened() -> int:
    """Fork children that end at once; count those whose pidfd could not be opened."""
    missing = 0

    def handler(_number: int, _frame: object) -> None:
        while (pid := wait.peek_any()) is not None:
            wait.reap(pid)

    def register(pid: int) -> None:
        nonlocal missing
        fd = pidfd.open(pid)
        if fd is None:
            missing += 1
        else:
            os.close(fd)

    signal.signal(signal.SIGCHLD, handler)
    for _ in range(CHILDREN):
        _fork_blocked(register, lambda: None)
    _collect_the_rest()
    return missing


def test_every_child_has_a_pidfd() -> None:
    """Opened inside the blocked section it never comes too late."""
    assert call_in_process(_unopened, is_storm=True) == 0


def _swallowed() -> list[int]:
    """Send SIGTERM to 300 children right after the fork; count those it did not end, and our own wake-ups."""
    swallowed = 0
    signal.signal(signal.SIGTERM, lambda *_: None)
    wakeup = Wakeup()

    def become() -> None:
        Wakeup.disown()
        signals.reset(signals.changed())
        signals.restore([])
        signal.alarm(10)  # whoever missed the signal ends by another one
        signal.pause()

    for _ in range(300):
        pid = _fork_blocked(lambda pid: os.kill(pid, signal.SIGTERM), become)
        swallowed += os.WTERMSIG(os.waitpid(pid, 0)[1]) != signal.SIGTERM
    woken = len(wakeup.drain())
    wakeup.close()
    return [swallowed, woken]


def test_a_signal_to_a_new_child_is_the_childs() -> None:
    """It ends the child, however early it comes, and never shows up in the parent's wakeup pipe."""
    assert call_in_process(_swallowed, is_storm=True) == [0, 0]
