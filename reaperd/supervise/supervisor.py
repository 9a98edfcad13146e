"""Services in motion: what happened becomes events, events become decisions, decisions are performed.

Everything happens within a turn of the loop. Sources of events only queue them; `settle` decides and
performs until nothing is left: performing can make new events (a fork that fails, a tree that turns out to
be empty already), so it goes round until it is quiet.

Whether a run's tree is empty is exact. A process's children come to us before its death is reported, we
look for them before anything is decided about that death, and a run is empty only when none of our
unreaped children belongs to it.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from reaperd.children.children import Ended
from reaperd.config.spec import ServiceSpec
from reaperd.kernel import wait
from reaperd.policy import order
from reaperd.policy.decide import decide
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    Awaits,
    BackoffOver,
    Cause,
    Event,
    Exited,
    GraceOver,
    MainExited,
    ReadyLate,
    RequirementsMet,
    RestartAsked,
    Run,
    SpawnFailed,
    Stable,
    StartAsked,
    State,
    StopAsked,
    Timer,
    TreeEmpty,
    Want,
)
from reaperd.supervise.emptied import Emptied
from reaperd.supervise.perform import Performer
from reaperd.supervise.service import Service
from reaperd.supervise.world import Deadline, Pulse, World

_TIMER_EVENTS: dict[Timer, type[BackoffOver | Stable | GraceOver | ReadyLate]] = {
    Timer.BACKOFF: BackoffOver,
    Timer.STABLE: Stable,
    Timer.GRACE: GraceOver,
    Timer.READY: ReadyLate,
}
_UP: Final = frozenset({State.STARTING, State.RUNNING})


class Supervisor:
    """Keep the configured services as their users want them.

    Attributes:
        services: by name, in the order of the configuration.
    """

    def __init__(self, world: World) -> None:
        self.services: dict[str, Service] = {}
        self._children = world.children
        self._clock = world.clock
        self._log = world.log
        self._performer = Performer(world, self._post)
        self._events: deque[tuple[Service, Event]] = deque()
        self._graph = order.graph_of(())
        self._waiting: dict[str, Service] = {}  # the services in WAITING for what they require
        self._to_stop: dict[str, Service] = {}  # still up, because others must stop before them
        self._emptying: dict[str, Service] = {}  # the services in STOPPING
        self._leaving: dict[str, Service] = {}
        self._look = False  # something died or is to be stopped: orphans may have come
        self._moved = False  # some service changed its state: others may be held no longer
        if world.children.emptied_fd is not None:
            world.poller.watch(world.children.emptied_fd, Emptied(world.children, self.look))

    @property
    def ending(self) -> Cause | None:
        """Return how an essential service ended, which ends the daemon; None while none has."""
        return self._performer.ending

    # --- what users want --------------------------------------------------------------------------------

    def add(self, spec: ServiceSpec) -> None:
        """Take on a service, without starting it; `arrange` follows when all are there."""
        self.services[spec.name] = Service(spec, Run(since_ns=self._clock()))

    def arrange(self, names: Iterable[str]) -> None:
        """Let services stand in the order of `names`, leaving ones last, and learn who needs whom."""
        services = self.services
        self.services = {name: services[name] for name in names if name in services} | services
        self._graph = order.graph_of(each.next_spec or each.spec for each in self.services.values())
        self._look = self._moved = True

    def start(self, names: Iterable[str]) -> None:
        """Want services up, and what they require with them."""
        names = list(names)
        asked = set(names)
        for name in order.with_requirements(names, self._graph):
            service = self.services.get(name)
            if service is None or (name not in asked and order.satisfies(service.run, service.spec)):
                continue
            self._to_stop.pop(name, None)
            self._ask(service, StartAsked)

    def stop(self, names: Iterable[str]) -> None:
        """Want services down, and what requires them before them; asked again it hurries them."""
        for name in order.with_dependants(names, self._graph):
            service = self.services[name]
            if service.run.state in _UP and name not in self._to_stop:
                self._to_stop[name] = service
                self._look = True
            elif name not in self._to_stop:
                self._ask(service, StopAsked)

    def restart(self, names: Iterable[str]) -> None:
        """Want services down, then up; only these."""
        for name in names:
            self._to_stop.pop(name, None)
            self._ask(self.services[name], RestartAsked)

    def change(self, spec: ServiceSpec) -> None:
        """Follow a changed spec: at once where nothing runs, else by a restart."""
        service = self.services[spec.name]
        returning = service.leaving
        self._leaving.pop(spec.name, None)
        service.leaving = False
        service.next_spec = spec
        if service.at_rest():
            service.take_next_spec()
        if returning:
            self._ask(service, StartAsked)
        elif service.run.want is Want.UP:
            self._follow(service, spec)

    def _follow(self, service: Service, spec: ServiceSpec) -> None:
        """Let a service that is wanted up follow its changed spec."""
        if service.run.state not in _UP and service.run.state is not State.STOPPING:
            self._ask(service, StopAsked)  # decided by the old spec; at rest, the new one is taken
            self._ask(service, StartAsked)
        elif spec.schedule is None or service.spec.schedule is None:
            self._ask(service, RestartAsked)
        else:
            self._performer.schedules.arm(service)  # what runs may end; the next time follows the new spec

    def remove(self, name: str) -> None:
        """Stop a service and forget it once it is down."""
        service = self.services[name]
        service.leaving = True
        self._leaving[name] = service
        if service.run.want is Want.UP or service.at_rest():
            self.stop([name])

    def held_by(self, service: Service) -> tuple[order.Hold, ...]:
        """Return what keeps a waiting service from starting."""
        return order.holds(service.spec.name, self._graph, self._lookup)

    def stops_after(self, service: Service) -> tuple[str, ...]:
        """Return those that must stop before a service which is asked to stop and still runs."""
        if service.spec.name not in self._to_stop:
            return ()
        return order.stops_first(service.spec.name, self._graph, self._still_up())

    def _ask(self, service: Service, event: type[StartAsked | StopAsked | RestartAsked]) -> None:
        self._look = True
        service.stuck = False
        self._post(service, event(self._clock()))

    def look(self) -> None:
        """Look for orphans and for emptied runs in this turn."""
        self._look = True

    # --- what happens -----------------------------------------------------------------------------------

    def collect_exits(self) -> None:
        """Make events of the children that the handler reaped."""
        orphans: list[Ended] = []
        for ended in self._children.apply():
            self._look = True
            service = self._performer.service_of(ended.run_id)
            if service is not None and service.main == ended.pid:
                self._main_exited(service, ended)
            elif not self._performer.helpers.ended(ended):
                orphans.append(ended)
        if orphans:
            self._tell_orphans(orphans)

    def _main_exited(self, service: Service, ended: Ended) -> None:
        # A dead child has said all it will ever say, so its report can be read to the end now.
        self._performer.read_report(service)
        service.main = None
        if service.not_spawned is not None:
            self._performer.end_run(service)  # no program ever ran, so there is no tree
            self._post(service, SpawnFailed(service.not_spawned, ended.at_ns))
            service.not_spawned = None
            return
        status = ended.status
        code, number, dumped = wait.exit_code(status), wait.exit_signal(status), wait.core_dumped(status)
        self._post(service, MainExited(Exited(code, number, dumped, ended.out_of_memory), ended.at_ns))

    def _tell_orphans(self, orphans: list[Ended]) -> None:
        # One line a turn: a storm of orphans must not become a storm of lines.
        services = {name for o in orphans if (name := self._performer.name_of(o.run_id))}
        shown = [f"{orphan.name or '?'}[{orphan.pid}]" for orphan in orphans[:5]]
        self._log("orphans.reaped", count=len(orphans), orphans=shown, services=sorted(services)[:5])

    def due(self, deadlines: Iterable[Deadline]) -> None:
        """Make events of timers that came due."""
        now_ns = self._clock()
        for name, timer in deadlines:
            if isinstance(timer, Pulse):
                self._look = True
                self._performer.due(name, timer)
            elif name in self.services:
                self._post(self.services[name], _TIMER_EVENTS[timer](now_ns))

    # --- decide and perform -----------------------------------------------------------------------------

    @property
    def more(self) -> bool:
        """Tell whether something goes on in the next turn, which must not wait."""
        return self._performer.more or self._performer.helpers.more

    def helper_runs(self) -> tuple[str, ...]:
        """Return the runs of the commands that run on behalf of services."""
        return self._performer.helpers.run_ids()

    def settle(self) -> None:
        """Decide and perform until quiet."""
        self._look = self._look or self.more
        self._performer.more = self._performer.helpers.more = False
        while self._events or self._look:
            self._adopt()
            while self._events:
                self._decide(*self._events.popleft())
            self._release()
            for service in list(self._emptying.values()):
                self._see_whether_empty(service)
            self._performer.helpers.tidy()
        self._drop_leavers()

    def _post(self, service: Service, event: Event) -> None:
        self._events.append((service, event))

    def _adopt(self) -> None:
        if not self._look:
            return
        self._look = False
        for adopted in self._children.adopt():
            name = self._performer.name_of(adopted.run_id)
            self._log("orphan.adopted", pid=adopted.pid, name=adopted.name, service=name)

    def _decide(self, service: Service, event: Event) -> None:
        before = service.run.state
        service.run, actions = decide(service.run, event, service.spec)
        self._performer.perform(service, actions)
        name, run = service.spec.name, service.run
        self._moved = self._moved or run.state is not before
        _file(self._emptying, name, service, run.state is State.STOPPING)
        held = run.state is State.WAITING and run.awaits is Awaits.REQUIREMENTS
        _file(self._waiting, name, service, held)
        if service.at_rest():
            service.take_next_spec()

    # --- who goes first ---------------------------------------------------------------------------------

    def _release(self) -> None:
        """Let those go on that nothing holds any more: some start, some stop."""
        if not self._moved and not self._to_stop:
            return
        self._moved = False
        for service in self._waiting.values():
            self._release_start(service)
        still_up = self._still_up()
        for name, service in list(self._to_stop.items()):
            if service.run.state in _UP and order.stops_first(name, self._graph, still_up):
                continue
            del self._to_stop[name]
            self._ask(service, StopAsked)

    def _release_start(self, service: Service) -> None:
        holds = self.held_by(service)
        if not holds:
            service.told_holds = ()
            self._post(service, RequirementsMet(self._clock()))
            return
        names = tuple(hold.name for hold in holds)
        if names != service.told_holds:
            service.told_holds = names
            self._log("service.waiting", service=service.spec.name, waits_for=names)

    def _still_up(self) -> set[str]:
        stopping = (name for name, each in self._emptying.items() if each.run.want is Want.DOWN)
        return {*self._to_stop, *stopping}

    def _lookup(self, name: str) -> tuple[Run, ServiceSpec] | None:
        service = self.services.get(name)
        return None if service is None else (service.run, service.spec)

    def _see_whether_empty(self, service: Service) -> None:
        if self._performer.is_empty(service):
            self._performer.end_run(service)
            self._post(service, TreeEmpty(self._clock()))
        elif service.run.rung == LAST_RUNG:
            self._performer.kill(service)

    def _drop_leavers(self) -> None:
        for name, service in list(self._leaving.items()):
            if service.at_rest():
                del self._leaving[name], self.services[name]


def _file(register: dict[str, Service], name: str, service: Service, belongs: bool) -> None:  # noqa: FBT001 - one fact
    if belongs:
        register[name] = service
    else:
        register.pop(name, None)
