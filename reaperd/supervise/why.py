"""Why a service does not run: what holds it, what holds that, and what comes next. For `reaperd why`."""

from typing import Final

from reaperd.loop.timers import Timers
from reaperd.policy.order import Hold
from reaperd.policy.words import Awaits, State
from reaperd.supervise import explain, status
from reaperd.supervise.service import Service
from reaperd.supervise.wishes import Wishes
from reaperd.supervise.world import Deadline

SCHEMA: Final = "reaperd.why/1"
Row = dict[str, object]


def row(service: Service, wishes: Wishes, timers: Timers[Deadline], now_ns: int) -> Row:
    """Return all that is known of why a service is as it is."""
    (known,) = status.rows([service], wishes.gates, timers, now_ns)
    return {
        "name": known["name"],
        "state": known["state"],
        "want": known["want"],
        "why": known["why"],
        "last": None if service.run.cause is None else explain.end_text(service.run, service.spec),
        "next": next_step(service, wishes),
        "sockets": known["sockets"],
        "held_by": _chain(service, wishes, timers, now_ns),
        "stops_after": list(wishes.gates.stops_after(service)),
    }


def _chain(service: Service, wishes: Wishes, timers: Timers[Deadline], now_ns: int) -> list[Row]:
    """Return what holds a service, and what holds those, each once."""
    found: dict[str, Row] = {}
    pending = [service]
    while pending:
        for hold in wishes.gates.held_by(pending.pop(0)):
            if hold.name not in found:
                other = wishes.services.get(hold.name)
                found[hold.name] = _held(hold, other, wishes, timers, now_ns)
                pending += [other] if other is not None else []
    return list(found.values())


def _held(hold: Hold, other: Service | None, wishes: Wishes, timers: Timers[Deadline], now_ns: int) -> Row:
    state = None if hold.state is None else hold.state.value
    why = (
        "there is none of it"
        if other is None
        else status.rows([other], wishes.gates, timers, now_ns)[0]["why"]
    )
    return {"name": hold.name, "state": state, "needed": hold.needed, "why": why}


def next_step(service: Service, wishes: Wishes) -> str:  # noqa: C901, PLR0911 - flat, one case a state
    """Return what happens next, or what would help, as a sentence."""
    name, run, spec = service.spec.name, service.run, service.spec
    if service.again:
        return "it starts again once it is down, as the changed configuration says"
    if service.leaving:
        return "it is forgotten once it is down: it is no longer configured"
    if wishes.gates.is_queued(name):
        return (
            f"it is told to stop once these are gone: {', '.join(wishes.gates.stops_after(service)) or name}"
        )
    match run.state:
        case State.WAITING if run.awaits is Awaits.SCHEDULE:
            return f"it starts at its next time; now: reaperd start {name}"
        case State.WAITING if wishes.gates.is_stranded(service):
            needed = [hold.name for hold in wishes.gates.held_by(service) if hold.needed]
            return f"nothing by itself; start what it needs, too: reaperd start {' '.join(needed)}"
        case State.WAITING:
            return "it starts once nothing holds it any more"
        case State.BACKOFF:
            return f"it is tried again by itself; now: reaperd start {name}"
        case State.STARTING:
            return "it counts as running once it is ready" if spec.ready else "it counts as running at once"
        case State.STOPPING:
            return "it starts again once it is down" if run.want.value == "up" else "it is down soon"
        case State.RUNNING:
            return "it runs"
        case State.FAILED if run.gave_up:
            return f"nothing by itself: its start limit is used up; mend it, then: reaperd start {name}"
        case _:
            return f"nothing by itself; reaperd start {name}"
