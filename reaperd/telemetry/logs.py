"""The daemon's log: events with keys, as readable lines on a terminal and as JSON elsewhere.

For the journal each line of JSON begins with its priority, such as `<6>`: sd-daemon(3).

The only home of structlog. A log must never stop the daemon: a standard error that is full or broken
loses lines, which are counted and reported with the next line that gets through.
"""

import io
import os
import select
from collections.abc import Sequence
from enum import Enum
from typing import Final, Protocol, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor

from reaperd.telemetry.names import EVENTS

_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3}  # syslog(3)


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

    O_NONBLOCK is left alone: the open file description is shared with whoever started the daemon.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped = 0

    def write(self, text: str) -> int:
        """Write one line whole, or count it as dropped."""
        if self.dropped:
            text = f"({self.dropped} lines dropped) {text}"
        data = text.encode(errors="backslashreplace")
        # A pipe that polls writable takes PIPE_BUF bytes at least: pipe(7).
        if self._writable() and self._put(data[: select.PIPE_BUF - 1].rstrip(b"\n") + b"\n"):
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
            return os.write(self._fd, data) == len(data)
        except OSError:
            return False


def open_log(how: Format, level: str = "info", fd: int = 2) -> Log:
    """Return the function that logs to `fd`, which stays the caller's.

    Args:
        how: what a line looks like.
        level: which lines are written: debug, info, warning or error, and what is worse.
        fd: where to.
    """
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", Sink(fd))),
        processors=_processors(how if how is not Format.AUTO else _fitting(fd), fd),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )

    def log(name: str, /, **keys: object) -> None:
        getattr(logger, EVENTS[name][0])(name, **keys)

    return log


def _fitting(fd: int) -> Format:
    """Return what whoever reads `fd` can read best."""
    if os.isatty(fd):
        return Format.CONSOLE
    found = os.fstat(fd)
    journal = os.environ.get(
        "JOURNAL_STREAM"
    )  # what the journal reads, if it reads anything: systemd.exec(5)
    return Format.JOURNAL if journal == f"{found.st_dev}:{found.st_ino}" else Format.JSON


def _processors(how: Format, fd: int) -> Sequence[Processor]:
    match how:
        case Format.CONSOLE:
            return _console(colors=os.isatty(fd) and not os.environ.get("NO_COLOR"))
        case Format.JOURNAL:
            return (*_json()[:-1], _with_priority)
        case _:
            return _json()


def _console(*, colors: bool) -> Sequence[Processor]:
    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="timestamp"),
        _without_absent,
        structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=18, sort_keys=False),
    )


def _without_absent(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Leave out what does not apply: a person reads what is there, a program wants every key."""
    return {key: value for key, value in event.items() if value is not None and value is not False}


def _with_priority(logger: object, method: str, event: EventDict) -> str:
    line = structlog.processors.JSONRenderer()(logger, method, event)
    return f"<{_PRIORITIES[method]}>{line if isinstance(line, str) else line.decode()}"


def _json() -> Sequence[Processor]:
    return (
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.JSONRenderer(),
    )
