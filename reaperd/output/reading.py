"""Read a log as one: its old files, compressed or not, and the one that is written to.

Nothing is locked. The file that is written to is opened first, then the old ones are listed; if it is still
the same one afterwards, all in the list are older. While it is followed it may be set aside: it then has the
number after the last one known, and those with higher numbers come after it.
"""

import gzip
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final, cast

from reaperd.output.rotation import COMPRESSED, Old, old_files

_CHUNK: Final = 1 << 16
_TIME: Final = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_LOOKED_AT: Final = 100  # bytes of a line in which its time is looked for


class Reader:
    """Read one log from where it begins, or its last lines, and then what comes.

    Args:
        path: of the log.
        since_s: leave out what is older, in seconds of the wall clock. Lines that have a time of their own
            are told by that, others are as old as the line before them, and all of an old file that ended
            before that time are left out.
    """

    def __init__(self, path: str, since_s: float | None = None) -> None:
        self.path = path
        self._since_s = since_s
        self._file: BinaryIO | None = None
        self._number = 0  # of the newest old file that has been read, or passed over

    def start(self, most: int | None = None) -> Iterator[bytes]:
        """Give the lines so far, only the last `most` of them where that is given.

        Raises:
            OSError: a file cannot be read.
        """
        olds = self._open()
        if most is None:
            for old in olds:
                yield from self._told(_lines_of(old))
            yield from self._told(self._fresh())
            return
        pieces: deque[list[bytes]] = deque()
        for lines in (self._fresh_tail(most), *(_lines_of(old) for old in reversed(olds))):
            pieces.appendleft(list(deque(self._told(lines), most)))
            most -= len(pieces[0])
            if not most:
                break
        for piece in pieces:
            yield from piece

    def more(self) -> Iterator[bytes]:
        """Give the lines that have come since, across rotations.

        Raises:
            OSError: a file cannot be read.
        """
        yield from self._fresh()
        while not self._is_current():
            yield from self._fresh()  # between the look before and its end
            before, last = self._identity(), self._number
            for old in self._open():
                if old.number > last + 1 or (old.number == last + 1 and not _may_be(old, before)):
                    yield from _lines_of(old)
            yield from self._fresh()

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None

    # --- which files ------------------------------------------------------------------------------------

    def _open(self) -> list[Old]:
        """Open the file that is written to; return the old ones, all of them older."""
        while True:
            self.close()
            with suppress(FileNotFoundError):
                self._file = Path(self.path).open("rb")  # noqa: SIM115 - read again and again
            olds: list[Old] = []
            with suppress(FileNotFoundError):
                olds = [old for old in old_files(self.path) if old.paths]
            if self._is_current():
                self._number = olds[-1].number if olds else 0
                return olds

    def _is_current(self) -> bool:
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            return self._file is None
        return self._identity() == (found.st_dev, found.st_ino)

    def _identity(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        found = os.fstat(self._file.fileno())
        return found.st_dev, found.st_ino

    # --- which lines ------------------------------------------------------------------------------------

    def _fresh(self) -> Iterator[bytes]:
        """Give the lines that the open file has and that were not given yet; only those that have ended."""
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # it was emptied
        while (line := self._file.readline()).endswith(b"\n"):
            yield line
        self._file.seek(-len(line), os.SEEK_CUR)

    def _fresh_tail(self, most: int) -> Iterator[bytes]:
        if self._file is not None and self._since_s is None:
            _seek_tail(self._file, most)
        return self._fresh()

    def _told(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        if self._since_s is None:
            yield from lines
            return
        is_meant = True
        for line in lines:
            at_s = time_of(line)
            is_meant = is_meant if at_s is None else at_s >= self._since_s
            if is_meant:
                yield line


def time_of(line: bytes) -> float | None:
    """Return the time that a line tells at its beginning, as ISO 8601 has it; without zone it is local."""
    match = _TIME.search(line, 0, _LOOKED_AT)
    if match is None:
        return None
    try:
        return datetime.fromisoformat(match[0].decode().replace(",", ".")).timestamp()
    except (ValueError, OverflowError):
        return None


def _lines_of(old: Old) -> Iterator[bytes]:
    """Give the lines of an old file, which may be compressed or removed at any moment."""
    with ExitStack() as stack:
        for path in (old.path, old.path + COMPRESSED):
            with suppress(FileNotFoundError):
                raw = stack.enter_context(Path(path).open("rb"))
                packed = gzip.GzipFile(fileobj=raw) if path.endswith(COMPRESSED) else raw
                yield from cast("BinaryIO", packed)
                return


def _may_be(old: Old, identity: tuple[int, int] | None) -> bool:
    """Tell whether an old file may be the one that was open; compressed it may have been any."""
    try:
        found = Path(old.path).stat()
    except FileNotFoundError:
        return identity is not None
    return (found.st_dev, found.st_ino) == identity


def _seek_tail(file: BinaryIO, most: int) -> None:
    """Go to where the last `most` lines begin that have ended."""
    end = file.seek(0, os.SEEK_END)
    left, at = most + 1, end
    while at > 0:
        at = max(at - _CHUNK, 0)
        file.seek(at)
        block = file.read(min(_CHUNK, end - at))
        found = len(block)
        while left and (found := block.rfind(b"\n", 0, found)) >= 0:
            left -= 1
        if not left:
            file.seek(at + found + 1)
            return
        end = at
    file.seek(0)
