"""Whole lines out of a stream of bytes, and nothing held but the one that has not ended. Pure.

Most of what is read is handed on in one piece, as it came: only its last line break is looked for, and once
for every `limit` bytes whether a line might be too long. Lines are looked at singly only where one is.
"""

from collections.abc import Iterator
from typing import Final

Buffer = bytes | memoryview

_END: Final = b"\n"


class Cutter:
    """Make whole lines, none longer than a limit.

    Attributes:
        limit: the most bytes of a line, its end not counted; what comes after them is left out and marked.
        rest: the line that has begun and not ended, at most `limit` bytes of it.
    """

    __slots__ = ("_left_out", "limit", "rest")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rest = b""
        self._left_out = 0  # bytes of the line in `rest`, which is then as long as it may be

    def cut(self, buffer: bytearray, size: int) -> Buffer:
        """Return the whole lines in `buffer[:size]`, which has to begin with `rest`.

        What is returned may be a view of `buffer`: it is to be used before that changes.
        """
        end = buffer.rfind(_END, 0, size) + 1
        if self._left_out or size - end > self.limit or not _all_fit(buffer, end, self.limit):
            return b"".join(self._singly(bytes(memoryview(buffer)[:size])))
        view = memoryview(buffer)
        self.rest = bytes(view[end:size])
        return view[:end]

    def finish(self) -> bytes:
        """Return the line that will not end any more, with an end; nothing where none has begun."""
        line, self.rest = self.rest, b""
        return self._ended(line) if line else b""

    def _singly(self, data: bytes) -> Iterator[bytes]:
        *lines, last = data.split(_END)
        for line in lines:
            yield self._ended(line)
        self._left_out += max(len(last) - self.limit, 0)
        self.rest = last[: self.limit]

    def _ended(self, line: bytes) -> bytes:
        left_out = self._left_out + max(len(line) - self.limit, 0)
        self._left_out = 0
        return line[: self.limit] + (cut_mark(left_out) if left_out else b"") + _END


def pieces(lines: Buffer, most: int) -> Iterator[bytes]:
    """Give whole lines in pieces of at most `most` bytes; a line that is longer is one by itself."""
    start = 0
    while start < len(lines):
        piece = bytes(lines[start : start + most])
        if not (end := piece.rfind(_END) + 1):
            piece = bytes(lines[start:])
            end = piece.find(_END) + 1
        start += end
        yield piece[:end]


def cut_mark(left_out: int) -> bytes:
    """Return what stands at the end of a line of which so many bytes were left out."""
    return b" [reaperd: %d bytes cut]" % left_out


def _all_fit(buffer: bytearray, end: int, limit: int) -> bool:
    """Tell whether no line in `buffer[:end]` is longer than `limit`."""
    start = 0
    while end - start > limit + 1:
        found = buffer.rfind(_END, start, start + limit + 1)
        if found < 0:
            return False
        start = found + 1
    return True
