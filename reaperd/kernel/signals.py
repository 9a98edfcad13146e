"""The signal mask and dispositions of this process: signal(7), sigprocmask(2).

Around a fork every signal is blocked: a signal that reached the child before its handlers are reset would
be swallowed by the parent's handlers, and a child could be reaped before the parent has registered it.

What is done at each fork and each turn is done by the C half of `signal`: what is in Python around it makes
an enumeration's member of every signal of a mask, which takes longer than all else around a fork.
"""

import _signal  # type: ignore[import-not-found]
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
    return block(catchable())


def block(numbers: Iterable[int]) -> frozenset[int]:
    """Block signals, in this thread, and return the mask from before."""
    return frozenset(_signal.pthread_sigmask(_signal.SIG_BLOCK, numbers))


def unblock(numbers: Iterable[int]) -> None:
    """Let signals of this thread be delivered; those that were held back are at once."""
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, numbers)


def restore(mask: Iterable[int]) -> None:
    """Make `mask` the signal mask of this thread; signals that were held back are delivered now."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def changed() -> tuple[int, ...]:
    """Return the signals whose action is not the default one: handled here, or ignored.

    Those that were ignored when the interpreter started are among them, and SIGPIPE and SIGXFSZ, which it
    ignores for itself.
    """
    return tuple(number for number in catchable() if _signal.getsignal(number) != _signal.SIG_DFL)


def reset(numbers: Iterable[int]) -> None:
    """Give signals their default action, as the program of a forked child expects it.

    execve resets handlers but keeps what is ignored, and until then a handler of the parent's would swallow
    the signal: execve(2). To be called in a single-threaded child, with all signals blocked.
    """
    for number in numbers:
        _signal.signal(number, _signal.SIG_DFL)
