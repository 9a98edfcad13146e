"""A line that moves while a command waits: which services are on their way, and how long it has taken.

It goes to standard error, and only to a terminal that can take it back: nothing of it is left when the wait
is over, also by Ctrl-C.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from reaperd.cli.command import client
from reaperd.cli.render import COLOURS, Screen, cell, cells_of, cut, items_of, screen_of, span
from reaperd.control.client import Reply, Watch
from reaperd.errors import ReaperdError

_FRAMES: Final = "|/-\\"
_CLEAR: Final = "\r\x1b[K"  # to the line's begin, and erase it: ECMA-48's EL
_MOVING: Final = frozenset({"starting", "stopping", "backoff", "waiting"})
_FIRST_S: Final = 0.3  # what takes no longer needs no line
_LOOK_S: Final = 0.4  # between two questions to the daemon
_PATIENCE_S: Final = 1.0


class _Line:
    """The line: what it says, and when the daemon was asked last."""

    def __init__(self, verb: str, ask: Callable[[], Reply], stream: IO[str], screen: Screen) -> None:
        self.is_shown = False
        self._verb = verb
        self._ask = ask
        self._stream = stream
        self._screen = screen
        self._began = time.monotonic()
        self._looked = 0.0
        self._frame = 0
        self._moving: list[tuple[str, str]] = []

    def move(self) -> None:
        """Draw the line anew, with what the daemon says now."""
        now = time.monotonic()
        if now - self._began < _FIRST_S:
            return
        if now - self._looked >= _LOOK_S:
            self._moving = self._look()
            self._looked = time.monotonic()
        self._frame += 1
        self._draw(f"{_FRAMES[self._frame % len(_FRAMES)]} {self._verb} {span(now - self._began)}")

    def erase(self) -> None:
        """Leave nothing of it."""
        if self.is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
            self.is_shown = False

    def _look(self) -> list[tuple[str, str]]:
        try:
            items = items_of(self._ask())
        except (ReaperdError, OSError):
            return []  # the wait itself will say what is wrong
        return [_moving(item) for item in items if item.get("state") in _MOVING]

    def _draw(self, head: str) -> None:
        room = (self._screen.width or 80) - 1  # in the last cell a terminal may begin another line
        parts, left = [head], room - cells_of(head)
        for index, (name, state) in enumerate(self._moving):
            more = f" +{len(self._moving) - index}"
            text = f"{': ' if index == 0 else ', '}{name} {state}"
            if cells_of(text) + len(more) > left:
                parts.append(more if len(more) <= left else "")
                break
            painted = self._screen.painted(state, COLOURS.get(state))
            parts.append(f"{text[: len(text) - len(state)]}{painted}")
            left -= cells_of(text)
        self._stream.write(_CLEAR + (cut(head, room) if len(parts) == 1 else "".join(parts)))
        self._stream.flush()
        self.is_shown = True


def _moving(item: Mapping[str, Any]) -> tuple[str, str]:  # Any: JSON
    return cell(item.get("name")), cell(item.get("state"))


@contextmanager
def progress(verb: str, names: Sequence[str], socket: Path | None, *, wait: bool) -> Iterator[Watch | None]:
    """Give what moves the line, to be called now and then while waiting; None where nobody would see it."""
    stream = sys.stderr
    screen = Screen() if stream is None else screen_of(stream)
    if not wait or not screen.moves:
        yield None
        return
    line = _Line(verb, lambda: client(socket, _PATIENCE_S).ask("status", names), stream, screen)
    try:
        yield line.move
    finally:
        line.erase()
