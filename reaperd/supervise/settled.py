"""When what was asked of services is settled, and whether it went well."""

from reaperd.policy import order
from reaperd.policy.words import Awaits, State
from reaperd.supervise.service import Service
from reaperd.supervise.wishes import Wishes


def is_settled(verb: str, name: str, wishes: Wishes) -> bool:
    """Tell whether nothing more follows by itself from what `verb` asked of a service."""
    service = wishes.services.get(name)
    if service is None:
        return True
    if service.again or service.leaving or wishes.gates.is_queued(name):
        return False
    if verb == "stop":
        return service.run.state is State.STOPPED
    return _is_up_or_given_up(service, wishes)


def _is_up_or_given_up(service: Service, wishes: Wishes) -> bool:
    match service.run.state:
        case State.WAITING:
            return service.run.awaits is Awaits.SCHEDULE or wishes.gates.is_stranded(service)
        case State.RUNNING:
            return not service.spec.oneshot
        case state:
            return state not in {State.STARTING, State.STOPPING}


def is_well(verb: str, service: Service | None) -> bool:
    """Tell whether a service is as `verb` asked; one that a reload removed is as stopped as can be.

    After a reload also those are well that their user wants down.
    """
    if service is None:
        return verb not in {"start", "restart"}
    run = service.run
    if verb == "stop" or (verb == "reload" and run.state is State.STOPPED):
        return run.state is State.STOPPED
    if run.state is State.WAITING:
        return run.awaits is Awaits.SCHEDULE
    return run.state is State.RUNNING or order.satisfies(run, service.spec) or run.state is State.EXITED
