"""Who may go on: services that wait to start until others are there, and to stop until others are gone.

A service that is to stop and has to wait for others stays as it is until then. What was asked of it, a stop
or a restart, is kept here; the latest wish counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from reaperd.policy import order
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import Awaits, RestartAsked, State, StopAsked
from reaperd.supervise.service import Service

UP: Final = frozenset({State.STARTING, State.RUNNING})
Asked = type[StopAsked] | type[RestartAsked]


class Gates:
    """Know who waits for whom.

    Attributes:
        graph: the edges between services.
        emptying: the services in STOPPING, by name.
        moved: the services by whose change they, or those after them, may be held no longer.
        more: some that may start were left for the next call of `startable`.
    """

    def __init__(self) -> None:
        self.graph = order.graph_of(())
        self.emptying: dict[str, Service] = {}
        self.moved: set[str] = set()
        self.more = False
        self._services: Mapping[str, Service] = {}
        self._place: dict[str, int] = {}  # in the order of the configuration
        self._waiting: dict[str, Service] = {}  # in WAITING for what they require
        self._to_stop: dict[str, Asked] = {}  # still up, because others must stop before them
        self._loosened: dict[str, None] = {}  # of those, who may have nobody left to wait for

    def arrange(self, services: Mapping[str, Service]) -> None:
        """Learn who there is, and who needs whom."""
        self._services = services
        self._place = {name: place for place, name in enumerate(services)}
        self.graph = order.graph_of(each.next_spec or each.spec for each in services.values())
        self.moved = set(services)
        self._loosened = dict.fromkeys(self._to_stop)

    def file(self, service: Service) -> None:
        """Take note of the state that a service is in now."""
        name, run = service.spec.name, service.run
        held = run.state is State.WAITING and run.awaits is Awaits.REQUIREMENTS
        _file(self._waiting, name, service, belongs=held)
        _file(self.emptying, name, service, belongs=run.state is State.STOPPING)
        if not held:
            service.told_holds = ()
        if name in self._to_stop:
            self._loosened[name] = None  # it may have ended by itself, and then waits for nobody
        elif self._to_stop and not self._is_ending(name):
            self._loosen_before(name)

    # --- starting ---------------------------------------------------------------------------------------

    def held_by(self, service: Service) -> tuple[order.Hold, ...]:
        """Return what keeps a service in WAITING from starting; nothing in any other state."""
        if service.spec.name not in self._waiting:
            return ()
        return order.holds(service.spec.name, self.graph, self._look)

    def startable(self, most: int, tell: Callable[[Service, tuple[str, ...]], None]) -> list[Service]:
        """Return waiting services that nothing holds any more; tell of each other what newly holds it.

        There are `most` of them at most, and then `more` says so: the others are given by the next call.
        """
        free: list[Service] = []
        concerned = self._concerned()
        self.more = False
        for place, service in enumerate(concerned):
            if len(free) == most:
                self.moved.update(each.spec.name for each in concerned[place:])
                self.more = True
                break
            names = tuple(hold.name for hold in self.held_by(service))
            if not names:
                free.append(service)
            elif names != service.told_holds:
                tell(service, names)
            service.told_holds = names
        return free

    def _concerned(self) -> list[Service]:
        """Return the waiting services that something changed for, and take note that this was seen."""
        moved, self.moved = self.moved, set()
        after = (name for each in moved for name in self.graph.followed_by.get(each, ()))
        names = self._waiting.keys() & {*moved, *after}
        return [self._waiting[name] for name in sorted(names, key=self._place.__getitem__)]

    def is_stranded(self, service: Service) -> bool:
        """Tell whether a waiting service needs one that does not come by itself."""
        seen: set[str] = set()
        pending = [service]
        while pending:
            for hold in self.held_by(pending.pop()):
                other = self._services.get(hold.name)
                if hold.needed and (other is None or not _is_coming(other)):
                    return True
                if other is not None and hold.name not in seen:
                    seen.add(hold.name)
                    pending.append(other)
        return False

    # --- stopping ---------------------------------------------------------------------------------------

    def queue(self, service: Service, asked: Asked) -> None:
        """Let a service that is up be asked once nobody who must stop before it is left."""
        self._to_stop[service.spec.name] = asked
        self._loosened[service.spec.name] = None
        self.moved.add(service.spec.name)

    def is_queued(self, name: str) -> bool:
        """Tell whether a service is still to be asked to stop or restart."""
        return name in self._to_stop

    def is_to_stop(self, name: str) -> bool:
        """Tell whether a service is still to be asked to stop for good."""
        return self._to_stop.get(name) is StopAsked

    def keep(self, name: str) -> None:
        """Let a service not stop after all; a restart that was asked for remains."""
        if self.is_to_stop(name):
            del self._to_stop[name]
            self.moved.add(name)
            self._loosen_before(name)

    def stops_after(self, service: Service) -> tuple[str, ...]:
        """Return those that must stop before a service which is to stop and still runs."""
        if service.spec.name not in self._to_stop:
            return ()
        return order.stops_first(service.spec.name, self.graph, self._is_still_up)

    def stoppable(self) -> list[tuple[Service, Asked]]:
        """Take out and return those that may be asked now."""
        if not self._to_stop:
            return []
        loosened, self._loosened = self._loosened, {}
        free = [name for name in loosened if name in self._to_stop and self._may_stop(name)]
        if not free and not any(self._is_ending(name) for name in self.emptying if name not in self._to_stop):
            free = list(self._to_stop)[:1]  # they wait for each other, after a reload that turned them round
        return [(self._services[name], self._to_stop.pop(name)) for name in free]

    def _may_stop(self, name: str) -> bool:
        up = self._services[name].run.state in UP
        return not up or not order.stops_first(name, self.graph, self._is_still_up)

    def _is_still_up(self, name: str) -> bool:
        return name in self._to_stop or self._is_ending(name)

    def _is_ending(self, name: str) -> bool:
        # Who has got SIGKILL does nothing any more; one whom the kernel does not let end (state D) must not
        # hold up the others.
        service = self.emptying.get(name)
        return service is not None and service.run.rung < LAST_RUNG

    def _loosen_before(self, name: str) -> None:
        """Let those be looked at again that may have waited for this one to stop."""
        for graph in (self.graph.requires, self.graph.after):
            self._loosened.update(dict.fromkeys(graph.get(name, ())))

    def _look(self, name: str) -> order.Known | None:
        service = self._services.get(name)
        if service is None:
            return None
        # What is about to go is as good as gone.
        run = replace(service.run, state=State.STOPPING) if name in self._to_stop else service.run
        return run, service.spec


def in_order(names: Iterable[str], graph: order.Graph) -> list[str]:
    """Return `names` alone, those that need others before these."""
    chosen = set(names)
    return [name for name in order.with_dependants(chosen, graph) if name in chosen]


def _is_coming(service: Service) -> bool:
    run = service.run
    if run.state is State.WAITING:
        return run.awaits is Awaits.REQUIREMENTS
    return run.state in UP or run.state is State.STOPPING


def _file(register: dict[str, Service], name: str, service: Service, *, belongs: bool) -> None:
    if belongs:
        register[name] = service
    else:
        register.pop(name, None)
