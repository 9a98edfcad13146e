"""What a service says of itself: the messages of sd_notify(3), read without trust. Pure.

A message is lines of `KEY=value`. Whatever is unknown, malformed or not text is passed over, line by line,
so that a newer service can talk to an older daemon. `BARRIER=1` stands alone and comes with a descriptor,
which its sender sees closed once everything sent before has been acted on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

LONGEST_STATUS: Final = 512  # characters that are kept

_LARGEST_PID: Final = 1 << 22  # PID_MAX_LIMIT: proc_sys_kernel(5)
_LARGEST_USEC: Final = (1 << 64) - 1

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Notification:
    """One message.

    Attributes:
        ready: it is up.
        reloading: it reads its configuration again, and says READY=1 after.
        stopping: it is on its way down.
        status: a line for people, without anything that a terminal would obey.
        main_pid: the process that counts as its main one.
        watchdog: it lives.
        is_unwell: it does not, and says so.
        watchdog_usec: how often it will say so.
        extend_usec: how much more time it wants, from now, for its start or its stop.
        barrier: nothing but a wish to know that earlier messages were acted on.
    """

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    status: str | None = None
    main_pid: int | None = None
    watchdog: bool = False
    is_unwell: bool = False
    watchdog_usec: int | None = None
    extend_usec: int | None = None
    barrier: bool = False


def parse(data: bytes) -> Notification:
    """Return what a message says; nothing at all where nothing in it is known."""
    lines = data.split(b"\n")
    return Notification(
        ready=b"READY=1" in lines,
        reloading=b"RELOADING=1" in lines,
        stopping=b"STOPPING=1" in lines,
        status=_last(lines, b"STATUS=", _text),
        main_pid=_last(lines, b"MAINPID=", _pid),
        watchdog=b"WATCHDOG=1" in lines,
        is_unwell=b"WATCHDOG=trigger" in lines,
        extend_usec=_last(lines, b"EXTEND_TIMEOUT_USEC=", _usec),
        watchdog_usec=_last(lines, b"WATCHDOG_USEC=", _usec),
        barrier=data.strip(b"\n") == b"BARRIER=1",
    )


def _last(lines: Sequence[bytes], key: bytes, read: Callable[[bytes], Value | None]) -> Value | None:
    """Return the last value of `key` that can be read."""
    values = (read(line[len(key) :]) for line in lines if line.startswith(key))
    return next((value for value in reversed(list(values)) if value is not None), None)


def _pid(value: bytes) -> int | None:
    return _number(value, _LARGEST_PID)


def _usec(value: bytes) -> int | None:
    return _number(value, _LARGEST_USEC)


def _number(value: bytes, largest: int) -> int | None:
    """Return a number from 1 on, None for anything else."""
    if not value.isdigit() or len(value) > len(str(largest)):
        return None
    number = int(value)
    return number if 0 < number <= largest else None


def _text(value: bytes) -> str | None:
    try:
        text = value.decode().strip()[:LONGEST_STATUS]
    except UnicodeDecodeError:
        return None
    return "".join(letter if letter.isprintable() else "?" for letter in text)
