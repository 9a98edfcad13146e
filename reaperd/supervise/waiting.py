"""Asks that are answered when what they asked for is settled, or at their deadline."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from reaperd.config.spec import SECOND_NS
from reaperd.loop.timers import Timers
from reaperd.policy.words import State
from reaperd.supervise.service import Service

PATIENCE_NS: Final = 100 * SECOND_NS  # longer than any stop that works, shorter than any client's patience

_SETTLED: Final[dict[str, frozenset[State]]] = {
    "start": frozenset({State.RUNNING, State.EXITED, State.FAILED, State.BACKOFF, State.STOPPED}),
    "restart": frozenset({State.RUNNING, State.EXITED, State.FAILED, State.BACKOFF, State.STOPPED}),
    "stop": frozenset({State.STOPPED}),
}
_WELL: Final[dict[str, frozenset[State]]] = {
    "start": frozenset({State.RUNNING, State.EXITED}),
    "restart": frozenset({State.RUNNING, State.EXITED}),
    "stop": frozenset({State.STOPPED}),
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """An ask that has not been answered yet."""

    verb: str
    names: tuple[str, ...]


def is_well(verb: str, service: Service | None) -> bool:
    """Tell whether a service is as `verb` asked; one that a reload removed is as stopped as can be."""
    return verb == "stop" if service is None else service.run.state in _WELL[verb]


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

    def settled(
        self, services: Mapping[str, Service], now_ns: int, answer: Callable[[int, Waiting], None]
    ) -> None:
        """Answer each ask that is settled or has waited long enough."""
        late = set(self._deadlines.due(now_ns))
        for ticket, waiting in list(self._waiting.items()):
            if ticket in late or self._is_settled(waiting, services):
                self.leave(ticket)
                answer(ticket, waiting)

    @staticmethod
    def _is_settled(waiting: Waiting, services: Mapping[str, Service]) -> bool:
        states = _SETTLED[waiting.verb]
        return all(name not in services or services[name].run.state in states for name in waiting.names)
