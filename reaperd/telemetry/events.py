"""What the daemon did of late, with numbers, for those who ask and those who follow.

Every line of the log passes here, whatever level is written. The last `MOST` are kept; each has a number that
is never used twice while the daemon lives. Whoever follows has a place in this ring, and is told how many it
missed where the ring has gone on without it: a slow follower costs nothing and holds up nobody.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from reaperd.moments import rfc3339
from reaperd.telemetry.logs import Log
from reaperd.telemetry.names import EVENTS

SCHEMA: Final = "reaperd.events/1"
LOST: Final = "events.lost"
MOST: Final = 1024
_LONGEST: Final = 2048  # characters of one value
_WIDEST: Final = 64  # items of one value


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    seq: int
    at_ns: int  # CLOCK_REALTIME
    name: str
    keys: Mapping[str, object]


class Ring:
    """The last events of one kind, by number.

    Attributes:
        kind: what is told here: "daemon", what this daemon did; "kernel", what changes among processes.
        about: what a reader is told beforehand besides, of how events come here.
        next: the number of the next event.
        is_fresh: whether something came since this was last set to False.
    """

    def __init__(
        self, kind: str = "daemon", most: int = MOST, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self.kind = kind
        self.about: Mapping[str, object] = {}
        self.next = 1
        self.is_fresh = False
        self._events: deque[Event] = deque(maxlen=most)
        self._wall = wall

    @property
    def first(self) -> int:
        """The number of the oldest event that is there."""
        return self.next - len(self._events)

    def put(self, name: str, keys: Mapping[str, object]) -> None:
        """Keep an event, long values shortened."""
        kept = {key: _short(value) for key, value in keys.items()}
        self._events.append(Event(self.next, self._wall(), name, kept))
        self.next += 1
        self.is_fresh = True

    def since(self, seq: int) -> Iterator[Event]:
        """Give the events from a number on, as far as they are there."""
        for index in range(max(seq - self.first, 0), len(self._events)):
            yield self._events[index]


class Told:
    """Tell events to the log and keep them: itself a log.

    Attributes:
        ring: where they are kept.
        exits: how often main processes ended, by service, cause and status.
    """

    def __init__(self, log: Log, ring: Ring | None = None) -> None:
        self.ring = ring or Ring()
        self.exits: Counter[tuple[str, str, str]] = Counter()
        self._log = log

    def __call__(self, name: str, /, **keys: object) -> None:
        """Tell one event."""
        self.ring.put(name, keys)
        if name == "service.exited":
            self._count_exit(keys)
        elif name == "service.spawn_failed":
            self.exits[str(keys.get("service")), "not-started", str(keys.get("stage"))] += 1
        self._log(name, **keys)

    def _count_exit(self, keys: Mapping[str, object]) -> None:
        service, code, signal = str(keys.get("service")), keys.get("code"), keys.get("signal")
        if keys.get("out_of_memory"):
            self.exits[service, "out-of-memory", str(signal)] += 1
        elif signal is not None:
            self.exits[service, "signal", str(signal)] += 1
        else:
            self.exits[service, "exit", str(code)] += 1


class Following:
    """One reader's place in a ring: implements `control.words.Feed`.

    Args:
        ring: what is read.
        start: the number from which on.
        follow: whether there is no end.
        is_meant: whether an event is wanted.
    """

    def __init__(
        self, ring: Ring, start: int, *, follow: bool, is_meant: Callable[[Event], bool] = lambda _event: True
    ) -> None:
        self._ring = ring
        self._next = start
        self._follow = follow
        self._is_meant = is_meant
        self._has_begun = False

    def read(self, most: int) -> bytes | None:
        """Return the next lines, at least one where there is one, about `most` bytes; None at the end."""
        lines: list[bytes] = []
        if not self._has_begun:
            self._has_begun = True
            first = {"schema": SCHEMA, "kind": self._ring.kind, "next": self._ring.next}
            lines.append(_line({**first, **self._ring.about}))
        if self._next < self._ring.first:
            lost = self._ring.first - self._next
            self._next = self._ring.first
            lines.append(_line({"seq": self._next, "event": LOST, "lost": lost}))
        size = 0
        for event in self._ring.since(self._next):
            if size > most:
                break
            self._next = event.seq + 1
            if self._is_meant(event):
                lines.append(_line(as_row(event)))
                size += len(lines[-1])
        if lines:
            return b"".join(lines)
        return b"" if self._follow else None


def as_row(event: Event) -> dict[str, object]:
    """Return an event as the streams tell it."""
    row = {
        "seq": event.seq,
        "time": rfc3339(event.at_ns),
        "level": EVENTS[event.name][0] if event.name in EVENTS else "info",  # changes of processes: all alike
        "event": event.name,
    }
    return {**row, **event.keys}


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[: _LONGEST // 2]}…{value[-_LONGEST // 2 :]}"
    if isinstance(value, list | tuple):
        return [_short(item) for item in value[:_WIDEST]]
    return value


def _line(row: Mapping[str, object]) -> bytes:
    return json.dumps(row, default=str).encode() + b"\n"
