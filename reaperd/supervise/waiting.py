"""Asks that are answered when what they asked for is settled, or at their deadline."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import SECOND_NS
from reaperd.loop.timers import Timers
from reaperd.policy.stop import longest_ns
from reaperd.supervise.service import Service
from reaperd.supervise.settled import is_settled
from reaperd.supervise.wishes import Wishes

MARGIN_NS: Final = 90 * SECOND_NS  # beyond the longest stop and the longest start: for those that go in order


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ask that has not been answered yet."""

    verb: str
    names: tuple[str, ...]
    changes: tuple[tuple[str, str], ...] = ()  # of a reload: names, and what it changed about each
    needs_restart: tuple[str, ...] = ()  # of a reload: keys that only a new daemon follows


def patience_ns(services: Iterable[Service]) -> int:
    """Return how long an ask may wait: for a stop and a start that take all the time that they are given."""
    specs = [spec for each in services for spec in (each.spec, each.next_spec) if spec is not None]
    stop_ns = max((longest_ns(spec.stop) for spec in specs), default=0)
    ready_ns = max((spec.ready_timeout_ns for spec in specs if spec.ready is not None), default=0)
    return stop_ns + ready_ns + MARGIN_NS


class WaitingRoom:
    """Hold asks until they are settled."""

    __slots__ = ("_deadlines", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}
        self._deadlines: Timers[int] = Timers()

    def enter(self, ticket: int, waiting: Waiting, deadline_ns: int) -> None:
        """Let an ask wait under its ticket, until `deadline_ns` at the latest."""
        self._waiting[ticket] = waiting
        self._deadlines.arm(ticket, deadline_ns)

    def leave(self, ticket: int) -> None:
        """Forget an ask whose client has gone."""
        self._waiting.pop(ticket, None)
        self._deadlines.cancel(ticket)

    def holds(self, verb: str) -> bool:
        """Tell whether an ask of this kind waits."""
        return any(waiting.verb == verb for waiting in self._waiting.values())

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
