"""The signal mask and dispositions of this process: signal(7), sigprocmask(2).

Around a fork every signal is blocked: a signal that reached the child before its handlers are reset would
be swallowed by the parent's handlers, and a child could be reaped before the parent has registered it.

Masks are changed at every fork and in every turn of the loop, by the C half of `signal`: the Python half
makes an enum member of each signal that was blocked before, which takes 90 microseconds for all of them.
"""

import _signal  # type: ignore[import-not-found]  # it has no stub of its own
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
    return frozenset(_signal.pthread_sigmask(signal.SIG_BLOCK, catchable()))


def block(numbers: Iterable[int]) -> None:
    """Hold these signals back in this thread."""
    _signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def unblock(numbers: Iterable[int]) -> None:
    """Let these signals through; those that were held back are delivered now."""
    _signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def restore(mask: Iterable[int]) -> None:
    """Make `mask` the signal mask of this thread; signals that were held back are delivered now."""
    _signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def changed() -> tuple[int, ...]:
    """Return the signals whose action is not the default one: handled here, or ignored.

    Those that were ignored when the interpreter started are among them, and SIGPIPE and SIGXFSZ, which it
    ignores for itself.
    """
    return tuple(number for number in catchable() if _signal.getsignal(number) != signal.SIG_DFL)


def reset(numbers: Iterable[int]) -> None:
    """Give signals their default action, as the program of a forked child expects it.

    execve resets handlers but keeps what is ignored, and until then a handler of the parent's would swallow
    the signal: execve(2). To be called in a single-threaded child, with all signals blocked.
    """
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)
