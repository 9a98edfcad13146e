"""What users want of services, and what that means for the others: who comes along, who goes first.

`start` brings what is required, `stop` takes along what requires it, `restart` touches nobody else. A changed
configuration is followed as `policy.change` says; a service that is no longer in it is stopped and forgotten.
"""

from collections.abc import Callable, Iterable
from typing import Final

from reaperd.config.spec import ServiceSpec
from reaperd.policy import change, order
from reaperd.policy.change import Follow
from reaperd.policy.words import (
    Action,
    EndChecks,
    Event,
    RestartAsked,
    Run,
    StartAsked,
    StopAsked,
    Want,
    WatchHealth,
)
from reaperd.supervise.gates import UP, Gates, in_order
from reaperd.supervise.perform import Performer
from reaperd.supervise.service import Service
from reaperd.supervise.world import World

_Ask = Callable[[Service, type[StartAsked] | type[StopAsked] | type[RestartAsked]], None]


class Wishes:
    """Turn wishes into events, now or when their turn has come.

    Attributes:
        services: by name, in the order of the configuration.
        gates: who waits for whom.
        leaving: those that are no longer configured and go once they are down.
    """

    def __init__(self, performer: Performer, post: Callable[[Service, Event], None], world: World) -> None:
        self.services: dict[str, Service] = {}
        self.gates: Final = Gates()
        self.leaving: dict[str, Service] = {}
        self._performer = performer
        self._post = post
        self._clock = world.clock
        self._wall = world.wall
        self._told: set[str] = set()  # who was asked in this turn to stop

    # --- who there is -----------------------------------------------------------------------------------

    def add(self, spec: ServiceSpec) -> None:
        """Take on a service, without starting it; `arrange` follows when all are there."""
        self.services[spec.name] = Service(spec, Run(since_ns=self._clock()), since_wall_ns=self._wall())

    def arrange(self, names: Iterable[str]) -> None:
        """Let services stand in the order of `names`, leaving ones last, and learn who needs whom."""
        services = self.services
        self.services = {name: services[name] for name in names if name in services} | services
        self.gates.arrange(self.services)

    def drop_leavers(self) -> None:
        """Forget those that have gone down."""
        gone = [name for name, service in self.leaving.items() if service.at_rest()]
        for name in gone:
            del self.leaving[name], self.services[name]
        if gone:
            self.gates.arrange(self.services)

    # --- up and down ------------------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """Let the next ask to stop count as another one."""
        self._told.clear()

    def start(self, names: Iterable[str]) -> None:
        """Want services up, and what they require with them."""
        names = list(names)
        asked = set(names)
        for name in order.with_requirements(names, self.gates.graph):
            service = self.services.get(name)
            if service is None or service.again or service.leaving:
                continue
            self.gates.keep(name)
            self._told.discard(name)
            if name in asked or _is_wanting(service):
                self._ask(service, StartAsked)

    def stop(self, names: Iterable[str]) -> None:
        """Want services down, and what requires them before them; asked again it hurries them."""
        for name in order.with_dependants(names, self.gates.graph):
            service = self.services.get(name)
            if service is not None:
                self._stop(service)

    def _stop(self, service: Service) -> None:
        told = service.spec.name in self._told
        self._told.add(service.spec.name)
        if service.again:  # it is on its way down already, and now stays there
            service.again = False
        elif told:
            return  # who asks in the same turn does not know of the other one: that is no wish to hurry
        elif service.run.state in UP:
            self.gates.queue(service, StopAsked)
        else:
            self._ask(service, StopAsked)

    def restart(self, names: Iterable[str]) -> None:
        """Want services down, in order, then up, with what they require."""
        chosen = set(names)
        for name in in_order(chosen, self.gates.graph):
            self._restart(self.services[name])
        for name in order.with_requirements(chosen, self.gates.graph):
            service = self.services.get(name)
            if name not in chosen and service is not None and _is_wanting(service):
                self._ask(service, StartAsked)

    def _restart(self, service: Service) -> None:
        if service.again or service.leaving:
            return
        self._told.discard(service.spec.name)
        if service.run.state in UP:
            self.gates.queue(service, RestartAsked)
        else:
            self._ask(service, RestartAsked)

    def _ask(self, service: Service, event: type[StartAsked] | type[StopAsked] | type[RestartAsked]) -> None:
        service.stuck = False
        self._post(service, event(self._clock()))

    # --- another configuration --------------------------------------------------------------------------

    def remove(self, names: Iterable[str]) -> None:
        """Stop services in order and forget them once they are down; nobody else is touched."""
        for name in in_order(names, self.gates.graph):
            service = self.services[name]
            service.leaving, service.again = True, False
            self.leaving[name] = service
            if service.run.want is Want.UP:
                self._stop(service)

    def change(self, spec: ServiceSpec) -> bool:
        """Follow a changed spec; return whether that takes a stop and a start of what runs."""
        service = self.services[spec.name]
        if service.leaving:
            self._return(service, spec)
        if service.again or self.gates.is_to_stop(spec.name):
            service.next_spec = spec
            if service.at_rest():
                self.settled(service)
            return False
        armed = (service.next_spec or service.spec).schedule
        how = change.change(service.run, service.spec, spec)
        if how.follow is Follow.NOW:
            before, service.spec, service.next_spec = service.spec, spec, None
            self._performer.shares.change(service, before, spec)
        else:
            service.next_spec = spec
        self._follow(service, how.follow)
        has_new_times = how.schedule or (armed is not None and spec.schedule not in {None, armed})
        if has_new_times and service.run.want is Want.UP:
            self._performer.schedules.arm(service)
        if how.health:
            watch: tuple[Action, ...] = (WatchHealth(),) if spec.is_watched else ()
            self._performer.perform(service, (EndChecks(), *watch))
        return how.follow in {Follow.RESTART, Follow.AFRESH} and service.run.state in UP

    def _follow(self, service: Service, follow: Follow) -> None:
        if service.at_rest():
            service.take_next_spec()
            if follow is Follow.AFRESH:
                self._ask(service, StartAsked)
        elif follow is Follow.AFRESH:
            self._stop(service)
            service.again = True
        elif follow is Follow.RESTART:
            self._restart(service)

    def _return(self, service: Service, spec: ServiceSpec) -> None:
        """Keep a service that was about to leave: where it is still up it never stopped."""
        service.leaving = False
        del self.leaving[spec.name]
        self.gates.keep(spec.name)
        self._told.discard(spec.name)
        service.again = service.run.want is Want.DOWN

    def settled(self, service: Service) -> None:
        """Let a service that has come to rest go on with what a reload wants of it."""
        service.take_next_spec()
        if service.again:
            service.again = False
            self._ask(service, StartAsked)


def _is_wanting(service: Service) -> bool:
    """Tell whether a service that others require is not there, and does not come by itself either."""
    if service.again or service.leaving:
        return False  # it comes by itself, or must not come
    down = service.at_rest() or service.run.want is Want.DOWN
    return down and not order.satisfies(service.run, service.spec)
