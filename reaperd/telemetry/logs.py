"""The daemon's log: events with keys, as readable lines on a terminal and as JSON elsewhere.

Where the journal reads our standard error, it gets entries with fields instead (`journal`). A line of JSON
that is meant for it and goes elsewhere begins with its priority, such as `<6>`: sd-daemon(3).

A log must never stop the daemon: a standard error that is full or broken loses lines, whose number is the
key `dropped` of the next line that gets through.
"""

import io
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, Protocol

from reaperd.moments import rfc3339
from reaperd.telemetry import journal
from reaperd.telemetry.journal import Journal
from reaperd.telemetry.names import EVENTS

# A pipe that polls writable takes that much without blocking, and in one piece: pipe(7).
LINE_BYTES: Final = select.PIPE_BUF
_MORE: Final = "…"
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3}  # syslog(3)
LEVELS: Final = tuple(_PRIORITIES)  # each is worse than those before it
_Keys = Mapping[str, object]
_Write = Callable[[str, str, _Keys], None]


class Format(Enum):
    """What a line looks like."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"
    JOURNAL = "journal"


class Log(Protocol):
    """Tell what happened: `name` stands in `telemetry.names`, and so do its keys."""

    def __call__(self, name: str, /, **keys: object) -> None:
        """Write one line; never blocks, never raises because of where it writes to."""


class Sink(io.TextIOBase):
    """A descriptor that is written to only while it can take a line without blocking.

    O_NONBLOCK is left alone: the open file description is shared with whoever started the daemon. A
    terminal polls writable as soon as it has room for one byte, so that one is opened anew.

    Attributes:
        dropped: how many lines were lost since the last one that got through.
    """

    def __init__(self, fd: int) -> None:
        self._fd = _reopened(fd) if os.isatty(fd) else fd
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._torn = False  # the latest write ended within a line
        self.dropped = 0

    def write(self, text: str) -> int:
        """Write one line whole, or count it as dropped."""
        if self._writable() and self._put(_line(text, start="\n" if self._torn else "")):
            self.dropped = 0
        else:
            self.dropped += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write went out or was dropped."""

    def _writable(self) -> bool:
        return any(events & select.POLLOUT for _fd, events in self._poll.poll(0))

    def _put(self, data: bytes) -> bool:
        try:
            written = os.write(self._fd, data)
        except OSError:
            return False
        self._torn = written < len(data)
        return not self._torn


def _reopened(terminal: int) -> int:
    """Return a descriptor of the same terminal whose O_NONBLOCK is our own; the same one if that fails."""
    try:
        return os.open(f"/proc/self/fd/{terminal}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's: it is written to as long as it polls writable
        return terminal


def _line(text: str, start: str) -> bytes:
    data = (start + text.rstrip("\n")).encode(errors="backslashreplace")
    if len(data) >= LINE_BYTES:
        more = _MORE.encode()
        data = data[: LINE_BYTES - 1 - len(more)].decode(errors="ignore").encode() + more
    return data + b"\n"


def open_log(how: Format, level: str = "info", fd: int = 2, address: str = journal.SOCKET) -> Log:
    """Return the function that logs to `fd`, which stays the caller's.

    Args:
        how: what a line looks like.
        level: which lines are written: debug, info, warning or error, and what is worse.
        fd: where to.
        address: where the journal takes entries, if it is what reads `fd`.
    """
    fitting = how if how is not Format.AUTO else _fitting(fd)
    least = LEVELS.index(level)
    write, sink = _writer(fitting, fd, address)

    def log(name: str, /, **keys: object) -> None:
        as_bad = EVENTS[name][0]
        if LEVELS.index(as_bad) < least:
            return
        if sink.dropped:
            keys["dropped"] = sink.dropped
        write(as_bad, name, keys)

    return log


def _writer(how: Format, fd: int, address: str) -> tuple[_Write, Sink | Journal]:
    """Return what writes an event of a level in the format, and where to."""
    if how is Format.JOURNAL and _reads_journal(fd) and journal.is_there(address):
        entries = Journal(address)
        return lambda level, name, keys: entries.write(journal.entry(_PRIORITIES[level], name, keys)), entries
    sink, line = Sink(fd), _line_maker(how, fd)

    def write(level: str, name: str, keys: _Keys) -> None:
        sink.write(line(level, name, keys))

    return write, sink


def _line_maker(how: Format, fd: int) -> Callable[[str, str, _Keys], str]:
    match how:
        case Format.CONSOLE:
            # Imported here: it brings structlog, which is twice as large as all the rest of the log.
            from reaperd.telemetry.console import Lines  # noqa: PLC0415

            return Lines(colors=os.isatty(fd) and not os.environ.get("NO_COLOR"))
        case Format.JOURNAL:
            return lambda level, name, keys: f"<{_PRIORITIES[level]}>{_json(level, name, keys)}"
        case _:
            return _json


def _fitting(fd: int) -> Format:
    """Return what whoever reads `fd` can read best."""
    if os.isatty(fd):
        return Format.CONSOLE
    return Format.JOURNAL if _reads_journal(fd) else Format.JSON


def _reads_journal(fd: int) -> bool:
    """Tell whether the journal is what reads `fd`: JOURNAL_STREAM, systemd.exec(5)."""
    found = os.fstat(fd)
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _json(level: str, name: str, keys: _Keys) -> str:
    return _dumps({**keys, "event": name, "level": level, "time": rfc3339(time.time_ns(), digits=6)})


def _dumps(event: Mapping[str, object]) -> str:
    """Return an object that fits in a line: where it would not, long values are shortened."""
    line = json.dumps(event, default=repr)
    for most in (1024, 256, 64, 16):
        if len(line) < LINE_BYTES - len("<7>"):
            break
        line = json.dumps({key: _short(value, most) for key, value in event.items()}, default=repr)
    return line


def _short(value: object, most: int) -> object:
    """Return the beginning and the end of a long text, or the first items of a long list."""
    if isinstance(value, str) and len(value) > most:
        return value[: most // 2] + _MORE + value[-most // 2 :]
    if isinstance(value, list | tuple):
        items = [_short(item, most) for item in value[: most // 8]]
        return [*items, _MORE] if len(value) > len(items) else items
    return value
