"""Asks that are answered when what they asked for is settled, or at their deadline."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import SECOND_NS
from reaperd.loop.timers import Timers
from reaperd.supervise.settled import is_settled
from reaperd.supervise.wishes import Wishes

PATIENCE_NS: Final = 100 * SECOND_NS  # longer than any stop that works, shorter than any client's patience


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ask that has not been answered yet."""

    verb: str
    names: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()  # of a reload: names, and what it changed about each
    needs_restart: tuple[str, ...] = ()  # of a reload: keys that only a new daemon follows


class WaitingRoom:
    """Hold asks until they are settled."""

    __slots__ = ("_deadlines", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}
        self._deadlines: Timers[int] = Timers()

    def enter(self, ticket: int, waiting: Waiting, now_ns: int) -> None:
        """Let an ask wait under its ticket."""
        self._waiting[ticket] = waiting
        self._deadlines.arm(ticket, now_ns + PATIENCE_NS)

    def leave(self, ticket: int) -> None:
        """Forget an ask whose client has gone."""
        self._waiting.pop(ticket, None)
        self._deadlines.cancel(ticket)

    def next_ns(self) -> int | None:
        """Return the earliest deadline, None while nobody waits."""
        return self._deadlines.next_ns()

    def settled(self, wishes: Wishes, now_ns: int, answer: Callable[[int, Waiting], None]) -> None:
        """Answer each ask that is settled or has waited long enough."""
        late = set(self._deadlines.due(now_ns))
        for ticket, waiting in list(self._waiting.items()):
            if ticket in late or all(is_settled(waiting.verb, name, wishes) for name in waiting.names):
                self.leave(ticket)
                answer(ticket, waiting)
