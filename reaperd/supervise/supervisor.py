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

from reaperd.children.children import Ended
from reaperd.config.spec import ServiceSpec
from reaperd.kernel import wait
from reaperd.policy.decide import decide
from reaperd.policy.stop import LAST_RUNG
from reaperd.policy.words import (
    BackoffOver,
    Event,
    Exited,
    GraceOver,
    MainExited,
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
from reaperd.supervise.perform import Performer
from reaperd.supervise.service import Service
from reaperd.supervise.world import Deadline, World

_TIMER_EVENTS: dict[Timer, type[BackoffOver | Stable | GraceOver]] = {
    Timer.BACKOFF: BackoffOver,
    Timer.STABLE: Stable,
    Timer.GRACE: GraceOver,
}


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
        self._emptying: dict[str, Service] = {}  # the services in STOPPING
        self._leaving: dict[str, Service] = {}
        self._look = False  # something died or is to be stopped: orphans may have come

    # --- what users want --------------------------------------------------------------------------------

    def add(self, spec: ServiceSpec) -> None:
        """Take on a service, without starting it."""
        self.services[spec.name] = Service(spec, Run(since_ns=self._clock()))

    def start(self, names: Iterable[str]) -> None:
        """Want services up; one that is no longer configured stays on its way out."""
        self._ask(self._staying(names), StartAsked)

    def stop(self, names: Iterable[str]) -> None:
        """Want services down; asked again while they stop, it hurries them."""
        self._ask(names, StopAsked)

    def restart(self, names: Iterable[str]) -> None:
        """Want services down, then up; one that is no longer configured stays on its way out."""
        self._ask(self._staying(names), RestartAsked)

    def change(self, spec: ServiceSpec) -> None:
        """Follow a changed spec: at once where nothing runs, else by a restart."""
        service = self.services[spec.name]
        returning = service.leaving
        self._leaving.pop(spec.name, None)
        service.leaving = False
        service.next_spec = spec
        if service.at_rest():
            service.take_next_spec()
        if returning or service.run.want is Want.UP:
            self.restart([spec.name])

    def remove(self, name: str) -> None:
        """Stop a service and forget it once it is down."""
        service = self.services[name]
        service.leaving = True
        self._leaving[name] = service
        if not service.is_going_down():
            self.stop([name])

    def reorder(self, names: Iterable[str]) -> None:
        """Let the services stand in the order of `names`; those on their way out come last."""
        services = self.services
        wanted = {name: services[name] for name in names if name in services}
        self.services = wanted | services

    def _staying(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not self.services[name].leaving]

    def _ask(self, names: Iterable[str], event: type[StartAsked | StopAsked | RestartAsked]) -> None:
        self._look = True
        now_ns = self._clock()
        for name in names:
            service = self.services[name]
            service.stuck = False
            self._post(service, event(now_ns))

    # --- what happens -----------------------------------------------------------------------------------

    def collect_exits(self) -> None:
        """Make events of the children that the handler reaped."""
        orphans: list[Ended] = []
        for ended in self._children.apply():
            self._look = True
            service = self._performer.service_of(ended.run_id)
            if service is not None and service.main == ended.pid:
                self._main_exited(service, ended)
            else:
                orphans.append(ended)
        if orphans:
            self._tell_orphans(orphans)

    def _main_exited(self, service: Service, ended: Ended) -> None:
        # A dead child has said all it will ever say, so its report can be read to the end now.
        self._performer.read_report(service)
        service.main = None
        if service.not_spawned is not None:
            self._post(service, SpawnFailed(service.not_spawned, ended.at_ns))
            service.not_spawned = None
            self._performer.end_run(service)  # no program ever ran, so nothing else can belong to it
            return
        status = ended.status
        how = Exited(wait.exit_code(status), wait.exit_signal(status), wait.core_dumped(status))
        self._post(service, MainExited(how, ended.at_ns))

    def _tell_orphans(self, orphans: list[Ended]) -> None:
        # One line a turn: a storm of orphans must not become a storm of lines.
        services = {service.spec.name for o in orphans if (service := self._performer.service_of(o.run_id))}
        shown = [f"{orphan.name or '?'}[{orphan.pid}]" for orphan in orphans[:5]]
        self._log("orphans.reaped", count=len(orphans), orphans=shown, services=sorted(services)[:5])

    def due(self, deadlines: Iterable[Deadline]) -> None:
        """Make events of timers that came due."""
        now_ns = self._clock()
        for name, timer in deadlines:
            if name in self.services:
                self._post(self.services[name], _TIMER_EVENTS[timer](now_ns))

    def look(self) -> None:
        """Look for orphans now: nothing announces one that came while nobody died."""
        self._look = True
        self._adopt()

    # --- decide and perform -----------------------------------------------------------------------------

    @property
    def more(self) -> bool:
        """Tell whether something goes on in the next turn, which must not wait."""
        # Events are left only where a part of `settle` raised: nothing else would wake the loop for them.
        return self._performer.more or bool(self._events)

    def settle(self) -> None:
        """Decide and perform until quiet."""
        self._look = self._look or self._performer.more
        self._performer.more = False
        while self._events or self._look:
            self._adopt()
            while self._events:
                self._decide(*self._events.popleft())
            for service in list(self._emptying.values()):
                self._see_whether_empty(service)
        self._drop_leavers()

    def _post(self, service: Service, event: Event) -> None:
        self._events.append((service, event))

    def _adopt(self) -> None:
        if not self._look:
            return
        self._look = False
        for adopted in self._children.adopt():
            service = self._performer.service_of(adopted.run_id)
            name = service.spec.name if service else None
            self._log("orphan.adopted", pid=adopted.pid, name=adopted.name, service=name)
            if service is not None:
                self._performer.tell_newcomers(service)

    def _decide(self, service: Service, event: Event) -> None:
        service.run, actions = decide(service.run, event, service.spec)
        self._performer.perform(service, actions)
        name = service.spec.name
        if service.run.state is State.STOPPING:
            self._emptying[name] = service
        else:
            self._emptying.pop(name, None)
        if service.at_rest():
            service.take_next_spec()

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
