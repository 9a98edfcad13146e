"""The signal mask and dispositions of this process: signal(7), sigprocmask(2).

Around a fork every signal is blocked: a signal that reached the child before its handlers are reset would
be swallowed by the parent's handlers, and a child could be reaped before the parent has registered it.
"""

import signal
from collections.abc import Iterable
from functools import cache


@cache
def catchable() -> frozenset[int]:
    """Return every signal that a process can block or handle.

    The two real-time signals that the C library keeps for its threads are not among them: nptl(7).
    """
    valid = {int(number) for number in signal.valid_signals()}
    return frozenset(valid - {signal.SIGKILL, signal.SIGSTOP})


def block_all() -> frozenset[int]:
    """Block every signal that can be blocked, in this thread, and return the mask from before."""
    return frozenset(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, catchable()))


def restore(mask: Iterable[int]) -> None:
    """Make `mask` the signal mask of this thread; signals that were held back are delivered now."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def reset_all_handlers() -> None:
    """Give every catchable signal its default action, as the program of a forked child expects it.

    execve resets handlers but keeps what is ignored, and the interpreter ignores SIGPIPE and SIGXFSZ for
    itself: execve(2). To be called in a single-threaded child, with all signals blocked.
    """
    for number in catchable():
        signal.signal(number, signal.SIG_DFL)
