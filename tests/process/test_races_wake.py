"""The race between a signal and the start of a poll, settled by the wakeup pipe.

A signal that arrives before the poll has already been handled when the poll begins, and one that arrives
during it does not end it: the interpreter resumes the poll. A byte in a pipe that the poll watches does both.
"""

import os
import select
import signal
import time
from typing import Final

from reaperd.kernel import signals
from reaperd.kernel.wakeup import Wakeup
from tests.support.processes import call_in_process, owned_child

ROUNDS: Final = 1000


def _polls_that_hung() -> int:
    """Have a child send signals at every possible moment around a poll; count polls that did not end."""
    handled = hung = 0

    def handler(_number: int, _frame: object) -> None:
        nonlocal handled
        handled += 1

    signal.signal(signal.SIGUSR1, handler)
    wakeup = Wakeup()
    poll = select.poll()
    poll.register(wakeup.fd, select.POLLIN)
    read, write = os.pipe()
    parent = os.getpid()

    def sender() -> None:
        for number in range(ROUNDS):
            os.read(read, 1)
            end = time.perf_counter_ns() + number % 50 * 2000  # 0 to 98 us after it was asked
            while time.perf_counter_ns() < end:
                pass
            os.kill(parent, signal.SIGUSR1)

    with owned_child(sender):
        for _ in range(ROUNDS):
            signals.block_all()  # the turn
            os.write(write, b".")
            signals.restore([])  # open only around the poll
            hung += not poll.poll(10_000)
            wakeup.drain()
    wakeup.close()
    return hung + (handled != ROUNDS)


def test_every_signal_ends_the_poll() -> None:
    """Whether it comes before, at the start of or during the poll, and each is handled once."""
    assert call_in_process(_polls_that_hung) == 0


def _signal_during_a_blocked_turn() -> list[bool]:
    order: list[str] = []
    signal.signal(signal.SIGCHLD, lambda *_: order.append("handler"))
    wakeup = Wakeup()
    poll = select.poll()
    poll.register(wakeup.fd, select.POLLIN)
    mask = signals.block_all()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    order.append("turn")
    quiet = not poll.poll(0)
    signals.restore(mask)
    order.append("open")
    woken = bool(poll.poll(10_000))
    os.waitpid(pid, 0)
    wakeup.close()
    return [quiet, woken, order == ["turn", "handler", "open"]]


def test_a_handler_runs_only_where_signals_are_open() -> None:
    """A death during a turn waits for its end, and then is not slept through."""
    assert all(call_in_process(_signal_during_a_blocked_turn))
