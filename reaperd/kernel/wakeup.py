"""Let a signal end a poll: the interpreter writes each signal's number into a pipe that the poll watches.

Without it an interrupted poll is resumed for the rest of its timeout (PEP 475), and Python's handler runs
only after that. The pipe also closes the race between unblocking SIGCHLD and the start of the poll.
"""

import os
import signal
from typing import Final

_PIPE_BYTES: Final = 65536  # a pipe holds no more: pipe(7)


class Wakeup:
    """Own the interpreter's wakeup descriptor; make and close it in the main thread.

    Attributes:
        fd: polls readable after a signal that has a Python handler.
    """

    __slots__ = ("_before", "_write", "fd")

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # A full pipe already wakes the poll: no need to warn.
            self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        except ValueError:
            os.close(self.fd)
            os.close(self._write)
            raise

    def drain(self) -> bytes:
        """Empty the pipe without waiting; return the numbers of the signals, one byte each.

        A hint only: numbers are dropped while the pipe is full. The handlers have run all the same.
        """
        try:
            return os.read(self.fd, _PIPE_BYTES)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Give the interpreter its former wakeup descriptor back and close the pipe."""
        signal.set_wakeup_fd(self._before)
        os.close(self.fd)
        os.close(self._write)

    @staticmethod
    def disown() -> None:
        """Stop writing signals into the parent's pipe; for a forked child, before its mask is restored.

        The pipe is shared by the fork: a signal to the child would wake the parent.
        """
        signal.set_wakeup_fd(-1)
