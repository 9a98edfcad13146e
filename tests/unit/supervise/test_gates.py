from dataclasses import replace

from reaperd.config.spec import ServiceSpec
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import Awaits, RestartAsked, Run, State, StopAsked, Want
from reaperd.supervise.gates import Gates, in_order
from reaperd.supervise.service import Service


def made(**requires: tuple[str, ...]) -> tuple[Gates, dict[str, Service]]:
    """Return services that run, and who waits for whom among them."""
    services = {
        name: Service(ServiceSpec(name, (name,), requires=others), Run(State.RUNNING, Want.UP))
        for name, others in requires.items()
    }
    gates = Gates()
    gates.arrange(services)
    return gates, services


def enter(gates: Gates, service: Service, state: State, **more: object) -> None:
    """Let a service be in a state."""
    service.run = replace(service.run, state=state, **more)  # type: ignore[arg-type] # its own fields
    gates.moved.add(service.spec.name)
    gates.file(service)


def names(found: list[tuple[Service, type]]) -> list[str]:
    """Return the names of those that may go on."""
    return [service.spec.name for service, _ in found]


def test_who_is_to_stop_waits_for_those_above() -> None:
    """Until they are gone, not only asked."""
    gates, services = made(web=("db",), db=())
    for name in ("db", "web"):
        gates.queue(services[name], StopAsked)
    assert gates.stops_after(services["db"]) == ("web",)
    assert names(gates.stoppable()) == ["web"]
    enter(gates, services["web"], State.STOPPING)
    assert names(gates.stoppable()) == []
    enter(gates, services["web"], State.STOPPED)
    assert names(gates.stoppable()) == ["db"]
    assert not gates.is_queued("db")


def test_who_was_killed_holds_up_nobody() -> None:
    """The kernel may not let it end: then it would hold up all below it for ever."""
    gates, services = made(web=("db",), db=())
    gates.queue(services["db"], StopAsked)
    enter(gates, services["web"], State.STOPPING, rung=LAST_RUNG)
    assert names(gates.stoppable()) == ["db"]


def test_who_rests_already_is_asked_at_once() -> None:
    """What waited for its turn may have ended meanwhile."""
    gates, services = made(web=("db",), db=())
    for name in ("db", "web"):
        gates.queue(services[name], StopAsked)
    enter(gates, services["db"], State.BACKOFF)
    assert names(gates.stoppable()) == ["db", "web"]


def test_a_cycle_does_not_hold_for_ever() -> None:
    """A reload can turn an order round while both are up."""
    gates, services = made(web=("db",), db=("web",))
    for name in ("db", "web"):
        gates.queue(services[name], StopAsked)
    assert names(gates.stoppable()) == ["db"]
    enter(gates, services["db"], State.STOPPING)
    assert names(gates.stoppable()) == []
    enter(gates, services["db"], State.STOPPED)
    assert names(gates.stoppable()) == ["web"]


def test_a_stop_can_be_taken_back_and_a_restart_cannot() -> None:
    """The latest wish counts."""
    gates, services = made(web=(), db=())
    gates.queue(services["web"], StopAsked)
    gates.queue(services["db"], StopAsked)
    gates.queue(services["db"], RestartAsked)
    for name in services:
        gates.keep(name)
    assert [(service.spec.name, asked) for service, asked in gates.stoppable()] == [("db", RestartAsked)]


def test_who_waits_is_released_when_nothing_holds_it() -> None:
    """What holds it is told when it changes, and only then."""
    gates, services = made(web=("db",), db=())
    told: list[tuple[str, ...]] = []
    enter(gates, services["web"], State.WAITING, awaits=Awaits.REQUIREMENTS)
    enter(gates, services["db"], State.STARTING)
    for _ in range(2):
        assert gates.startable(9, lambda _service, holds: told.append(holds)) == []
    assert told == [("db",)]
    enter(gates, services["db"], State.RUNNING)
    assert gates.startable(9, lambda _service, holds: told.append(holds)) == [services["web"]]
    gates.queue(services["db"], RestartAsked)
    assert gates.startable(9, lambda _service, holds: told.append(holds)) == []


def test_who_waits_for_one_that_does_not_come_is_stranded() -> None:
    """However far down that one is; one that is missing, too."""
    gates, services = made(web=("app",), app=("db",), db=(), lone=("gone",))
    for name in ("web", "app", "lone"):
        enter(gates, services[name], State.WAITING)
    for state, stranded in (
        (State.STARTING, False),
        (State.STOPPING, False),
        (State.BACKOFF, True),
        (State.FAILED, True),
        (State.STOPPED, True),
    ):
        enter(gates, services["db"], state)
        assert gates.is_stranded(services["web"]) is stranded
    assert gates.is_stranded(services["lone"])


def test_those_that_need_others_come_before_these() -> None:
    """And nobody comes along."""
    gates, _ = made(web=("app",), app=("db",), db=(), lone=())
    assert in_order(["db", "web"], gates.graph) == ["web", "db"]
