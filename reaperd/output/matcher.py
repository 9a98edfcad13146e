"""Look for a line that matches, in what is read anyway.

The expression is the configuration's, the line is whatever a service writes: together they may take longer
than the loop has. The interpreter's matcher asks for signals as it goes, so a timer of the processor time
that we use ends it: setitimer(2). Its signal, SIGVTALRM, is ours: `forward_signals` takes it from nobody. An
output whose lines take too long is looked at no more, which is told; `ready_timeout` ends the run.
"""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

LONGEST_LINE: Final = 4096  # bytes of a line that are looked at
LONGEST_S: Final = 0.1  # of processor time, for what is read at once


class _TooLongError(Exception):
    """The time is over."""


class Matcher:
    """Find the first line that matches anywhere.

    Attributes:
        gave_up: lines took too long; none matches any more.
    """

    __slots__ = ("_line", "_pattern", "gave_up")

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._line = b""  # begun and not ended yet
        self.gave_up = False

    def feed(self, data: bytes) -> bool:
        """Tell whether a line that ends in `data` matches. Called by the main thread alone."""
        if self.gave_up:
            return False
        *lines, rest = data.split(b"\n")
        try:
            with _time_limit():
                found = any(self._matches(part) for part in lines)
        except _TooLongError:
            self.gave_up = True
            return False
        self._line = (self._line + rest)[:LONGEST_LINE]
        return found

    def _matches(self, part: bytes) -> bool:
        line = (self._line + part)[:LONGEST_LINE]
        self._line = b""
        return self._pattern.search(line.decode(errors="replace").rstrip("\r")) is not None


@contextmanager
def _time_limit() -> Iterator[None]:
    limited = True

    def stop(_signum: int, _frame: FrameType | None) -> None:
        if limited:
            raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    # Whoever started us may have left it blocked.
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGVTALRM})
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
    try:
        yield
    finally:
        limited = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGVTALRM, before)
