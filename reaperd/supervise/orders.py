"""Commands that run on behalf of a service, made ready: in its surroundings, told what they are about."""

from dataclasses import replace

from reaperd.config.spec import ServiceSpec
from reaperd.policy.words import Exited
from reaperd.supervise import explain
from reaperd.supervise.helper import Errand, Order
from reaperd.supervise.service import Service
from reaperd.units import format_signal


def order_of(
    service: Service,
    errand: Errand,
    command: tuple[str, ...],
    timeout_ns: int,
    more: tuple[tuple[str, str], ...] = (),
) -> Order:
    """Return the order to run a command for a service, of which and of whose main process it is told."""
    main = () if service.main is None else (("MAINPID", str(service.main)),)
    spec = outfit(service.spec, command, *main, *more)
    return Order(service.spec.name, errand, spec, timeout_ns, service.run_id, owner=service)


def outfit(spec: ServiceSpec, command: tuple[str, ...], *more: tuple[str, str]) -> ServiceSpec:
    """Return the surroundings of a service for a command, with more in its environment."""
    if command == spec.command and not more:
        return spec
    return replace(spec, command=command, environment=(*spec.environment, *more))


def circumstances(service: Service) -> tuple[tuple[str, str], ...]:
    """Return what a hook is told of the end that it is run for."""
    cause = service.run.cause
    told = [("REAPERD_CAUSE", explain.end_text(service.run, service.spec))]
    if isinstance(cause, Exited) and cause.code is not None:
        told.append(("EXIT_CODE", str(cause.code)))
    if isinstance(cause, Exited) and cause.signal is not None:
        told.append(("EXIT_SIGNAL", format_signal(cause.signal)))
    return tuple(told)
