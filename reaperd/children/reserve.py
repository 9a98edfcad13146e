"""Descriptors kept back, so that a full table does not keep the daemon from looking, signalling and killing.

A thousand services need a thousand pidfds, and a container often has no more. A start that finds none left
fails and is tried again; but to look for orphans and to send signals takes descriptors as well, and a daemon
that could not do that could stop nobody. So a few are held all the time, and let go for as long as needed.
"""

import os
from contextlib import suppress
from typing import Final, Self

_HELD: Final = 4  # a walk has one open at a time, a signal a pidfd and a file of /proc; one to spare


class Reserve:
    """Hold some descriptors, copies of one that stays its owner's; inside `with` their numbers are free."""

    __slots__ = ("_fd", "_held")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._held: list[int] = []
        self._fill()

    def __enter__(self) -> Self:
        while self._held:
            os.close(self._held.pop())
        return self

    def __exit__(self, *_exc: object) -> None:
        self._fill()

    def _fill(self) -> None:
        with suppress(OSError):  # somebody was faster; next time, then
            while len(self._held) < _HELD:
                self._held.append(os.dup(self._fd))
