"""What a changed configuration asks of a service that is there already: as little as possible. Pure.

Most of what a spec says matters only when something is decided or forked. Whatever shapes a process (its
command, user, environment and so on) needs a new one; all else is taken over while the old one runs on.
"""

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Run, State, Want

# What can change under a running process. `ready` is none of them: it is part of how a run begins.
_LIVE: Final = frozenset(
    {
        "requires",
        "after",
        "before",
        "restart",
        "backoff",
        "start_limit",
        "success_exit_codes",
        "success_signals",
        "ready_timeout_ns",
        "health",
        "stop",
        "reload",
        "essential",
        "on_failure",
        "on_exit",
        "schedule",
        "groups",
        "zombies",
        "memory_max",
        "cpu_weight",
        "pids_max",
    }
)
_NO_PROCESS: Final = frozenset({State.WAITING})  # and soon one: it can be that of the new spec


class Follow(Enum):
    """How a service comes to follow its changed spec."""

    NOW = "now"  # the spec is exchanged, and nothing else happens
    NEXT = "next"  # its next run follows it
    RESTART = "restart"
    AFRESH = "afresh"  # it stops as the old spec says, and starts as the new one says


@dataclass(frozen=True, slots=True)
class Change:
    """How to follow, and what is to be begun anew then."""

    follow: Follow
    schedule: bool = False
    health: bool = False


def needs_restart(old: ServiceSpec, new: ServiceSpec) -> bool:
    """Tell whether a process of `old` is not what `new` wants."""
    names = {each.name for each in fields(ServiceSpec)} - _LIVE
    return any(getattr(old, name) != getattr(new, name) for name in names)


def change(run: Run, old: ServiceSpec, new: ServiceSpec) -> Change:
    """Return how a service that follows `old`, and is wanted as `run` says, comes to follow `new`."""
    if run.want is Want.DOWN:
        return Change(Follow.NEXT)
    if (old.schedule is None) != (new.schedule is None):
        return Change(Follow.AFRESH)
    rest = Change(Follow.NOW, schedule=old.schedule != new.schedule)
    if run.state in _NO_PROCESS:
        return rest
    if not needs_restart(old, new):
        return _without_restart(run, old, new, rest)
    if run.state not in {State.STARTING, State.RUNNING, State.STOPPING}:
        return Change(Follow.AFRESH)
    # What a schedule started may end: its next time comes.
    return replace(rest, follow=Follow.RESTART if new.schedule is None else Follow.NEXT)


def _without_restart(run: Run, old: ServiceSpec, new: ServiceSpec, rest: Change) -> Change:
    if run.state is State.FAILED:
        return Change(Follow.AFRESH)  # what failed may have been mended
    return replace(rest, health=run.state is State.RUNNING and old.health != new.health)
