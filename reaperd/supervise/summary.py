"""All services in one line: how many are in which state, and who has failed."""

from collections.abc import Iterable
from typing import Final

from reaperd.policy.words import State
from reaperd.supervise.service import Service

_ORDER: Final = (
    State.RUNNING,
    State.STARTING,
    State.STOPPING,
    State.WAITING,
    State.BACKOFF,
    State.FAILED,
    State.EXITED,
    State.STOPPED,
)
_NAMED: Final = frozenset({State.BACKOFF, State.FAILED})
_MOST_NAMES: Final = 3


def summary(services: Iterable[Service]) -> str:
    """Return a line such as `4 running, 1 failed (web)`."""
    names: dict[State, list[str]] = {state: [] for state in _ORDER}
    for service in services:
        names[service.run.state].append(service.spec.name)
    parts = [_part(state, names[state]) for state in _ORDER if names[state]]
    return ", ".join(parts) or "no services"


def _part(state: State, names: list[str]) -> str:
    count = f"{len(names)} {state.value}"
    if state not in _NAMED:
        return count
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return f"{count} ({shown})"
